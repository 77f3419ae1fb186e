"""The session agent: behaviour events in, session state and hint requests out.

A binding: every decision is made in `step`, `refresh`, `interest` and `window`. No exception leaves the
agent, since Faust acknowledges and loses an event whose agent raised.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import Any, Final

import orjson
import structlog
from faust import StreamT
from faust.types import EventT

from agents.session.due import DueList
from agents.session.joining import hand_over, take_over
from agents.session.state import SessionState, decode_state, encode_state
from agents.session.step import Outcome, Rules, Step, apply_due, apply_event
from streams.app import RAW, NearlineApp
from streams.dead_letters import headers_of, set_aside, source_of
from streams.erase_request import encode_erase
from streams.errors import CodecError, EventDecodeError
from streams.handover import Handover, decode_handover, encode_handover
from streams.hint_request import encode_request
from streams.metrics import Metrics
from streams.records import decode_event
from streams.replay_order import partition_of
from streams.settings import Settings
from streams.topics import SESSION_TABLE, Topics

log = structlog.get_logger("session")
DUE_EVERY_S: Final = 0.25
STATES_PER_TURN: Final = 500


@dataclass(slots=True)
class SessionAgent:
    """State and hands of the agent: the table, the topics it writes, what is due."""

    app: NearlineApp
    settings: Settings
    rules: Rules
    metrics: Metrics
    due: DueList = field(default_factory=DueList)
    in_hand: dict[bytes, asyncio.Event] = field(default_factory=dict)
    table: Any = None
    requests: Any = None
    due_topic: Any = None
    handovers: Any = None
    dead_letters: Any = None

    def attach(self) -> None:
        """Declare table, topics, agents and the timer on the app."""
        topics, partitions = Topics.of(self.settings), self.settings.partitions
        events = self.app.topic(topics.events, partitions=partitions, **RAW)
        self.requests = self.app.topic(topics.requests, partitions=partitions, **RAW)
        self.due_topic = self.app.topic(topics.due, partitions=partitions, **RAW)
        self.handovers = self.app.topic(topics.handovers, partitions=partitions, **RAW)
        self.dead_letters = self.app.topic(topics.dead_letters, partitions=partitions, **RAW)
        self.table = self.app.Table(SESSION_TABLE, partitions=partitions, key_type=bytes, value_type=bytes)
        self.app.agent(events, name="session")(self._events)
        self.app.agent(self.due_topic, name="session-due")(self._dues)
        self.app.agent(self.handovers, name="session-handovers")(self._handovers)
        self.app.timer(DUE_EVERY_S, name="session-due-timer")(self._send_due)
        self.app.on_ready = self._on_ready

    async def _events(self, stream: StreamT[bytes]) -> None:
        async for event in stream.events():
            try:
                await self._event(event)
            except Exception as error:
                await self._set_aside(event, error)

    async def _event(self, record: EventT[bytes]) -> None:
        source = source_of(record)
        headers = headers_of(record)
        event = decode_event(record.value, headers, source, source.appended_ms)
        key = event.person.encode()
        if record.key != key:
            raise _wrong_key()
        await self._free(key)
        state = self._state(key)
        if state is None and key in self.table:
            self.metrics.dead_letters.labels("bad_state").inc()  # the user starts anew
        step = apply_event(state, event, source, self.rules)
        end = self.app.consumer.highwater(record.message.tp) or 0
        more_wait = end > source.offset + 1
        self.due.observe(source.partition, event.timestamp, time.monotonic(), more_wait=more_wait)
        await self._store(key, event.person, source.partition, step, headers.get("traceparent"))
        self.metrics.events.labels(step.outcome).inc()
        self._count_decision(step)

    async def _dues(self, stream: StreamT[bytes]) -> None:
        async for event in stream.events():
            try:
                user, due_ms = event.key.decode(), int(orjson.loads(event.value)["due_ms"])
                await self._free(event.key)
                step = apply_due(self._state(event.key), user, due_ms, self.rules)
                await self._store(event.key, user, event.message.partition, step)
                if step.outcome is Outcome.APPLIED:
                    self.metrics.settled.labels(step.requests[0].reason).inc()
            except Exception as error:
                await set_aside(self.dead_letters, event, error, self.metrics)

    async def _handovers(self, stream: StreamT[bytes]) -> None:
        async for event in stream.events():
            try:
                handover = decode_handover(event.value)
                await self._free(event.key)
                state = self._state(event.key)
                if handover.is_asked:
                    step = hand_over(state, handover, event.message.offset, self.rules)
                else:
                    step = take_over(state, handover, self.rules)
                await self._store(event.key, event.key.decode(), event.message.partition, step)
                self.metrics.handovers.labels(step.outcome).inc()
            except Exception as error:
                await set_aside(self.dead_letters, event, error, self.metrics)

    def _state(self, key: bytes) -> SessionState | None:
        data = self.table.get(key)
        if data is None:
            return None
        try:
            return decode_state(data)
        except CodecError as error:
            log.warning("state_unreadable", error=error.message)
            return None

    async def _store(
        self, key: bytes, user: str, partition: int, step: Step, traceparent: bytes | None = None
    ) -> None:
        """The state before the requests: one without its state would be decided, and sent, twice.

        But what takes something away for good goes first, and is confirmed: after a crash in between, the
        state that is still there says it again.
        """
        if step.handover is not None or step.erase is not None:
            await self._confirm(key, partition, step)
        if step.ended and self.table.pop(key, None) is not None:
            self.metrics.users.dec()
        if step.state is not None:
            data = encode_state(step.state)
            if key not in self.table:
                self.metrics.users.inc()
            self.table[key] = data
            self.metrics.state_bytes.observe(len(data))
            self._remember_due(partition, user, step.state)
        for request in step.requests:
            headers = {"traceparent": traceparent} if traceparent else None
            value = encode_request(request)
            await self.requests.send(key=key, value=value, partition=partition, headers=headers)

    def _remember_due(self, partition: int, user: str, state: SessionState) -> None:
        if state.due_ms:
            self.due.add(partition, state.due_ms, user, is_end=not state.owed.due_ms)

    async def _free(self, key: bytes) -> None:
        """Wait while another agent has the key's state in hand: it is about to store one made from it."""
        while key in self.in_hand:
            await self.in_hand[key].wait()

    async def _confirm(self, key: bytes, partition: int, step: Step) -> None:
        self.in_hand[key] = asyncio.Event()
        try:
            if step.handover is not None:
                await self._hand_on(step.handover)
            if step.erase is not None:
                await confirmed(self.requests, key, encode_erase(step.erase), partition)
        finally:
            self.in_hand.pop(key).set()

    async def _hand_on(self, handover: Handover) -> None:
        partition = partition_of(handover.key, self.settings.partitions)
        await confirmed(self.handovers, handover.key, encode_handover(handover), partition)

    def _count_decision(self, step: Step) -> None:
        if step.outcome is Outcome.REPLAYED:
            return
        own = 0
        if step.decision is not None:
            own = int(step.decision.refresh)
            self.metrics.decisions.labels(step.decision.reason, str(step.decision.refresh).lower()).inc()
        for request in step.requests[: len(step.requests) - own]:
            self.metrics.settled.labels(request.reason).inc()

    async def _set_aside(self, record: EventT[bytes], error: Exception) -> None:
        await set_aside(self.dead_letters, record, error, self.metrics)
        self.metrics.events.labels("dead_lettered").inc()

    async def _send_due(self) -> None:
        if not self.app.ready:  # partitions are moving: what is due is found again in the states
            return
        for partition, due_ms, user in self.due.pop(time.monotonic()):
            state = self._state(user.encode())
            if state is not None and state.due_ms == due_ms:  # else an event settled it
                value = orjson.dumps({"due_ms": due_ms})
                await self.due_topic.send(key=user.encode(), value=value, partition=partition)
        self.metrics.owed.set(len(self.due))

    def _on_ready(self) -> None:
        owned = {
            tp.partition
            for tp in self.app.consumer.assignment()
            if tp.topic == Topics.of(self.settings).events
        }
        self.due.keep(owned)
        self.due.stand_still(time.monotonic())
        self.app.add_future(self._find_owed(owned))

    async def _find_owed(self, owned: set[int]) -> None:
        """After a recovery: what is owed stands in the states; read them without blocking the loop."""
        wall_s = time.monotonic()
        keys = list(self.table.data.keys())
        self.metrics.users.set(len(keys))
        for number, key in enumerate(keys):
            if number % STATES_PER_TURN == 0:
                await asyncio.sleep(0)
            state = self._state(key)
            if state is None:
                continue
            # A state that was handed over whole has no offset of its own yet.
            sources = state.offsets.keys() or {partition_of(key, self.settings.partitions)}
            for partition in owned & sources:
                self.due.resume(partition, state.interest.at_ms, wall_s)
                self._remember_due(partition, key.decode(), state)


async def confirmed(topic: Any, key: bytes, value: bytes, partition: int) -> None:
    """Send, and wait until Kafka has it. Raises what Kafka says."""
    sent = await topic.send(key=key, value=value, partition=partition)
    await sent


def _wrong_key() -> EventDecodeError:
    return EventDecodeError(
        "The record's key is not the event's user_id (or client_id).",
        reason="wrong_key",
        action="Produce with that key, so that one person's events stay in one partition.",
    )
