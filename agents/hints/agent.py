"""The hints agent: hint requests in, hint lists in Redis out.

A binding around `RequestQueue`, `compose`, `filled` and `HintWriter`. A request is acknowledged only when
its list, or a newer one of the same user, stands in Redis.
"""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

import structlog
from faust import StreamT
from faust.types import TP

from agents.hints.bundle import Bundle
from agents.hints.compose import Composed, compose
from agents.hints.fill import filled, missing
from agents.hints.queue import Job, RequestQueue
from agents.hints.think_source import ThinkSource
from streams.acks import InOrderAcks
from streams.app import RAW, NearlineApp
from streams.dead_letters import set_aside
from streams.errors import StoreError
from streams.hint_list import HintList
from streams.hint_request import HintRequest, decode_request
from streams.hint_writer import HintWriter, PublishOutcome
from streams.metrics import Metrics
from streams.settings import Settings
from streams.topics import Topics

log = structlog.get_logger("hints")
QUEUE_LIMIT: Final = 20_000
RETRY_FIRST_S: Final = 0.1
RETRY_LONGEST_S: Final = 5.0


@dataclass(slots=True)
class HintsAgent:
    """Queue, generator and writer of one worker."""

    app: NearlineApp
    settings: Settings
    bundle: Bundle
    writer: HintWriter
    metrics: Metrics
    think: ThinkSource | None = None  # None: short lists stay short
    acks: InOrderAcks = field(default_factory=InOrderAcks)
    queue: RequestQueue = field(init=False)
    store_error: str = ""  # why the last publish failed; empty: it did not
    dead_letters: Any = None
    _reembedded: int = 0
    _filled: asyncio.Event = field(default_factory=asyncio.Event)
    _emptied: asyncio.Event = field(default_factory=asyncio.Event)
    _executor: ThreadPoolExecutor = field(default_factory=partial(ThreadPoolExecutor, 1, "generate"))

    def __post_init__(self) -> None:
        self.queue = RequestQueue(self.acks)

    def attach(self) -> None:
        """Declare topic, agent and the generating task on the app."""
        topics, partitions = Topics.of(self.settings), self.settings.partitions
        requests = self.app.topic(topics.requests, partitions=partitions, **RAW)
        self.dead_letters = self.app.topic(topics.dead_letters, partitions=partitions, **RAW)
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
                self.queue.put(Job(decode_request(event.value), ticket, event))
                self._filled.set()
            except Exception as error:
                await set_aside(self.dead_letters, event, error, self.metrics)
                self.acks.finish(ticket)

    async def _generate_forever(self) -> None:
        while not self.app.should_stop:
            if not len(self.queue):
                self._filled.clear()
                await self._filled.wait()
            jobs = self.queue.take(self.settings.batch_limit)
            self._emptied.set()
            self.metrics.superseded.inc(self.queue.superseded)
            self.queue.superseded = 0
            await self._work(jobs)

    async def _work(self, jobs: list[Job]) -> None:
        """Lists for `jobs`. Should a batch fail, each request is tried alone; the bad one is set aside."""
        try:
            composed = await self._compose([job.request for job in jobs])
        except Exception as error:
            if len(jobs) > 1:
                for job in jobs:
                    await self._work([job])
                return
            await set_aside(self.dead_letters, jobs[0].record, error, self.metrics)
        else:
            await self._publish(jobs, composed)
        for job in jobs:
            self.acks.finish(job.ticket)

    async def _compose(self, requests: list[HintRequest]) -> list[Composed]:
        started = time.perf_counter()
        work = partial(compose, requests, self.bundle, generated_at_ms=_now_ms())
        composed = await asyncio.get_running_loop().run_in_executor(self._executor, work)
        self.metrics.generation_s.observe(time.perf_counter() - started)
        self.metrics.batch_size.observe(len(requests))
        self.metrics.reembedded.inc(self.bundle.generator.reembedded - self._reembedded)
        self._reembedded = self.bundle.generator.reembedded
        return await self._filled_up(requests, composed)

    async def _filled_up(self, requests: list[HintRequest], composed: list[Composed]) -> list[Composed]:
        """Lists that the filters left short, filled up from Think; the others as they are."""
        short = [place for place, one in enumerate(composed) if missing(one, self.bundle)]
        if self.think is None or not short:
            return composed
        entries = await self.think.entries([requests[place] for place in short])
        whole = list(composed)
        for place, found in zip(short, entries, strict=True):
            whole[place] = filled(composed[place], found, self.bundle)
        return whole

    async def _publish(self, jobs: list[Job], composed: list[Composed]) -> None:
        outcomes = await self._publish_until_done([entry.hints for entry in composed])
        now_ms = _now_ms()
        for job, entry, outcome in zip(jobs, composed, outcomes, strict=True):
            self.metrics.published.labels(outcome).inc()
            for reason, count in entry.dropped.items():
                self.metrics.filtered.labels(reason).inc(count)
            if outcome is PublishOutcome.PUBLISHED and job.request.appended_ms:
                self.metrics.freshness_s.observe(max(0, now_ms - job.request.appended_ms) / 1000)

    async def _publish_until_done(self, lists: list[HintList]) -> list[PublishOutcome]:
        """Redis may be away: try again, ever more slowly. Nothing is acknowledged meanwhile."""
        wait_s = RETRY_FIRST_S
        while True:
            try:
                outcomes = await self.writer.publish(lists)
            except StoreError as error:
                self.store_error = str(error)
                self.metrics.store_retries.labels(type(error).__name__).inc()
                log.warning("publish_failed", error=error.message, action=error.action, retry_in_s=wait_s)
                await asyncio.sleep(wait_s)
                wait_s = min(wait_s * 2, RETRY_LONGEST_S)
            else:
                self.store_error = ""
                return outcomes

    async def _revoked(self, _app: Any, *args: Any, **_: Any) -> None:
        revoked: set[TP] = args[0]
        partitions = {(tp.topic, tp.partition) for tp in revoked}
        self.acks.revoke(partitions)
        self.queue.drop(partitions)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
