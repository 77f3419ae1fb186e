"""Lists into Redis, as often as it takes: nothing is acknowledged before they, or newer ones, stand there."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

import structlog

from agents.hints.compose import Composed
from agents.hints.generation import now_ms
from streams.backoff import Breaker
from streams.erase_request import EraseRequest
from streams.errors import StoreError
from streams.hint_request import HintRequest
from streams.hint_writer import HintWriter, PublishOutcome
from streams.metrics import Metrics

log = structlog.get_logger("hints")
_T = TypeVar("_T")


@dataclass(slots=True)
class Publishing:
    """The writer, and what it counts.

    While a write is tried again nothing else is generated: requests wait, and supersede each other.
    """

    writer: HintWriter
    metrics: Metrics
    breaker: Breaker = field(default_factory=Breaker)

    @property
    def store_error(self) -> str:
        """Why the last publish failed; empty: it did not."""
        return self.breaker.problem

    async def publish(self, requests: Sequence[HintRequest], composed: Sequence[Composed]) -> None:
        """Publish one list a request; returns when Redis has answered for each."""
        lists = [entry.hints for entry in composed]
        outcomes = await self._until_done(lambda: self.writer.publish(lists))
        at_ms = now_ms()
        for request, entry, outcome in zip(requests, composed, outcomes, strict=True):
            self.metrics.published.labels(outcome).inc()
            for reason, count in entry.dropped.items():
                self.metrics.filtered.labels(reason).inc(count)
            if outcome is PublishOutcome.PUBLISHED and request.appended_ms:
                self.metrics.freshness_s.observe(max(0, at_ms - request.appended_ms) / 1000)

    async def erase(self, requests: Sequence[EraseRequest]) -> list[EraseRequest]:
        """Erase the users' lists; returns when they are gone, with how many were found."""
        counts = await self._until_done(lambda: self.writer.erase(requests))
        for request in requests:
            self.metrics.erasures.labels(request.cause).inc()
        return [
            replace(request, found={**request.found, "lists": count})
            for request, count in zip(requests, counts, strict=True)
        ]

    async def _until_done(self, write: Callable[[], Awaitable[list[_T]]]) -> list[_T]:
        """Redis may be away: try again, ever more slowly."""
        while True:
            try:
                outcomes = await write()
            except StoreError as error:
                wait_s = self.breaker.failed(str(error), time.monotonic())
                self.metrics.store_retries.labels(type(error).__name__).inc()
                log.warning(
                    "publish_failed", error=error.message, action=error.action, retry_in_s=round(wait_s, 2)
                )
                await asyncio.sleep(wait_s)
                self.breaker.begin_trial()
            else:
                self.breaker.worked()
                return outcomes
