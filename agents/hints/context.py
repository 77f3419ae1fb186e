"""From hint requests to the generator's input arrays: the one function that live, replay and training share.

The paper writes the history as text, `index | time | type | content` (§3.2). Ours is one vector per
behaviour, embedded when it arrived, beside its action, its age and how often its text stands in the window.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from agents.session.window import WINDOW_LIMIT
from streams.hint_request import Behaviour, HintRequest, Int8

Int32 = npt.NDArray[np.int32]

ACTIONS: Final = 6  # codes 1..5 of agents.session.interest; 0 is padding
REPEATS: Final = 9  # 0 padding, 1..8 and more
# Upper bounds of an age's bucket in seconds: within a visit, the same day, days, weeks, months.
AGE_BOUNDS_S: Final = (1, 10, 60, 600, 3_600, 6 * 3_600, *(round(86_400 * d) for d in (
    0.75, 1.5, 2.5, 3.5, 4.5, 5.5, 6.5, 7.5, 9.5, 12, 15, 20, 25, 32, 45, 60, 90, 180)))  # fmt: skip
AGES: Final = len(AGE_BOUNDS_S) + 2  # 0 padding, then one bucket before each bound and one after the last


@dataclass(frozen=True, slots=True)
class Contexts:
    """B contexts, always padded to L = 32, so that a list cannot depend on the batch it is made in.

    events: (B, L, D) int8, e(text)·127, newest first. actions, ages, repeats: (B, L) int32 codes,
    0 = padding. interests: (B, 2, D) int8, of the visit and of the shopper.
    """

    events: Int8
    actions: Int32
    ages: Int32
    repeats: Int32
    interests: Int8

    def __len__(self) -> int:
        return len(self.events)

    def inputs(self) -> dict[str, Int8 | Int32]:
        """The arrays by the names of the graph's inputs."""
        return {
            "events": self.events,
            "actions": self.actions,
            "ages": self.ages,
            "repeats": self.repeats,
            "interests": self.interests,
        }


def context_arrays(requests: Sequence[HintRequest]) -> Contexts:
    """Arrays of the requests, in their order. Vectors are taken as they come: see `Generator` for others."""
    dim = requests[0].interests.shape[1] if requests else 0
    events = np.zeros((len(requests), WINDOW_LIMIT, dim), np.int8)
    codes = np.zeros((3, len(requests), WINDOW_LIMIT), np.int32)
    interests = np.zeros((len(requests), 2, dim), np.int8)
    for row, request in enumerate(requests):
        behaviours = request.behaviours[:WINDOW_LIMIT]
        count = len(behaviours)
        events[row, :count] = request.vectors[:count]
        interests[row] = request.interests
        if count:
            codes[:, row, :count] = _codes(behaviours, request.version.as_of_ms)
    return Contexts(events, codes[0], codes[1], codes[2], interests)


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
