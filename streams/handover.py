"""A hand-over: the history of an anonymous client goes to the user who they turned out to be.

Client and user live in different partitions. So the user's partition asks (no state), keyed by the client;
the client's partition gives (its state), keyed by the user. Layout: ``AHO1``, header length (u32), JSON
header, the client's session state as it is stored.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from streams.errors import CodecError
from streams.limits import Int64, Moment, first_problem

MAGIC: Final = b"AHO1"


@dataclass(frozen=True, slots=True)
class Handover:
    """client → user. at_ms: event time of the `identify`. place: offset of the request for it, by which a
    hand-over that comes twice is known. state: bytes of the client's state; empty: it is asked for.
    """

    client: str
    user: str
    at_ms: int
    place: int = -1
    state: bytes = b""

    @property
    def is_asked(self) -> bool:
        """Whether the client's partition is to give."""
        return not self.state

    @property
    def key(self) -> bytes:
        """Whose partition is to act."""
        return (self.client if self.is_asked else self.user).encode()


def encode_handover(handover: Handover) -> bytes:
    """To bytes; `decode_handover` is its inverse."""
    header = orjson.dumps(
        {
            "client": handover.client,
            "user": handover.user,
            "at_ms": handover.at_ms,
            "place": handover.place,
        }
    )
    return b"".join((MAGIC, struct.pack("<I", len(header)), header, handover.state))


def decode_handover(data: bytes) -> Handover:
    """Bytes to hand-over. Raises CodecError."""
    try:
        if data[:4] != MAGIC:
            raise ValueError("wrong first bytes")
        (length,) = struct.unpack_from("<I", data, 4)
        header = _Header.model_validate_json(data[8 : 8 + length])
    except (ValueError, struct.error) as error:
        problem = first_problem(error) if isinstance(error, ValidationError) else str(error)
        raise CodecError(
            f"Not a hand-over of this version: {problem}.", action="Upgrade all session workers together."
        ) from error
    return Handover(header.client, header.user, header.at_ms, header.place, data[8 + length :])


class _Header(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    client: str = Field(min_length=1)
    user: str = Field(min_length=1)
    at_ms: Moment
    place: Int64
