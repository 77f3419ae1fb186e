"""Which requests to work on next: of each user the newest, users in the order they came.

A request that a newer one overtakes needs no list of its own: the newer one's list replaces it. Erasures
come before all lists, and none is ever overtaken.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any

from streams.acks import InOrderAcks, Partition, Ticket
from streams.erase_request import EraseRequest
from streams.hint_request import HintRequest


@dataclass(frozen=True, slots=True)
class Job:
    """A request, the ticket to finish once its list stands in Redis, and the record it came in.

    since_s: since when the user waits (monotonic).
    """

    request: HintRequest
    ticket: Ticket
    record: Any
    since_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Erasure:
    """An erase request and the ticket to finish once the user's lists are gone."""

    request: EraseRequest
    ticket: Ticket


@dataclass(slots=True)
class RequestQueue:
    """Requests that wait for generation. `acks` is told of those that need none."""

    acks: InOrderAcks
    superseded: int = 0
    _jobs: dict[str, Job] = field(default_factory=dict)
    _erasures: list[Erasure] = field(default_factory=list)

    def put(self, job: Job) -> None:
        """Take a request in; the user keeps its place in the queue, with the newer request."""
        waiting = self._jobs.get(job.request.user)
        if waiting is None:
            self._jobs[job.request.user] = job
            return
        self.superseded += 1
        # After a crash the same version comes again: the first keeps its place, and its trace.
        is_newer = job.request.version > waiting.request.version
        newer, older = (job, waiting) if is_newer else (waiting, job)
        self._jobs[job.request.user] = replace(newer, since_s=min(job.since_s, waiting.since_s))
        self.acks.finish(older.ticket)

    def erase(self, erasure: Erasure) -> None:
        """Take an erasure in; what waits for the user from before it needs no list any more."""
        request = erasure.request
        waiting = self._jobs.get(request.user)
        if waiting is not None and waiting.request.version < request.version:
            del self._jobs[request.user]
            self.acks.finish(waiting.ticket)
            found = {**request.found, "waiting_requests": 1}
            erasure = replace(erasure, request=replace(request, found=found))
        self._erasures.append(erasure)

    @property
    def waiting(self) -> int:
        """How many users wait for a list."""
        return len(self._jobs)

    def age_s(self, now_s: float) -> float:
        """For how long the user waits who waits longest; 0 for nobody."""
        return max((now_s - job.since_s for job in self._jobs.values()), default=0.0)

    def take(self, limit: int) -> list[Job]:
        """Up to `limit` jobs, the longest waiting users first; they leave the queue."""
        users = list(islice(self._jobs, limit))
        return [self._jobs.pop(user) for user in users]

    def take_erasures(self, limit: int) -> list[Erasure]:
        """Up to `limit` erasures in the order they came; they leave the queue."""
        taken, self._erasures = self._erasures[:limit], self._erasures[limit:]
        return taken

    def drop(self, partitions: set[Partition]) -> None:
        """Partitions were revoked: their next owner reads these requests again."""
        self._jobs = {u: job for u, job in self._jobs.items() if job.ticket.partition not in partitions}
        self._erasures = [one for one in self._erasures if one.ticket.partition not in partitions]

    def __len__(self) -> int:
        return len(self._jobs) + len(self._erasures)
