"""Which requests to work on next: of each user the newest, users in the order they came.

A request that a newer one overtakes needs no list of its own: the newer one's list replaces it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from streams.acks import InOrderAcks, Partition, Ticket
from streams.hint_request import HintRequest


@dataclass(frozen=True, slots=True)
class Job:
    """A request, the ticket to finish once its list stands in Redis, and the record it came in."""

    request: HintRequest
    ticket: Ticket
    record: Any


@dataclass(slots=True)
class RequestQueue:
    """Requests that wait for generation. `acks` is told of those that need none."""

    acks: InOrderAcks
    superseded: int = 0
    _jobs: dict[str, Job] = field(default_factory=dict)

    def put(self, job: Job) -> None:
        """Take a request in; the user keeps its place in the queue, with the newer request."""
        waiting = self._jobs.get(job.request.user)
        if waiting is None:
            self._jobs[job.request.user] = job
            return
        self.superseded += 1
        newer, older = (job, waiting) if job.request.version >= waiting.request.version else (waiting, job)
        self._jobs[job.request.user] = newer
        self.acks.finish(older.ticket)

    def take(self, limit: int) -> list[Job]:
        """Up to `limit` jobs, the longest waiting users first; they leave the queue."""
        users = list(islice(self._jobs, limit))
        return [self._jobs.pop(user) for user in users]

    def drop(self, partitions: set[Partition]) -> None:
        """Partitions were revoked: their next owner reads these requests again."""
        self._jobs = {u: job for u, job in self._jobs.items() if job.ticket.partition not in partitions}

    def __len__(self) -> int:
        return len(self._jobs)
