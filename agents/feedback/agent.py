"""The feedback agent: what users did with their hints, joined to the lists they saw.

Reads the same events as the session agent, in a consumer group of its own.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import Any, Final

import structlog
from faust import StreamT

from agents.feedback.join import join_feedback
from streams.app import RAW, NearlineApp
from streams.backoff import Breaker
from streams.batch_stream import gathered
from streams.dead_letters import set_aside
from streams.errors import EventError, StoreError
from streams.hint_list import HintList
from streams.hint_store import AsyncHintReader
from streams.metrics import Metrics
from streams.received import Received
from streams.records import FEEDBACK, decode_event
from streams.settings import Settings
from streams.topics import Topics

log = structlog.get_logger("feedback")
FETCH_PAUSE_S: Final = 0.1  # nobody waits for an outcome


@dataclass(slots=True)
class FeedbackAgent:
    """The binding; the join itself is `join_feedback`."""

    app: NearlineApp
    settings: Settings
    reader: AsyncHintReader
    metrics: Metrics
    outcomes: Any = None
    dead_letters: Any = None
    breaker: Breaker = field(default_factory=Breaker)

    @property
    def store_error(self) -> str:
        """Why lists cannot be read; empty: they can."""
        return self.breaker.problem

    def attach(self) -> None:
        """Declare topics and agent on the app."""
        topics, partitions = Topics.of(self.settings), self.settings.partitions
        events = self.app.batched_topic(topics.events, partitions=partitions)
        self.outcomes = self.app.topic(topics.outcomes, partitions=partitions, **RAW)
        self.dead_letters = self.app.topic(topics.dead_letters, partitions=partitions, **RAW)
        self.app.fetch_pause_s = FETCH_PAUSE_S
        self.app.agent(events, name="feedback")(self._events)

    async def _events(self, stream: StreamT[bytes]) -> None:
        async for batches in gathered(self.app, stream):
            for batch, record in ((one, record) for one in batches for record in one.records):
                # Most events are no feedback, and parsing each twice would double the work. What is not
                # current is another's, who reads it again.
                if b"hint_" in (record.value or b"") and self.app.is_current(batch):
                    await self._record(Received.of_record(record))

    async def _record(self, record: Received) -> None:
        try:
            await self._join(record)
        except EventError:
            return  # the session agent sets it aside; one dead letter is enough
        except Exception as error:
            await set_aside(self.dead_letters, record, error, self.metrics)

    async def _join(self, record: Received) -> None:
        event = decode_event(record.value, record.headers, record.source, record.source.appended_ms)
        if event.action_name not in FEEDBACK:
            return
        for outcome in join_feedback(event, await self._lists(event.person)):
            await self.outcomes.send(key=outcome.key(), value=outcome.to_json())
            self.metrics.outcomes.labels(outcome.outcome, str(outcome.joined).lower()).inc()

    async def _lists(self, user: str) -> tuple[HintList, ...]:
        """The user's lists; waits while Redis is away, since a join without them would be wrong."""
        while True:
            try:
                lists = await self.reader.lists(user)
            except StoreError as error:
                wait_s = self.breaker.failed(str(error), time.monotonic())
                log.warning("lists_not_read", error=error.message, retry_in_s=round(wait_s, 2))
                await asyncio.sleep(wait_s)
                self.breaker.begin_trial()
            else:
                self.breaker.worked()
                return lists
