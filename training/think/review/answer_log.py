"""corrections.jsonl: each answer is on the disk before the next question is asked, and stays there
(training.think.durable_lines)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import orjson
from pydantic import ValidationError

from streams.errors import DatasetError
from training.think.durable_lines import append_line, whole_lines
from training.think.review.corrections import Correction


def append_answer(path: Path, answer: Correction) -> None:
    """Returns when the answer is on the disk. Raises DatasetError; then it may be answered again."""
    try:
        append_line(path, orjson.dumps(answer.model_dump(), option=orjson.OPT_APPEND_NEWLINE))
    except OSError as error:
        raise DatasetError(
            f"{path} cannot be written ({error.strerror}); earlier answers are kept.",
            action="Free some space, or see to its rights, and go on: the review asks again what is open.",
        ) from error


def read_answers(path: Path) -> list[Correction]:
    """All whole lines, in order; [] without a file. Raises DatasetError that names the line."""
    return list(_lines(path))


def _lines(path: Path) -> Iterator[Correction]:
    for number, line in whole_lines(path):
        try:
            yield Correction.model_validate_json(line)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            raise DatasetError(
                f"{path.name} line {number} is no correction: {first['msg']}.",
                action="Mend or remove that line; nothing was changed.",
            ) from error
