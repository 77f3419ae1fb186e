from __future__ import annotations

import pytest

from agents.hints.budget import QueueLimits, TokenBucket
from agents.overload import Load, Overload
from streams.acks import InOrderAcks


def test_no_limit_grants_all() -> None:
    assert TokenBucket(0).grant(1_000, 0.0) == 1_000
    assert TokenBucket(0).wait_s() == 0.0


def test_lists_per_second_are_not_exceeded_in_the_long_run() -> None:
    bucket = TokenBucket(10)
    granted = sum(bucket.grant(32, turn / 10) for turn in range(101))  # ten seconds, ten looks a second
    assert 10 + 98 <= granted <= 10 + 100  # the second that it begins with, and ten more, rounded


def test_an_idle_hour_is_not_made_up_for() -> None:
    bucket = TokenBucket(5)
    bucket.grant(5, 0.0)
    assert bucket.grant(1_000, 3_600.0) == 5


@pytest.mark.parametrize("per_s", [0.5, 3.0])
def test_it_says_when_the_next_list_may_be_made(per_s: float) -> None:
    bucket = TokenBucket(per_s)
    bucket.grant(100, 0.0)
    wait_s = bucket.wait_s()
    assert bucket.grant(1, wait_s * 0.9) == 0
    assert bucket.grant(1, wait_s + 1e-9) == 1


def test_less_than_one_list_a_second_is_possible() -> None:
    bucket = TokenBucket(0.5)
    assert [bucket.grant(1, float(second)) for second in range(5)] == [1, 0, 1, 0, 1]


def test_a_queue_is_full_by_number_or_by_bytes_until_the_oldest_is_acknowledged() -> None:
    acks, limits = InOrderAcks(), QueueLimits(requests=3, size=1_000)
    tickets = [acks.begin(("t", 0), offset, lambda: None, size=100) for offset in range(2)]
    assert not limits.is_full(acks)
    large = acks.begin(("t", 1), 0, lambda: None, size=900)
    assert limits.is_full(acks)
    acks.finish(large)
    assert (acks.size, limits.is_full(acks)) == (200, False)
    acks.finish(tickets[1])  # done, but an older one is not: its record is still held
    assert acks.size == 200
    acks.revoke([("t", 0)])
    assert (acks.size, len(acks)) == (0, 0)


def test_an_overload_begins_at_the_limit_and_ends_below_half_of_it() -> None:
    overload = Overload()
    assert overload.observe(Load(queue_age_s=9.0)) == ""
    assert overload.observe(Load(queue_age_s=11.0)) == "a request waits for 11 s"
    assert overload.observe(Load(queue_age_s=6.0)) == "a request waits for 6 s"
    assert overload.observe(Load(queue_age_s=4.0)) == ""
    assert overload.observe(Load(queue_age_s=6.0)) == ""


def test_every_reason_for_late_lists_is_named() -> None:
    assert (
        Overload().observe(Load(0.0, True, 20_000)) == "the queue of requests is full; 20,000 records behind"
    )
