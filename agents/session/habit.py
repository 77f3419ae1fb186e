"""What a shopper keeps coming back to: decayed counts of the behaviours that have left the window.

The window remembers the last behaviours exactly, habit all older ones in sum. A text's entry holds its count
as of its own last behaviour, so an event touches one entry and time alone none:

    count_T(x) = Σ_i w(action_i) · 2^(−(last_x − t_i)/h)         read at T:  count · 2^(−(T − last_x)/h)

A behaviour leaves the window once, and what has left depends on the set of behaviours alone; sums commute;
so habit, too, is independent of the order of arrival (up to float rounding) as long as nobody has more
than HABIT_LIMIT texts in it. Beyond that the smallest count goes. Texts are kept as 32-bit digests: habit
belongs to no bundle and survives a new one. Ours; the paper's network reads the behaviours as text (§3.2).
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from functools import lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt

from streams.hint_request import HABIT_ENTRY, Behaviour, HabitEntries
from streams.query_text import normalise_query

HABIT_LIMIT: Final = 96
LAST_S: Final = 2**32 - 1  # in the year 2106: what is later counts as then
HABIT_HALF_LIFE_S: Final = 60 * 86_400.0
# By action code: a purchase is a habit's event; what was only looked at says little.
HABIT_WEIGHTS: Final = (0.0, 0.05, 0.1, 0.25, 0.5, 1.0)
NO_HABIT: Final = np.zeros(0, HABIT_ENTRY)


@lru_cache(maxsize=65_536)
def text_digest(text: str) -> int:
    """The 32 bits that stand for a text, however it is cased or spaced."""
    return zlib.crc32(normalise_query(text).encode("utf-8", "replace"))


def with_all(entries: HabitEntries, left: Iterable[Behaviour]) -> HabitEntries:
    """Entries with the behaviours that left a window."""
    for behaviour in left:
        entries = with_behaviour(entries, behaviour)
    return entries


def with_behaviour(entries: HabitEntries, behaviour: Behaviour, limit: int = HABIT_LIMIT) -> HabitEntries:
    """Entries with one more behaviour, sorted by digest; of more than `limit` the smallest count goes."""
    digest, at_s = text_digest(behaviour.text), min(behaviour.at_ms // 1000, LAST_S)
    gain = HABIT_WEIGHTS[behaviour.action]
    place = int(entries["text"].searchsorted(np.uint32(digest)))
    if place < len(entries) and entries["text"][place] == digest:
        _, last, count = entries[place].item()
        newest = max(last, at_s)
        changed = entries.copy()
        changed[place] = (digest, newest, count * _decay(newest - last) + gain * _decay(newest - at_s))
        return changed
    changed = np.empty(len(entries) + 1, HABIT_ENTRY)
    changed[:place], changed[place + 1 :] = entries[:place], entries[place:]
    changed[place] = (digest, at_s, gain)
    return changed if len(changed) <= limit else np.delete(changed, _weakest(changed))


def merged(entries: HabitEntries, others: HabitEntries, limit: int = HABIT_LIMIT) -> HabitEntries:
    """Two histories' habit as one, sorted by digest; of more than `limit` the smallest counts go."""
    counts = {int(text): (int(last), float(count)) for text, last, count in entries.tolist()}
    for text, last, count in others.tolist():
        known, before = counts.get(text, (last, 0.0))
        newest = max(known, last)
        counts[text] = (newest, before * _decay(newest - known) + count * _decay(newest - last))
    rows = sorted((text, last, count) for text, (last, count) in counts.items())
    both = np.array(rows, HABIT_ENTRY)
    while len(both) > limit:
        both = np.delete(both, _weakest(both))
    return both


def _decay(seconds: float) -> float:
    return float(2.0 ** (-seconds / HABIT_HALF_LIFE_S))


def _weakest(entries: HabitEntries) -> int:
    return int(counts_at(entries, 1000 * int(entries["last_s"].max())).argmin())


def counts_at(entries: HabitEntries, as_of_ms: int | npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
    """Decayed counts of the entries at a time, or each at its own, (n,) float32."""
    age_s = np.maximum(0.0, as_of_ms / 1000 - entries["last_s"].astype(np.float64))
    return (entries["count"] * np.exp2(-age_s / HABIT_HALF_LIFE_S)).astype(np.float32)
