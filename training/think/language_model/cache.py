"""Answers of language models, kept for good: a question that was answered is never asked (or paid) again.

    WORK/llm-answers.jsonl   {"key", "text", "finish", "prompt_tokens", "answer_tokens"}, one a line

key is a digest of model, messages, schema and settings; the answer is kept as it came, and checked anew each
time, so a stricter check needs no new question. Each line is on the disk before it counts
(training.think.durable_lines).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from threading import Lock
from typing import Any, Final

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from streams.errors import TrainingError
from training.think.durable_lines import append_line, whole_lines
from training.think.language_model.answer_schema import json_schema
from training.think.language_model.prompt import Message

ANSWERS: Final = "llm-answers.jsonl"


class Completion(BaseModel):
    """What an endpoint answered. finish: why it stopped ("stop", "length", …). The tokens are the server's
    count, or an estimate where it counts none."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    text: str
    finish: str
    prompt_tokens: int = Field(ge=0)
    answer_tokens: int = Field(ge=0)


class _Line(Completion):
    key: str


def key_of(messages: Sequence[Message], settings: Mapping[str, Any]) -> str:
    """Names a question: equal only if model, messages, schema and settings are. 64 hexadecimal digits."""
    asked = {"messages": messages, "schema": json_schema(), "settings": settings}
    return sha256(orjson.dumps(asked, option=orjson.OPT_SORT_KEYS)).hexdigest()


class AnswerCache:
    """All answers of a file, for several threads. broken: lines that are none, left alone and not used."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.broken = 0
        self._lock = Lock()
        self._known: dict[str, Completion] = {}
        for _, line in whole_lines(path):
            self._read(line)

    def __len__(self) -> int:
        return len(self._known)

    def get(self, key: str) -> Completion | None:
        """The answer that was kept."""
        return self._known.get(key)

    def put(self, key: str, answer: Completion) -> None:
        """Returns when it is on the disk. Raises TrainingError."""
        line = {"key": key, **answer.model_dump()}
        with self._lock:
            try:
                append_line(self.path, orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))
            except OSError as error:
                raise TrainingError(
                    f"{self.path} cannot be written ({error.strerror}); earlier answers are kept.",
                    action="Free some space, or see to its rights, and run it again: it goes on from there.",
                ) from error
            self._known[key] = answer

    def _read(self, line: bytes) -> None:
        try:
            found = _Line.model_validate_json(line)
        except ValidationError:
            self.broken += 1
            return
        self._known[found.key] = Completion(**found.model_dump(exclude={"key"}))
