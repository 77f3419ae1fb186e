"""Where a language model answers, and what is sent to it besides the question."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import orjson
from pydantic import SecretStr

from streams.errors import SettingsError

HIDDEN: Final = "***"
SECRET_CHARACTERS: Final = 8  # a shorter key is a placeholder ("none", "x") and may stand in any answer
NO_KEY: Final = SecretStr("")
_NAME: Final = re.compile(r"[^a-z0-9.]+")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An OpenAI-compatible chat endpoint, e.g. http://127.0.0.1:8000/v1 of a vLLM.

    timeout_s: for one answer, whole. attempts: for one question. answer_tokens: of one answer at most.
    extra: more fields of the request's body; null leaves a field out.
    """

    url: str
    model: str
    key: SecretStr = NO_KEY
    stream: bool = False
    timeout_s: float = 120.0
    attempts: int = 6
    temperature: float = 0.0
    answer_tokens: int = 1024
    extra: Mapping[str, Any] = field(default_factory=dict)

    @property
    def maker(self) -> str:
        """What proposals name, and files: `llm-` and the model in small letters."""
        return f"llm-{_NAME.sub('-', self.model.lower()).strip('-.')}"

    @property
    def settings(self) -> dict[str, Any]:
        """What decides an answer besides messages and schema; where it was asked does not."""
        known = {"model": self.model, "temperature": self.temperature, "max_tokens": self.answer_tokens}
        return {name: value for name, value in (known | dict(self.extra)).items() if value is not None}

    @property
    def longest_answer(self) -> int:
        """Tokens, also where `extra` names the limit that newer servers ask for instead."""
        limits = [self.extra.get(name) for name in ("max_completion_tokens", "max_tokens")]
        return next((limit for limit in limits if isinstance(limit, int)), self.answer_tokens)


def checked_url(url: str) -> str:
    """The URL. Raises SettingsError, without repeating what may be a secret."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise SettingsError(
            "--url is no http:// or https:// address.", action="Give it like http://127.0.0.1:8000/v1."
        )
    if parts.username or parts.password or parts.query or parts.fragment:
        raise SettingsError(
            "--url holds a login or a query; it stands in process lists and logs.",
            action="Give the key with --key-env or --key-file.",
        )
    return url


def read_key(variable: str | None, path: Path | None) -> SecretStr:
    """The key out of an environment variable or a file; empty without either. Raises SettingsError."""
    if variable and path:
        raise SettingsError("--key-env and --key-file are both given.", action="Give one of them.")
    key = ""
    if variable:
        key = os.environ.get(variable, "").strip()
    if path:
        try:
            key = path.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError):
            raise SettingsError(
                f"--key-file {path} cannot be read.", action="Check path and rights."
            ) from None
    if (variable or path) and not (key and key.isascii() and key.isprintable()):
        raise SettingsError(
            f"There is no key in {variable or path}: it is empty, or no plain line of text.",
            action="Set it, or leave the option out if the endpoint needs none.",
        )
    return SecretStr(key)


def read_extra(text: str | None) -> dict[str, Any]:
    """The JSON object of --extra. Raises SettingsError."""
    if text is None:
        return {}
    try:
        found = orjson.loads(text)
    except orjson.JSONDecodeError:
        found = None
    if not isinstance(found, dict):
        raise SettingsError("--extra is no JSON object.", action="Give it like '{\"top_p\": 0.9}'.")
    reserved = sorted({"model", "messages", "stream", "stream_options", "response_format", "n"} & set(found))
    if reserved:
        raise SettingsError(f"--extra cannot set {', '.join(reserved)}.", action="Leave that out.")
    return found


def without_key(text: str, key: SecretStr) -> str:
    """A server may send back what it was sent; the key goes no further."""
    secret = key.get_secret_value()
    return text.replace(secret, HIDDEN) if len(secret) >= SECRET_CHARACTERS else text
