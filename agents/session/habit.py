"""What a shopper keeps coming back to: decayed counts of the behaviours that have left the window.

The window remembers the last behaviours exactly, habit all older ones in sum. A text's entry holds its count
as of its own last behaviour, so an event touches one entry and time alone none:

    count_T(x) = Σ_i w(action_i) · 2^(−(last_x − t_i)/h)         read at T:  count · 2^(−(T − last_x)/h)

A behaviour leaves the window once, and what has left depends on the set of behaviours alone; sums commute;
so habit, too, is independent of the order of arrival (up to rounding) as long as nobody has more than
HABIT_LIMIT texts in it. Beyond that the smallest count goes. Texts are kept as 32-bit digests: habit
belongs to no bundle and survives a new one. Ours; the paper's network reads the behaviours as text (§3.2).

It stays packed, as state and hint request carry it: 8 bytes an entry (`streams.hint_request.HABIT_ENTRY`),
big-endian and sorted, so that an event finds its text as bytes. `last` is kept to the hour (20 bits), a count
to a third of a per cent (12 bits).
"""

from __future__ import annotations

import struct
import zlib
from bisect import bisect_left
from collections.abc import Iterable
from functools import lru_cache
from math import exp2, log2
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from agents.session.rows import place_of_row
from streams.hint_request import HABIT_BYTES, HABIT_ENTRY, Behaviour
from streams.query_text import normalise_query

HABIT_LIMIT: Final = 96
HABIT_HALF_LIFE_S: Final = 60 * 86_400.0
# By action code: a purchase is a habit's event; what was only looked at says little.
HABIT_WEIGHTS: Final = (0.0, 0.05, 0.1, 0.25, 0.5, 1.0)
NO_HABIT: Final = b""

HOUR_S: Final = 3_600
HALF_LIFE_H: Final = HABIT_HALF_LIFE_S / HOUR_S
_DIGEST_BYTES: Final = 4
_COUNT_BITS: Final = 12
_COUNT_MASK: Final = 2**_COUNT_BITS - 1
_COUNT_STEPS: Final = 200  # count = 2^(code/200 − 6): from 1/64 to 23,000
_COUNT_FLOOR: Final = 6
_LAST_H: Final = 2**20 - 1  # in the year 2089: what is later counts as then
_MEMORY: Final = struct.Struct(">I")


class Entries(NamedTuple):
    """Unpacked: digests, epoch seconds of the last behaviours, and the counts then, (n,) each."""

    texts: npt.NDArray[np.int64]
    last_s: npt.NDArray[np.int64]
    counts: npt.NDArray[np.float64]

    @classmethod
    def of(cls, habit: bytes) -> Entries:
        """From packed entries, of one or of several habits one after the other."""
        packed = np.frombuffer(habit, HABIT_ENTRY)
        memories = packed["memory"].astype(np.int64)
        counts = np.exp2((memories & _COUNT_MASK) / _COUNT_STEPS - _COUNT_FLOOR)
        return cls(packed["text"].astype(np.int64), (memories >> _COUNT_BITS) * HOUR_S, counts)

    def counts_at(self, as_of_ms: int | npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        """Decayed counts at a time, or each at its own, (n,)."""
        return self.counts * np.exp2(-self.ages_s(as_of_ms) / HABIT_HALF_LIFE_S)

    def ages_s(self, as_of_ms: int | npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        """Seconds since the last behaviours, (n,); 0 for what lies ahead."""
        ages: npt.NDArray[np.float64] = np.maximum(0.0, as_of_ms / 1000 - self.last_s)
        return ages


@lru_cache(maxsize=65_536)
def text_digest(text: str) -> int:
    """The 32 bits that stand for a text, however it is cased or spaced."""
    return zlib.crc32(normalise_query(text).encode("utf-8", "replace"))


def with_all(habit: bytes, left: Iterable[Behaviour]) -> bytes:
    """The habit with the behaviours that left a window."""
    for behaviour in left:
        habit = with_behaviour(habit, behaviour)
    return habit


def with_behaviour(habit: bytes, behaviour: Behaviour, limit: int = HABIT_LIMIT) -> bytes:
    """The habit with one more behaviour; of more than `limit` texts the smallest count goes."""
    digest = text_digest(behaviour.text).to_bytes(_DIGEST_BYTES, "big")
    return _with(habit, digest, _hour(behaviour.at_ms), HABIT_WEIGHTS[behaviour.action], limit)


def merged(habit: bytes, other: bytes, limit: int = HABIT_LIMIT) -> bytes:
    """Two histories' habit as one; of more than `limit` texts the smallest counts go."""
    for place in range(0, len(other), HABIT_BYTES):
        last_h, count = _memory(other, place)
        digest = other[place : place + _DIGEST_BYTES]
        habit = _with(habit, digest, last_h, count, limit + len(other))  # cut when all are in
    while len(habit) > limit * HABIT_BYTES:
        habit = _without_weakest(habit)
    return habit


def _with(habit: bytes, digest: bytes, at_h: int, gain: float, limit: int) -> bytes:
    place = place_of_row(habit, digest, HABIT_BYTES)
    if place >= 0:
        last_h, count = _memory(habit, place)
        newest_h = max(last_h, at_h)
        count = count * _decay(newest_h - last_h) + gain * _decay(newest_h - at_h)
        return habit[:place] + digest + _packed(newest_h, count) + habit[place + HABIT_BYTES :]
    starts = range(0, len(habit), HABIT_BYTES)
    place = HABIT_BYTES * bisect_left(starts, digest, key=lambda at: habit[at : at + _DIGEST_BYTES])
    longer = habit[:place] + digest + _packed(at_h, gain) + habit[place:]
    return longer if len(longer) <= limit * HABIT_BYTES else _without_weakest(longer)


def _memory(habit: bytes, place: int) -> tuple[int, float]:
    """Hour of the last behaviour, and the count then, of the entry at `place`."""
    (memory,) = _MEMORY.unpack_from(habit, place + _DIGEST_BYTES)
    return memory >> _COUNT_BITS, exp2((memory & _COUNT_MASK) / _COUNT_STEPS - _COUNT_FLOOR)


def _packed(last_h: int, count: float) -> bytes:
    code = round(_COUNT_STEPS * (log2(count) + _COUNT_FLOOR)) if count > 0 else 0
    return _MEMORY.pack(last_h << _COUNT_BITS | min(max(code, 0), _COUNT_MASK))


def _hour(at_ms: int) -> int:
    return min((at_ms + 500 * HOUR_S) // (1000 * HOUR_S), _LAST_H)


def _decay(hours: int) -> float:
    return exp2(-hours / HALF_LIFE_H)


def _without_weakest(habit: bytes) -> bytes:
    entries = Entries.of(habit)
    place = HABIT_BYTES * int(entries.counts_at(1000 * int(entries.last_s.max())).argmin())
    return habit[:place] + habit[place + HABIT_BYTES :]
