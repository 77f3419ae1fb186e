from __future__ import annotations

from functools import partial

from hypothesis import given
from hypothesis import strategies as st

from streams.acks import InOrderAcks, Ticket

PARTITION = ("hint-requests", 0)


@given(st.permutations(range(12)), st.integers(0, 12))
def test_what_is_acknowledged_is_always_the_longest_finished_beginning(order: list[int], done: int) -> None:
    acks, acknowledged = InOrderAcks(), list[int]()
    tickets = [acks.begin(PARTITION, offset, partial(acknowledged.append, offset)) for offset in range(12)]
    finished = set()
    for offset in order[:done]:
        acks.finish(tickets[offset])
        finished.add(offset)
        beginning = next((n for n in range(12) if n not in finished), 12)
        assert acknowledged == list(range(beginning))


def test_partitions_do_not_wait_for_each_other() -> None:
    acks, acknowledged = InOrderAcks(), list[str]()
    acks.begin(("t", 0), 1, partial(acknowledged.append, "a"))
    other = acks.begin(("t", 1), 1, partial(acknowledged.append, "b"))
    acks.finish(other)
    assert acknowledged == ["b"]


def test_work_on_a_revoked_partition_is_never_acknowledged() -> None:
    acks, acknowledged = InOrderAcks(), list[int]()
    old: Ticket = acks.begin(PARTITION, 1, partial(acknowledged.append, 1))
    acks.revoke([PARTITION])
    acks.finish(old)
    new = acks.begin(PARTITION, 1, partial(acknowledged.append, 2))
    assert (acknowledged, len(acks)) == ([], 1)
    acks.finish(new)
    assert (acknowledged, len(acks)) == ([2], 0)
