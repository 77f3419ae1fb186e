"""An erase request: take all lists of a person out of Redis, whatever was asked for before.

Stands on the hint requests' topic, behind the person's requests and under the same key: what was asked for
before it is overtaken, and compaction removes it from the topic. Layout: ``AER1``, JSON.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Final

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from streams.errors import CodecError
from streams.hint_request import MAGIC as HINT_MAGIC
from streams.hint_request import HintRequest, decode_request
from streams.limits import Int64, Moment, first_problem
from streams.version import Version

MAGIC: Final = b"AER1"


class Cause(StrEnum):
    """Why lists are erased. Only a deletion reaches the other stores, and gets a receipt."""

    USER_DELETE = "user_delete"
    CONSENT = "consent"
    IDENTIFY = "identify"


@dataclass(frozen=True, slots=True)
class EraseRequest:
    """Erase the lists of `user` that are older than `version`.

    at_ms: event time of the deletion. found: what was erased so far, name → count.
    """

    user: str
    version: Version
    cause: Cause
    at_ms: int
    found: dict[str, int] = field(default_factory=dict)


def encode_erase(request: EraseRequest) -> bytes:
    """Request to bytes; `decode_erase` is its inverse."""
    return MAGIC + orjson.dumps({**asdict(request), "version": str(request.version)})


def decode_erase(data: bytes) -> EraseRequest:
    """Bytes to request. Raises CodecError."""
    try:
        if data[:4] != MAGIC:
            raise ValueError("wrong first bytes")
        value = _Value.model_validate_json(data[4:])
    except ValueError as error:
        problem = first_problem(error) if isinstance(error, ValidationError) else str(error)
        raise CodecError(
            f"Not an erase request of this version: {problem}.",
            action="Upgrade the hints workers before the session workers.",
        ) from error
    return EraseRequest(value.user, Version.parse(value.version), value.cause, value.at_ms, value.found)


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    user: str = Field(min_length=1)
    version: str
    cause: Cause
    at_ms: Moment
    found: dict[str, Int64]


def decode_work(data: bytes) -> HintRequest | EraseRequest:
    """What stands on the hint requests' topic. Raises CodecError."""
    return decode_request(data) if data[:4] == HINT_MAGIC else decode_erase(data)
