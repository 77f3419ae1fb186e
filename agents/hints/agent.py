"""The hints agent: hint requests in, hint lists in Redis out.

A binding around `RequestQueue`, `Batches` and `Publishing`. A request is acknowledged only when its list,
or a newer one of the same user, stands in Redis; an erase request when the lists are gone and, of a deletion,
the erasure agent was told.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import Any, Final

from faust import StreamT
from faust.types import TP

from agents.hints.batches import Batches, Worked
from agents.hints.budget import QueueLimits, TokenBucket
from agents.hints.publishing import Publishing
from agents.hints.queue import Erasure, Job, RequestQueue
from streams.acks import InOrderAcks
from streams.app import RAW, NearlineApp
from streams.dead_letters import set_aside
from streams.erase_request import Cause, EraseRequest, decode_work, encode_erase
from streams.metrics import Metrics
from streams.received import Received
from streams.settings import Settings
from streams.topics import Topics

GIVE_UP_S: Final = 1.0
TURN_S: Final = 0.5  # an open circuit, or a spent budget, is looked at again after so long at most


@dataclass(slots=True)
class HintsAgent:
    """Queue, generation and publishing of one worker. stopping: take no more, finish what is in hand."""

    app: NearlineApp
    settings: Settings
    batches: Batches
    publishing: Publishing
    metrics: Metrics
    acks: InOrderAcks = field(default_factory=InOrderAcks)
    queue: RequestQueue = field(init=False)
    dead_letters: Any = None
    erasures: Any = None
    stopping: bool = False
    budget: TokenBucket = field(init=False)
    limits: QueueLimits = field(init=False)
    _at_work: asyncio.Lock = field(default_factory=asyncio.Lock)
    _arrived: asyncio.Event = field(default_factory=asyncio.Event)
    _emptied: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.queue = RequestQueue(self.acks)
        self.budget = TokenBucket(self.settings.lists_per_second)
        self.limits = QueueLimits(self.settings.queue_requests, self.settings.queue_bytes)

    @property
    def store_error(self) -> str:
        """Why lists wait for Redis; empty: they do not."""
        return self.publishing.store_error

    @property
    def full(self) -> bool:
        """Whether no more is taken: Kafka keeps the rest."""
        return self.stopping or self.limits.is_full(self.acks)

    async def drain(self, within_s: float) -> bool:
        """Take no more; wait until what is in hand is done. False: it was not, and stays unacknowledged."""
        self.stopping = True
        if self.store_error:  # it would not be done in time, and is done again elsewhere
            within_s = min(within_s, GIVE_UP_S)
        try:
            async with asyncio.timeout(within_s), self._at_work:
                return True
        except TimeoutError:
            return False

    def attach(self) -> None:
        """Declare topic, agent and the generating task on the app."""
        topics, partitions = Topics.of(self.settings), self.settings.partitions
        requests = self.app.topic(topics.requests, partitions=partitions, **RAW)
        self.dead_letters = self.app.topic(topics.dead_letters, partitions=partitions, **RAW)
        self.erasures = self.app.topic(topics.erasures, partitions=partitions, **RAW)
        self.app.agent(requests, name="hints")(self._requests)
        self.app.task(self._generate_forever)
        revoked: Any = self.app.on_partitions_revoked
        revoked.connect(self._revoked)

    async def _requests(self, stream: StreamT[bytes]) -> None:
        events: Any = stream  # Faust's type for streams lacks noack()
        async for event in events.noack().events():
            while self.full:
                self._emptied.clear()
                await self._emptied.wait()
            message, size = event.message, len(event.value or b"")
            ticket = self.acks.begin((message.topic, message.partition), message.offset, event.ack, size)
            try:
                work = decode_work(event.value)
                if isinstance(work, EraseRequest):
                    self.queue.erase(Erasure(work, ticket))
                else:
                    self.queue.put(Job(work, ticket, event, time.monotonic()))
                self._arrived.set()
            except Exception as error:
                await set_aside(self.dead_letters, Received.of_event(event), error, self.metrics)
                self.acks.finish(ticket)

    async def _generate_forever(self) -> None:
        while not self.app.should_stop:
            if not len(self.queue) and not self.batches.breaker.is_open:
                self._arrived.clear()
                await self._arrived.wait()
            async with self._at_work:
                if self.stopping:
                    return
                await self._erase(self.queue.take_erasures(self.settings.batch_limit))
                wait_s = await self._work(time.monotonic())
            self._emptied.set()
            await asyncio.sleep(wait_s)

    async def _work(self, now_s: float) -> float:
        """One batch, or a trial of the model; returns the seconds until the next may be."""
        batches = self.batches
        if batches.breaker.is_open:
            if batches.breaker.allows(now_s):
                await self._answer(await batches.trial(now_s))
            return TURN_S if batches.breaker.is_open else 0.0
        jobs = self.queue.take(self.budget.grant(self._wanted(), now_s))
        self.metrics.superseded.inc(self.queue.superseded)
        self.queue.superseded = 0
        if jobs:
            await self._answer(await batches.work(jobs, now_s))
        return min(TURN_S, self.budget.wait_s()) if len(self.queue) else 0.0

    def _wanted(self) -> int:
        return min(self.settings.batch_limit, self.queue.waiting)

    async def _erase(self, erasures: list[Erasure]) -> None:
        if not erasures:
            return
        for done, erasure in zip(
            await self.publishing.erase([one.request for one in erasures]), erasures, strict=True
        ):
            if done.cause is Cause.USER_DELETE:
                await self.erasures.send(
                    key=done.user.encode(), value=encode_erase(done), partition=erasure.ticket.partition[1]
                )
            self.acks.finish(erasure.ticket)

    async def _answer(self, worked: Worked) -> None:
        """Publish what was made, set aside what cannot be made, and let the rest wait again."""
        for job in worked.back:
            self.queue.put(job)
        for job, error in worked.bad:
            await set_aside(self.dead_letters, Received.of_event(job.record), error, self.metrics)
        if worked.done:
            requests, composed = zip(*((job.request, made) for job, made in worked.done), strict=True)
            await self.publishing.publish(requests, composed)
        for job, _ in (*worked.done, *worked.bad):
            self.acks.finish(job.ticket)

    async def _revoked(self, _app: Any, *args: Any, **_: Any) -> None:
        revoked: set[TP] = args[0]
        partitions = {(tp.topic, tp.partition) for tp in revoked}
        self.acks.revoke(partitions)
        self.queue.drop(partitions)
        self.batches.drop(partitions)
        self._emptied.set()
