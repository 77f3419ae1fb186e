"""From hint requests to the generator's input arrays: the one function that live, replay and training share.

The paper writes the history as text, `index | time | type | content` (§3.2). Ours is one vector per
behaviour, embedded when it arrived, beside its action, its age and how often its text stands in the window;
and for each query that the shopper has ever come back to, how often and how long ago, from window and habit.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from agents.session.habit import HABIT_HALF_LIFE_S, HABIT_LIMIT, HABIT_WEIGHTS, Entries, text_digest
from agents.session.window import WINDOW_LIMIT
from streams.hint_request import HABIT_BYTES, Behaviour, HintRequest, Int8

Int16 = npt.NDArray[np.int16]
Int32 = npt.NDArray[np.int32]
Int64 = npt.NDArray[np.int64]
Float64 = npt.NDArray[np.float64]

HABITS: Final = WINDOW_LIMIT + HABIT_LIMIT  # H: texts of window and habit together
HABIT_BLOCK: Final = 16  # divides H
COUNT_STEPS: Final = 32.0  # code of a count c: 32 · log2(1 + c)
AGE_STEPS: Final = 16.0  # code of an age of h hours: 16 · log2(1 + h)
ACTIONS: Final = 6  # codes 1..5 of agents.session.interest; 0 is padding
REPEATS: Final = 9  # 0 padding, 1..8 and more
# Upper bounds of an age's bucket in seconds: within a visit, the same day, days, weeks, months.
AGE_BOUNDS_S: Final = (1, 10, 60, 600, 3_600, 6 * 3_600, *(round(86_400 * d) for d in (
    0.75, 1.5, 2.5, 3.5, 4.5, 5.5, 6.5, 7.5, 9.5, 12, 15, 20, 25, 32, 45, 60, 90, 180)))  # fmt: skip
AGES: Final = len(AGE_BOUNDS_S) + 2  # 0 padding, then one bucket before each bound and one after the last
ROW_BITS: Final = 32  # a query's number is smaller: row and number make one key
HABIT_WEIGHT: Final = np.array(HABIT_WEIGHTS)
VISIT_AGE: Final = AGE_BOUNDS_S.index(3_600) + 1  # age codes up to it: within the hour


@dataclass(frozen=True, slots=True)
class Contexts:
    """B contexts, always padded to L = 32, so that a list cannot depend on the batch it is made in.

    events: (B, L, D) int8, e(text)·127, newest first. actions, ages, repeats: (B, L) int32 codes,
    0 = padding. interests: (B, 2, D) int8, of the visit and of the shopper. habits: (B, H, 3) int16, per
    query of the shopper's past its number + 1 (0 = padding), its count's and its age's code.
    """

    events: Int8
    actions: Int32
    ages: Int32
    repeats: Int32
    interests: Int8
    habits: Int16

    def __len__(self) -> int:
        return len(self.events)

    def inputs(self) -> dict[str, Int8 | Int16 | Int32]:
        """The arrays by the names of the graph's inputs."""
        return {
            "events": self.events,
            "actions": self.actions,
            "ages": self.ages,
            "repeats": self.repeats,
            "interests": self.interests,
            "habits": self.habits,
        }

    def graph_inputs(self) -> dict[str, Int8 | Int16 | Int32]:
        """The arrays by the names of the graphs' inputs: the past without most of its padding, in blocks.

        habits: (P, HABIT_BLOCK, 3), a context's blocks one after the other, at least one. habit_rows: (P,)
        int32, whose they are. A block fills a vector register, so that a context's numbers do not depend on
        whose blocks stand beside its own.
        """
        known = np.count_nonzero(self.habits[:, :, 0], axis=1)
        rows, places = _laid_out(np.maximum(1, -(-known // HABIT_BLOCK)))
        blocks = self.habits.reshape(len(self), -1, HABIT_BLOCK, 3)[rows, places]
        return self.inputs() | {"habits": blocks, "habit_rows": rows.astype(np.int32)}


class QueryIndex:
    """Finds the number of the query that a text's digest stands for."""

    def __init__(self, lexicon: Sequence[str]) -> None:
        digests = np.array([text_digest(query) for query in lexicon], np.int64)
        self._order = np.argsort(digests, kind="stable")
        self._sorted = digests[self._order]

    def numbers(self, digests: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Numbers of the digests' queries, -1 where there is none."""
        if not len(self._sorted):
            return np.full(len(digests), -1)
        places = np.minimum(self._sorted.searchsorted(digests), len(self._sorted) - 1)
        return np.where(self._sorted[places] == digests, self._order[places], -1)


def context_arrays(requests: Sequence[HintRequest], index: QueryIndex) -> Contexts:
    """Arrays of the requests, in their order. Vectors are taken as they come: see `Generator` for others."""
    dim = requests[0].interests.shape[1] if requests else 0
    events = np.zeros((len(requests), WINDOW_LIMIT, dim), np.int8)
    interests = np.zeros((len(requests), 2, dim), np.int8)
    windows = [request.behaviours[:WINDOW_LIMIT] for request in requests]
    for row, (request, window) in enumerate(zip(requests, windows, strict=True)):
        events[row, : len(window)] = request.vectors[: len(window)]
        interests[row] = request.interests
    seen = _Seen.of(requests, windows)
    actions, ages, repeats = _codes(windows, seen)
    return Contexts(events, actions, ages, repeats, interests, _habits(requests, seen, index))


class _Seen(NamedTuple):
    """All windows' behaviours one after the other, (n,) each: which row's, its place there, what and when."""

    rows: Int64
    places: Int64
    actions: Int64
    ages_s: Float64
    digests: Int64

    @classmethod
    def of(cls, requests: Sequence[HintRequest], windows: Sequence[Sequence[Behaviour]]) -> _Seen:
        rows, places = _laid_out([len(window) for window in windows])
        every = list(chain.from_iterable(windows))
        as_of_ms = np.array([request.version.as_of_ms for request in requests], np.int64)
        at_ms = np.array([behaviour.at_ms for behaviour in every], np.int64)
        return cls(
            rows,
            places,
            np.array([behaviour.action for behaviour in every], np.int64),
            np.maximum(0, as_of_ms[rows] - at_ms) / 1000,
            np.array([text_digest(behaviour.text) for behaviour in every], np.int64),
        )


def _laid_out(lengths: Sequence[int] | Int64) -> tuple[Int64, Int64]:
    """Rows of these lengths one after the other: of each entry its row, and its place in the row."""
    counts = np.asarray(lengths, np.int64)
    rows = np.repeat(np.arange(len(counts)), counts)
    return rows, np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)


def _codes(windows: Sequence[Sequence[Behaviour]], seen: _Seen) -> Int32:
    """(3, B, L): action, age bucket, repeats of each behaviour."""
    codes = np.zeros((3, len(windows), WINDOW_LIMIT), np.int32)
    texts = [[behaviour.text for behaviour in window] for window in windows]
    times = [Counter(own) for own in texts]
    repeats = [count[text] for count, own in zip(times, texts, strict=True) for text in own]
    codes[0, seen.rows, seen.places] = seen.actions
    codes[1, seen.rows, seen.places] = np.searchsorted(AGE_BOUNDS_S, seen.ages_s, side="right") + 1
    codes[2, seen.rows, seen.places] = np.minimum(np.array(repeats, np.int64), REPEATS - 1)
    return codes


def _habits(requests: Sequence[HintRequest], seen: _Seen, index: QueryIndex) -> Int16:
    """(B, H, 3): query number + 1, count code, age code; the largest counts first, ties by number."""
    past = _past(requests, seen, index)
    order = np.lexsort((-past.counts, past.rows))  # stable
    rows, places = _laid_out(np.bincount(past.rows, minlength=len(requests)))
    habits = np.zeros((len(requests), HABITS, 3), np.int16)
    habits[rows, places, 0] = past.numbers[order] + 1
    habits[rows, places, 1] = np.rint(COUNT_STEPS * np.log2(1 + past.counts[order]))
    habits[rows, places, 2] = np.rint(AGE_STEPS * np.log2(1 + past.ages_s[order] / 3600))
    return habits


class _Past(NamedTuple):
    """Every query in somebody's window or habit, (n,) each, by row and number: decayed count, and age."""

    rows: Int64
    numbers: Int64
    counts: Float64
    ages_s: Float64

    @classmethod
    def of(cls, keys: Int64, counts: Float64, ages_s: Float64) -> _Past:
        """From what is known of each, once or more often. keys: ascending, row << ROW_BITS | number."""
        first = np.flatnonzero(np.diff(keys, prepend=-1))
        which = np.repeat(np.arange(len(first)), np.diff(first, append=len(keys)))
        newest = np.minimum.reduceat(ages_s, first) if len(first) else ages_s
        summed = np.zeros(len(first))
        np.add.at(summed, which, counts)
        found = keys[first]
        return cls(found >> ROW_BITS, found & (1 << ROW_BITS) - 1, summed, newest)


def _past(requests: Sequence[HintRequest], seen: _Seen, index: QueryIndex) -> _Past:
    kept = Entries.of(b"".join(request.habit for request in requests))
    rows, _ = _laid_out([len(request.habit) // HABIT_BYTES for request in requests])
    as_of_ms = np.array([request.version.as_of_ms for request in requests], np.int64)[rows]
    recent = HABIT_WEIGHT[seen.actions] * np.exp2(-seen.ages_s / HABIT_HALF_LIFE_S)
    numbers = index.numbers(np.concatenate([seen.digests, kept.texts]))
    keys = np.concatenate([seen.rows, rows]) << ROW_BITS | numbers
    order = np.argsort(keys, kind="stable")  # so that sums are made in one order, window first
    order = order[numbers[order] >= 0]
    counts, ages_s = (
        np.concatenate([recent, kept.counts_at(as_of_ms)]),
        np.concatenate([seen.ages_s, kept.ages_s(as_of_ms)]),
    )
    return _Past.of(keys[order], counts[order], ages_s[order])
