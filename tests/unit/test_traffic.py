"""A planned load: the rate that was asked for, each shopper at a person's pace, nobody twice."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import orjson
import pytest

from benchmarks.traffic import Level, planned, rate_at

# Baskets of ten events, five seconds apart.
BASKETS = [
    [(5.0 * n, {"user_id": f"hh-{household}", "event_id": f"e{household}-{n}"}) for n in range(10)]
    for household in range(20)
]
STAIRCASE = [Level(20, 10, 20), Level(60, 10, 20), Level(30, 0, 20)]


@pytest.mark.parametrize(
    ("at_s", "rate"), [(0, 0), (5, 10), (10, 20), (29, 20), (35, 40), (40, 60), (59, 60), (60, 30), (79, 30)]
)
def test_the_rate_goes_up_evenly_and_stays(at_s: float, rate: float) -> None:
    assert rate_at(STAIRCASE, at_s) == pytest.approx(rate)


def test_as_many_events_are_planned_as_were_asked_for() -> None:
    due = [one.due_s for one in planned(BASKETS, STAIRCASE, seed=1)]
    assert due == sorted(due)
    for from_s, to_s, rate in ((10, 30, 20), (40, 60, 60), (60, 80, 30)):
        count = sum(from_s <= at_s < to_s for at_s in due)
        assert count == pytest.approx(rate * (to_s - from_s), rel=0.25)


def test_each_shopper_keeps_the_baskets_own_pace() -> None:
    times: dict[str, list[float]] = {}
    for one in planned(BASKETS, [Level(20, 0, 60)], seed=1):
        times.setdefault(one.user, []).append(one.due_s)
    gaps = [b - a for own in times.values() for a, b in pairwise(own)]
    assert gaps
    assert all(gap == pytest.approx(5.0) for gap in gaps)


def test_a_step_up_adds_shoppers_and_takes_none_away() -> None:
    plan = planned(BASKETS, STAIRCASE[:2], seed=1)
    events = Counter(one.shopper for one in plan if one.due_s < 60)
    first = {one.shopper: one.due_s for one in reversed(plan)}
    # Whoever began early enough to end in time has all events from the first on: none was dropped between.
    whole = [one for one in plan if one.event["event_id"].endswith("-0") and one.due_s < 14]
    assert whole
    assert all(events[one.shopper] == 10 and first[one.shopper] == one.due_s for one in whole)


def test_plans_of_two_seeds_share_no_shopper_and_a_seed_gives_one_plan() -> None:
    one, again, other = (planned(BASKETS, [Level(20, 0, 30)], seed) for seed in (1, 1, 2))
    assert one == again
    assert not {event.user for event in one} & {event.user for event in other}


def test_an_events_time_is_when_it_is_due() -> None:
    first = planned(BASKETS, [Level(20, 0, 30)], seed=1)[0]
    found = orjson.loads(first.encoded(1_700_000_000.0))
    assert found["timestamp"] == int(1000 * (1_700_000_000.0 + first.due_s))
    assert found["user_id"] == first.user
    assert found["event_id"].startswith(first.event["event_id"])
