"""A hint request: everything that generation needs to know about one user, in one record.

It is written by the session agent when a refresh is decided and read by the hints agent, on this
machine or another. Texts were embedded when their events arrived; the request carries the vectors,
so generation never reads text. Layout: ``AHR2``, header length (u32), JSON header, the int8 vectors (the
L behaviours, newest first, then the two interests), then the habit entries.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt
import orjson

from streams.errors import CodecError
from streams.think_merge import latest_triggers
from streams.version import Version as Version

MAGIC: Final = b"AHR2"
INT8_SCALE: Final = 127.0
Int8 = npt.NDArray[np.int8]
Float = npt.NDArray[np.float32]
# A text's digest, epoch seconds of its last behaviour, and its decayed count then; see agents.session.habit.
HABIT_ENTRY: Final = np.dtype([("text", "<u4"), ("last_s", "<u4"), ("count", "<f4")])
HabitEntries = npt.NDArray[np.void]


@dataclass(frozen=True, slots=True)
class Behaviour:
    """One behaviour as generation and filters see it. `action` is the state's code (1..5)."""

    action: int
    at_ms: int
    text: str


@dataclass(frozen=True, slots=True)
class HintRequest:
    """Asks for a new hint list of `user`.

    behaviours: newest first, at most L. vectors: (len(behaviours), D) int8, e(text)·127.
    interests: (2, D) int8, the visit's and the shopper's unit interest ·127 (zeros: none yet).
    habit: (n,) HABIT_ENTRY, what lies before the window, in sum.
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
    habit: HabitEntries = field(default_factory=lambda: np.zeros(0, HABIT_ENTRY))

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
            "habit": len(request.habit),
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
            request.habit.tobytes(),
        )
    )


def decode_request(data: bytes) -> HintRequest:
    """Bytes to request. Raises CodecError for anything that `encode_request` did not write."""
    try:
        if data[:4] != MAGIC:
            raise ValueError("wrong first bytes")
        (length,) = struct.unpack_from("<I", data, 4)
        header = orjson.loads(data[8 : 8 + length])
        behaviours = tuple(Behaviour(int(a), int(at), str(text)) for a, at, text in header.pop("behaviours"))
        dim, habit = int(header.pop("dim")), int(header.pop("habit"))
        end = len(data) - habit * HABIT_ENTRY.itemsize
        rows = np.frombuffer(data[:end], dtype=np.int8, offset=8 + length).reshape(len(behaviours) + 2, dim)
        header["habit"] = np.frombuffer(data[end:], HABIT_ENTRY)
        header["version"] = Version.parse(header["version"])
        return HintRequest(behaviours=behaviours, vectors=rows[:-2], interests=rows[-2:], **header)
    except (ValueError, TypeError, KeyError, AttributeError, struct.error, IndexError) as error:
        raise CodecError(
            f"Not a hint request of this version: {error}.",
            action="Upgrade the hints workers before the session workers.",
        ) from error
