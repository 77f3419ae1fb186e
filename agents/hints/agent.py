"""The hints agent: hint requests in, hint lists in Redis out.

A binding around `RequestQueue`, `Generation` and `Publishing`. A request is acknowledged only when its list,
or a newer one of the same user, stands in Redis; an erase request when the lists are gone and, of a deletion,
the erasure agent was told.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any, Final

from faust import StreamT
from faust.types import TP

from agents.hints.generation import Generation
from agents.hints.publishing import Publishing
from agents.hints.queue import Erasure, Job, RequestQueue
from streams.acks import InOrderAcks
from streams.app import RAW, NearlineApp
from streams.dead_letters import set_aside
from streams.erase_request import Cause, EraseRequest, decode_work, encode_erase
from streams.metrics import Metrics
from streams.settings import Settings
from streams.topics import Topics

QUEUE_LIMIT: Final = 20_000


@dataclass(slots=True)
class HintsAgent:
    """Queue, generation and publishing of one worker."""

    app: NearlineApp
    settings: Settings
    generation: Generation
    publishing: Publishing
    metrics: Metrics
    acks: InOrderAcks = field(default_factory=InOrderAcks)
    queue: RequestQueue = field(init=False)
    dead_letters: Any = None
    erasures: Any = None
    _arrived: asyncio.Event = field(default_factory=asyncio.Event)
    _emptied: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.queue = RequestQueue(self.acks)

    @property
    def store_error(self) -> str:
        """Why lists wait for Redis; empty: they do not."""
        return self.publishing.store_error

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
            while len(self.queue) >= QUEUE_LIMIT:  # Kafka keeps the rest
                self._emptied.clear()
                await self._emptied.wait()
            message = event.message
            ticket = self.acks.begin((message.topic, message.partition), message.offset, event.ack)
            try:
                work = decode_work(event.value)
                if isinstance(work, EraseRequest):
                    self.queue.erase(Erasure(work, ticket))
                else:
                    self.queue.put(Job(work, ticket, event))
                self._arrived.set()
            except Exception as error:
                await set_aside(self.dead_letters, event, error, self.metrics)
                self.acks.finish(ticket)

    async def _generate_forever(self) -> None:
        while not self.app.should_stop:
            if not len(self.queue):
                self._arrived.clear()
                await self._arrived.wait()
            await self._erase(self.queue.take_erasures(self.settings.batch_limit))
            jobs = self.queue.take(self.settings.batch_limit)
            self._emptied.set()
            self.metrics.superseded.inc(self.queue.superseded)
            self.queue.superseded = 0
            if jobs:
                await self._work(jobs)

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

    async def _work(self, jobs: list[Job]) -> None:
        """Lists for `jobs`. Should a batch fail, each request is tried alone; the bad one is set aside."""
        requests = [job.request for job in jobs]
        try:
            composed = await self.generation.lists(requests)
        except Exception as error:
            if len(jobs) > 1:
                for job in jobs:
                    await self._work([job])
                return
            await set_aside(self.dead_letters, jobs[0].record, error, self.metrics)
        else:
            await self.publishing.publish(requests, composed)
        for job in jobs:
            self.acks.finish(job.ticket)

    async def _revoked(self, _app: Any, *args: Any, **_: Any) -> None:
        revoked: set[TP] = args[0]
        partitions = {(tp.topic, tp.partition) for tp in revoked}
        self.acks.revoke(partitions)
        self.queue.drop(partitions)
