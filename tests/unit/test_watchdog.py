from __future__ import annotations

from agents.watchdog import CommitWatch

PARTITION = ("behavior-events", 0)


def test_lag_that_shrinks_by_commits_is_no_standstill() -> None:
    watch = CommitWatch()
    ages = [watch.age_s(PARTITION, lag=10, committed=offset, now_s=offset) for offset in range(5)]
    assert ages == [0, 0, 0, 0, 0]


def test_lag_without_a_commit_ages_until_the_next_commit() -> None:
    watch = CommitWatch()
    ages = [watch.age_s(PARTITION, lag=10, committed=7, now_s=second) for second in (0, 10, 25)]
    assert ages == [0, 10, 25]
    assert watch.age_s(PARTITION, lag=9, committed=8, now_s=30) == 0


def test_a_partition_without_lag_does_not_age() -> None:
    watch = CommitWatch()
    assert [watch.age_s(PARTITION, lag=0, committed=7, now_s=second) for second in (0, 100)] == [0, 0]


def test_partitions_that_left_are_forgotten_and_named() -> None:
    watch = CommitWatch()
    watch.age_s(PARTITION, lag=1, committed=7, now_s=0)
    watch.age_s(("behavior-events", 1), lag=1, committed=7, now_s=0)
    assert watch.keep({("behavior-events", 1)}) == {PARTITION}
    assert watch.age_s(PARTITION, lag=1, committed=7, now_s=50) == 0
