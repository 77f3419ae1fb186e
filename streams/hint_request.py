"""A hint request: everything that generation needs to know about one user, in one record.

It is written by the session agent when a refresh is decided and read by the hints agent, on this
machine or another. Texts were embedded when their events arrived; the request carries the vectors,
so generation never reads text. Layout: ``AHR3``, header length (u32), JSON header, the int8 vectors (the
L behaviours, newest first, then the two interests), then the habit's entries.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Annotated, Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from streams.errors import CodecError
from streams.limits import Moment, first_problem
from streams.think_merge import latest_triggers
from streams.version import Version as Version

MAGIC: Final = b"AHR3"
INT8_SCALE: Final = 127.0
ActionCode = Annotated[int, Field(ge=1, le=5)]
Int8 = npt.NDArray[np.int8]
Float = npt.NDArray[np.float32]
# A text's digest, then the hour of its last behaviour and its decayed count: see agents.session.habit.
HABIT_ENTRY: Final = np.dtype([("text", ">u4"), ("memory", ">u4")])
HABIT_BYTES: Final = HABIT_ENTRY.itemsize


class Behaviour(NamedTuple):
    """One behaviour as generation and filters see it. `action` is the state's code (1..5)."""

    action: int
    at_ms: int
    text: str


@dataclass(frozen=True, slots=True)
class HintRequest:
    """Asks for a new hint list of `user`.

    behaviours: newest first, at most L. vectors: (len(behaviours), D) int8, e(text)·127.
    interests: (2, D) int8, the visit's and the shopper's unit interest ·127 (zeros: none yet).
    habit: packed HABIT_ENTRY, what lies before the window, in sum.
    """

    user: str
    version: Version
    reason: str
    drift: float
    encoder: str
    behaviours: tuple[Behaviour, ...]
    vectors: Int8
    interests: Int8
    application: str = ""
    locale: str = ""
    appended_ms: int = 0
    habit: bytes = b""

    @property
    def trigger(self) -> str:
        """Text of the latest behaviour: the key of the user's Think mapping."""
        return self.behaviours[0].text if self.behaviours else ""

    @property
    def triggers(self) -> tuple[str, ...]:
        """Texts of the latest behaviours, newest first, each once: what Think is asked for."""
        return latest_triggers(behaviour.text for behaviour in self.behaviours)


def to_unit(vectors: Int8) -> Float:
    """int8 vectors as float32, same shape; rows have length 1 up to rounding, or 0."""
    return vectors.astype(np.float32) / np.float32(INT8_SCALE)


def to_int8(vectors: Float) -> Int8:
    """Unit vectors rounded to int8; same shape."""
    rounded: Int8 = np.rint(vectors * INT8_SCALE).astype(np.int8)
    return rounded


def encode_request(request: HintRequest) -> bytes:
    """Request to bytes; `decode_request` is its inverse."""
    header = orjson.dumps(
        {
            "user": request.user,
            "version": str(request.version),
            "reason": request.reason,
            "drift": round(request.drift, 6),
            "encoder": request.encoder,
            "behaviours": [[b.action, b.at_ms, b.text] for b in request.behaviours],
            "dim": int(request.interests.shape[1]),
            "habit": len(request.habit) // HABIT_BYTES,
            "application": request.application,
            "locale": request.locale,
            "appended_ms": request.appended_ms,
        }
    )
    return b"".join(
        (
            MAGIC,
            struct.pack("<I", len(header)),
            header,
            request.vectors.tobytes(),
            request.interests.tobytes(),
            request.habit,
        )
    )


def decode_request(data: bytes) -> HintRequest:
    """Bytes to request. Raises CodecError for anything that `encode_request` did not write."""
    try:
        if data[:4] != MAGIC:
            raise ValueError("wrong first bytes")
        (length,) = struct.unpack_from("<I", data, 4)
        header = _Header.model_validate_json(data[8 : 8 + length])
        end = len(data) - header.habit * HABIT_BYTES
        shape = (len(header.behaviours) + 2, header.dim)
        rows = np.frombuffer(data[:end], dtype=np.int8, offset=8 + length).reshape(shape)
        return header.request(vectors=rows[:-2], interests=rows[-2:], habit=data[end:])
    except ValidationError as error:
        raise _refused(first_problem(error)) from error
    except (ValueError, struct.error) as error:
        raise _refused(str(error)) from error


def _refused(problem: str) -> CodecError:
    return CodecError(
        f"Not a hint request of this version: {problem}.",
        action="Upgrade the hints workers before the session workers.",
    )


class _Header(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    user: str = Field(min_length=1)
    version: str
    reason: str
    drift: float
    encoder: str
    behaviours: tuple[tuple[ActionCode, Moment, str], ...]
    dim: int = Field(ge=1, le=65_535)
    habit: int = Field(ge=0, le=65_535)
    application: str = ""
    locale: str = ""
    appended_ms: Moment = 0

    def request(self, **arrays: Any) -> HintRequest:
        return HintRequest(
            user=self.user,
            version=Version.parse(self.version),
            reason=self.reason,
            drift=self.drift,
            encoder=self.encoder,
            behaviours=tuple(Behaviour(*one) for one in self.behaviours),
            application=self.application,
            locale=self.locale,
            appended_ms=self.appended_ms,
            **arrays,
        )
