"""A shop's traffic, planned before anything is sent: real baskets, shoppers that come by a Poisson clock.

Each shopper takes one real basket (`training.datasets.events`: what was bought is real, the searches and the
seconds between are simulated) and a name of their own; their first events form a Poisson process. So the
shop is as busy as we like while each person acts at a person's pace, and lists are asked for as often as they
would be: the cooldown of 30 s holds most events back.

The rate is a staircase. Everybody has a mark, and acts only while the mark is below the rate: going up adds
shoppers evenly over the ramp, so that no step begins with a burst of first lists.
"""

from __future__ import annotations

import random
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Final

import orjson

from training.datasets.complete_journey import REPORT, load_purchases
from training.datasets.events import SimulatedInterface, events_of, take_baskets

# The demo searches up to five minutes ahead; a shop whose visits are so long is steady only after ten.
INTERFACE: Final = SimulatedInterface(search_lead_ms=(5_000, 20_000))
PURCHASES: Final = 20_000
BEFORE_S: Final = 180.0  # shoppers who came so long before may still be there
SHOPPERS: Final = 10_000_000  # a plan has fewer

Event = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Level:
    """events/s, reached evenly over `ramp_s` from the level before, then kept for `flat_s`."""

    rate: float
    ramp_s: float
    flat_s: float

    @property
    def seconds(self) -> float:
        """Both."""
        return self.ramp_s + self.flat_s


@dataclass(frozen=True, slots=True)
class Planned:
    """One event: due so many seconds after the start; shopper: who, unlike in the plan of any other seed."""

    due_s: float
    shopper: int
    event: Event

    @property
    def user(self) -> str:
        """The household's id and the shopper's number: nobody else's."""
        return f"{self.event['user_id']}-{self.shopper}"

    def encoded(self, start_s: float) -> bytes:
        """The record's value when the start is at `start_s` (epoch); its event time is when it is due."""
        own = {
            "timestamp": int(1000 * (start_s + self.due_s)),
            "user_id": self.user,
            "event_id": f"{self.event['event_id']}-{self.shopper}",
        }
        return orjson.dumps(self.event | own)


def baskets(purchases: int = PURCHASES) -> list[list[tuple[float, Event]]]:
    """Real baskets: (seconds after the basket's first event, event), in order."""
    bought = take_baskets(load_purchases(REPORT), purchases_min=purchases)
    found: dict[str, list[Event]] = {}
    for event in events_of(bought, seed=1, interface=INTERFACE):
        found.setdefault(event["session_id"], []).append(event)
    return [
        [((one["timestamp"] - events[0]["timestamp"]) / 1000, one) for one in events]
        for events in found.values()
    ]


def rate_at(levels: Sequence[Level], at_s: float) -> float:
    """Events per second that are meant at `at_s`; the first level's ramp begins at nothing."""
    ends = list(accumulate(level.seconds for level in levels))
    place = min(bisect_right(ends, at_s), len(levels) - 1)
    level, before = levels[place], levels[place - 1].rate if place else 0.0
    into_s = at_s - (ends[place] - level.seconds)
    share = min(1.0, into_s / level.ramp_s) if level.ramp_s else 1.0
    return before + share * (level.rate - before)


def planned(
    baskets: Sequence[list[tuple[float, Event]]], levels: Sequence[Level], seed: int
) -> list[Planned]:
    """All events of the staircase in the order they are due."""
    chance = random.Random(seed)  # noqa: S311 - load, no secret
    most, end_s = max(level.rate for level in levels), sum(level.seconds for level in levels)
    found = []
    for shopper, arrival_s in enumerate(
        _arrivals(chance, most * len(baskets) / sum(map(len, baskets)), end_s)
    ):
        mark = chance.random() * most
        for after_s, event in chance.choice(baskets):
            due_s = arrival_s + after_s
            if 0 <= due_s < end_s and mark < rate_at(levels, due_s):
                found.append(Planned(due_s, seed * SHOPPERS + shopper, event))
    return sorted(found, key=lambda one: one.due_s)


def _arrivals(chance: random.Random, per_s: float, end_s: float) -> Iterator[float]:
    at_s = -BEFORE_S
    while (at_s := at_s + chance.expovariate(per_s)) < end_s:
        yield at_s
