from __future__ import annotations

from functools import partial

import numpy as np

from agents.hints.queue import Job, RequestQueue
from streams.acks import InOrderAcks
from streams.hint_request import HintRequest, Version


class Harness:
    """A queue fed with requests whose acknowledgements are recorded."""

    def __init__(self) -> None:
        self.acks, self.acknowledged = InOrderAcks(), list[int]()
        self.queue = RequestQueue(self.acks)

    def put(self, user: str, as_of_ms: int, offset: int, partition: int = 0, since_s: float = 0.0) -> None:
        zeros = np.zeros((0, 4), np.int8)
        request = HintRequest(user, Version(as_of_ms, offset), "drift", 0.5, "e", (), zeros, zeros)
        ticket = self.acks.begin(("t", partition), offset, partial(self.acknowledged.append, offset))
        self.queue.put(Job(request, ticket, None, since_s))


def test_the_newest_request_of_a_user_wins_and_the_older_is_acknowledged() -> None:
    h = Harness()
    h.put("u1", 100, 0)
    h.put("u1", 200, 1)
    [job] = h.queue.take(10)
    assert (job.request.version.as_of_ms, h.acknowledged, h.queue.superseded) == (200, [0], 1)


def test_an_older_request_that_comes_late_does_not_replace_a_newer() -> None:
    h = Harness()
    h.put("u1", 200, 0)
    h.put("u1", 100, 1)
    [job] = h.queue.take(10)
    assert job.request.version.as_of_ms == 200
    assert h.acknowledged == []
    h.acks.finish(job.ticket)
    assert h.acknowledged == [0, 1]


def test_of_a_request_that_is_asked_again_the_first_counts() -> None:
    h = Harness()
    h.put("u1", 100, 5)
    again = h.queue.take(1)[0]
    h.queue.put(again)
    h.queue.put(Job(again.request, h.acks.begin(("t", 0), 9, lambda: None), None, 0.0))
    [job] = h.queue.take(10)
    assert job.ticket.offset == 5


def test_users_are_served_in_the_order_they_came() -> None:
    h = Harness()
    for offset, user in enumerate(["a", "b", "a", "c"]):
        h.put(user, 100 + offset, offset)
    assert [job.request.user for job in h.queue.take(2)] == ["a", "b"]
    assert [job.request.user for job in h.queue.take(2)] == ["c"]
    assert len(h.queue) == 0


def test_requests_of_revoked_partitions_are_dropped() -> None:
    h = Harness()
    h.put("a", 100, 0, partition=0)
    h.put("b", 100, 1, partition=1)
    h.queue.drop({("t", 0)})
    assert [job.request.user for job in h.queue.take(9)] == ["b"]


def test_a_user_waits_since_the_first_of_its_requests() -> None:
    h = Harness()
    for since_s, as_of_ms in ((5.0, 100), (9.0, 200)):
        h.put("u1", as_of_ms, as_of_ms, since_s=since_s)
    h.put("u2", 100, 3, since_s=7.0)
    assert h.queue.age_s(10.0) == 5.0
    h.queue.take(1)
    assert h.queue.age_s(10.0) == 3.0
    h.queue.take(1)
    assert h.queue.age_s(10.0) == 0.0
