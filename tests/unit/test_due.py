from __future__ import annotations

from agents.session.due import GRACE_S, DueList


def test_stream_time_goes_with_the_events_and_then_at_the_wall_clocks_pace() -> None:
    due = DueList()
    due.observe(0, 1_000, wall_s=50.0)
    due.add(0, 1_500, "u1")
    assert due.pop(wall_s=50.4) == []
    assert due.pop(wall_s=50.5) == [(0, 1_500, "u1")]
    assert due.pop(wall_s=99.0) == []


def test_a_later_event_makes_what_is_due_fall_due_at_once() -> None:
    due = DueList()
    due.add(0, 1_500, "u1")
    due.add(0, 900, "u2")
    due.add(1, 900, "u3")
    due.observe(0, 2_000, wall_s=1.0)
    assert due.pop(wall_s=1.0) == [(0, 900, "u2"), (0, 1_500, "u1")]
    assert len(due) == 1


def test_a_late_event_does_not_turn_stream_time_back() -> None:
    due = DueList()
    due.observe(0, 2_000, wall_s=1.0)
    due.observe(0, 500, wall_s=1.0)
    due.add(0, 1_900, "u1")
    assert due.pop(wall_s=1.0) == [(0, 1_900, "u1")]


def test_what_is_added_twice_falls_due_once() -> None:
    due = DueList()
    due.observe(0, 10, wall_s=0.0)
    due.add(0, 5, "u1")
    due.add(0, 5, "u1")
    assert due.pop(wall_s=0.0) == [(0, 5, "u1")]


def test_partitions_that_left_are_forgotten() -> None:
    due = DueList()
    due.observe(0, 10, 0.0)
    due.observe(1, 10, 0.0)
    due.add(0, 5, "u1")
    due.add(1, 5, "u2")
    due.keep([1])
    assert due.pop(0.0) == [(1, 5, "u2")]


def test_after_a_restart_nothing_falls_due_before_the_events_that_come_again() -> None:
    due = DueList()
    due.resume(0, 2_000, wall_s=0.0)
    due.add(0, 1_500, "u1")
    assert due.pop(wall_s=1.0) == []
    due.observe(0, 1_400, wall_s=1.0)
    assert due.pop(wall_s=1.0) == []
    assert due.pop(wall_s=1.1) == [(0, 1_500, "u1")]


def test_after_a_restart_without_events_stream_time_goes_on_from_the_states() -> None:
    due = DueList()
    due.resume(0, 2_000, wall_s=0.0)
    due.add(0, 1_500, "u1")
    assert due.pop(wall_s=GRACE_S - 0.1) == []
    assert due.pop(wall_s=GRACE_S) == [(0, 1_500, "u1")]


def test_stream_time_stands_still_while_records_wait_but_counts_what_was_read() -> None:
    due = DueList()
    due.observe(0, 1_000, wall_s=0.0, more_wait=True)
    due.add(0, 900, "u1")
    due.add(0, 1_001, "u2")
    assert due.pop(wall_s=GRACE_S) == [(0, 900, "u1")]
    assert due.pop(wall_s=GRACE_S + 0.001) == [(0, 1_001, "u2")]


def test_stream_time_stands_still_after_a_rebalance() -> None:
    due = DueList()
    due.observe(0, 1_000, wall_s=0.0)
    due.add(0, 1_500, "u1")
    due.stand_still(wall_s=0.4)
    assert due.pop(wall_s=GRACE_S) == []
    due.observe(0, 1_200, wall_s=5.0)
    assert due.pop(wall_s=5.2) == []
    assert due.pop(wall_s=5.31) == [(0, 1_500, "u1")]
