"""From hint requests to the generator's input arrays: the one function that live, replay and training share.

The paper writes the history as text, `index | time | type | content` (§3.2). Ours is one vector per
behaviour, embedded when it arrived, beside its action, its age and how often its text stands in the window;
and for each query that the shopper has ever come back to, how often and how long ago, from window and habit.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from agents.session.habit import HABIT_HALF_LIFE_S, HABIT_LIMIT, HABIT_WEIGHTS, counts_at, text_digest
from agents.session.window import WINDOW_LIMIT
from streams.hint_request import Behaviour, HintRequest, Int8

Int16 = npt.NDArray[np.int16]
Int32 = npt.NDArray[np.int32]

HABITS: Final = WINDOW_LIMIT + HABIT_LIMIT  # H: texts of window and habit together
COUNT_STEPS: Final = 32.0  # code of a count c: 32 · log2(1 + c)
AGE_STEPS: Final = 16.0  # code of an age of h hours: 16 · log2(1 + h)
ACTIONS: Final = 6  # codes 1..5 of agents.session.interest; 0 is padding
REPEATS: Final = 9  # 0 padding, 1..8 and more
# Upper bounds of an age's bucket in seconds: within a visit, the same day, days, weeks, months.
AGE_BOUNDS_S: Final = (1, 10, 60, 600, 3_600, 6 * 3_600, *(round(86_400 * d) for d in (
    0.75, 1.5, 2.5, 3.5, 4.5, 5.5, 6.5, 7.5, 9.5, 12, 15, 20, 25, 32, 45, 60, 90, 180)))  # fmt: skip
AGES: Final = len(AGE_BOUNDS_S) + 2  # 0 padding, then one bucket before each bound and one after the last
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
    codes = np.zeros((3, len(requests), WINDOW_LIMIT), np.int32)
    interests = np.zeros((len(requests), 2, dim), np.int8)
    habits = np.zeros((len(requests), HABITS, 3), np.int16)
    for row, request in enumerate(requests):
        behaviours = request.behaviours[:WINDOW_LIMIT]
        count = len(behaviours)
        events[row, :count] = request.vectors[:count]
        interests[row] = request.interests
        found = _habits(request, index)
        habits[row, : len(found)] = found
        if count:
            codes[:, row, :count] = _codes(behaviours, request.version.as_of_ms)
    return Contexts(events, codes[0], codes[1], codes[2], interests, habits)


def _codes(behaviours: Sequence[Behaviour], as_of_ms: int) -> Int32:
    """(3, n): action, age bucket, repeats of each behaviour."""
    times = Counter(behaviour.text for behaviour in behaviours)
    ages_s = [max(0, as_of_ms - behaviour.at_ms) / 1000 for behaviour in behaviours]
    return np.array(
        [
            [behaviour.action for behaviour in behaviours],
            np.searchsorted(AGE_BOUNDS_S, ages_s, side="right") + 1,
            [min(times[behaviour.text], REPEATS - 1) for behaviour in behaviours],
        ],
        np.int32,
    )


def _habits(request: HintRequest, index: QueryIndex) -> Int16:
    """(n, 3): query number + 1, count code, age code; the largest counts first, ties by number."""
    as_of_ms = request.version.as_of_ms
    ages_s = [max(0.0, (as_of_ms - behaviour.at_ms) / 1000) for behaviour in request.behaviours]
    weights = [HABIT_WEIGHTS[behaviour.action] for behaviour in request.behaviours]
    recent = np.array(weights) * np.exp2(-np.array(ages_s) / HABIT_HALF_LIFE_S)
    texts = [text_digest(behaviour.text) for behaviour in request.behaviours]
    numbers = index.numbers(
        np.concatenate([np.array(texts, np.int64), request.habit["text"].astype(np.int64)])
    )
    known = numbers >= 0
    queries, place = np.unique(numbers[known], return_inverse=True)
    counts, ages = np.zeros(len(queries)), np.full(len(queries), np.inf)
    np.add.at(counts, place, np.concatenate([recent, counts_at(request.habit, as_of_ms)])[known])
    older_s = np.maximum(0.0, as_of_ms / 1000 - request.habit["last_s"])
    np.minimum.at(ages, place, np.concatenate([ages_s, older_s])[known])
    codes = np.stack(
        [
            queries + 1,
            np.rint(COUNT_STEPS * np.log2(1 + counts)),
            np.rint(AGE_STEPS * np.log2(1 + ages / 3600)),
        ],
        axis=1,
    )
    return codes[np.argsort(-counts, kind="stable")].astype(np.int16)
