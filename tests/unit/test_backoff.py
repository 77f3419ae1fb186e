from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from streams.backoff import BackOff, Breaker, Circuit

BACK_OFF = BackOff(first_s=1.0, longest_s=8.0)


def breaker(opens_after: int = 3, chance: float = 1.0) -> Breaker:
    return Breaker(BACK_OFF, opens_after, lambda: chance)


def test_each_wait_is_twice_the_one_before_up_to_the_longest() -> None:
    assert [BACK_OFF.wait_s(failures, 1.0) for failures in range(1, 7)] == [1, 2, 4, 8, 8, 8]


@given(failures=st.integers(1, 10_000), chance=st.floats(0, 1))
def test_chance_takes_away_half_at_most(failures: int, chance: float) -> None:
    whole_s = BACK_OFF.wait_s(failures, 1.0)
    assert whole_s / 2 <= BACK_OFF.wait_s(failures, chance) <= whole_s <= 8


def test_workers_that_failed_together_do_not_come_back_together() -> None:
    waits = {breaker(chance=number / 10).failed("away", 0.0) for number in range(10)}
    assert len(waits) == 10


def test_it_opens_after_so_many_failures_in_a_row() -> None:
    one = breaker(opens_after=3)
    for expected in (Circuit.CLOSED, Circuit.CLOSED, Circuit.OPEN):
        one.failed("away", 0.0)
        assert one.circuit is expected


def test_a_call_that_works_in_between_begins_the_count_anew() -> None:
    one = breaker(opens_after=2)
    one.failed("away", 0.0)
    one.worked()
    one.failed("away", 0.0)
    assert one.circuit is Circuit.CLOSED
    assert one.problem == "away"


def test_no_call_before_its_wait_is_over_and_then_one_trial_alone() -> None:
    one = breaker(opens_after=1)
    assert one.failed("away", 10.0) == 1.0
    assert not one.allows(10.9)
    assert one.allows(11.0)
    assert one.circuit is Circuit.HALF_OPEN
    assert not one.allows(11.0)


def test_a_trial_that_fails_opens_it_again_for_longer() -> None:
    one = breaker(opens_after=1)
    one.failed("away", 0.0)
    assert one.allows(1.0)
    assert one.failed("still away", 1.0) == 2.0
    assert one.circuit is Circuit.OPEN
    assert not one.allows(2.9)
    assert one.allows(3.0)


def test_a_trial_that_works_closes_it() -> None:
    one = breaker(opens_after=1)
    one.failed("away", 0.0)
    assert one.allows(1.0)
    one.worked()
    assert (one.circuit, one.problem) == (Circuit.CLOSED, "")
    assert one.allows(1.0)
    assert one.allows(1.0)


def test_a_closed_circuit_waits_between_tries_too() -> None:
    one = breaker(opens_after=3)
    one.failed("slow", 0.0)
    assert not one.allows(0.5)
    assert one.allows(1.0)
