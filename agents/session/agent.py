"""The session agent: behaviour events in, session state and hint requests out.

A binding: every decision is made in `step`, `refresh`, `interest` and `window`, and a batch of events becomes
one new state a user in `turn`. No exception leaves the agent: what it had in hand would be read again for
ever.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, Final

from faust import StreamT

from agents.session.due import DueList
from agents.session.joining import apply_handover
from agents.session.step import Rules, Step
from agents.session.turn import Turn, decoded, decoded_due, is_plain
from agents.session.writing import SessionWriting
from streams.app import RAW, NearlineApp, confirmed
from streams.batch_stream import Batches, MovedError, check_ours, gathered
from streams.dead_letters import set_aside
from streams.erase_request import encode_erase
from streams.handover import decode_handover, encode_handover
from streams.metrics import Metrics
from streams.received import Received
from streams.replay_order import partition_of
from streams.settings import Settings
from streams.topics import SESSION_TABLE, Topics

DUE_EVERY_S: Final = 0.25
STATES_PER_TURN: Final = 500
Apply = Callable[[Received, Turn, Batches], Awaitable[None]]


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
    writing: SessionWriting = field(init=False)
    requests: Any = None
    handovers: Any = None
    dead_letters: Any = None

    def attach(self) -> None:
        """Declare table, topics, agents and the timer on the app."""
        topics, partitions = Topics.of(self.settings), self.settings.partitions
        events = self.app.batched_topic(topics.events, partitions=partitions)
        self.requests = self.app.topic(topics.requests, partitions=partitions, **RAW)
        due = self.app.batched_topic(topics.due, partitions=partitions)
        self.handovers = self.app.topic(topics.handovers, partitions=partitions, **RAW)
        self.dead_letters = self.app.topic(topics.dead_letters, partitions=partitions, **RAW)
        self.table = self.app.batched_table(SESSION_TABLE, partitions=partitions)
        self.writing = SessionWriting(self.table, self.app.outbox, topics, self.due, self.metrics)
        self.app.agent(events, name="session")(self._events)
        self.app.agent(due, name="session-due")(self._dues)
        self.app.agent(self.handovers, name="session-handovers")(self._handovers)
        self.app.timer(DUE_EVERY_S, name="session-due-timer")(self._send_due)
        self.app.on_ready = self._on_ready

    async def _events(self, stream: StreamT[bytes]) -> None:
        async for batches in gathered(self.app, stream):
            turn = Turn(self.writing.state_of_event)
            with suppress(MovedError):
                await self._work(turn, batches, self._event)
                self.metrics.events.labels("dead_lettered").inc(len(turn.bad))
                self._observe(turn, batches)

    async def _dues(self, stream: StreamT[bytes]) -> None:
        async for batches in gathered(self.app, stream):
            turn = Turn(self.writing.state)
            with suppress(MovedError):
                await self._work(turn, batches, self._due)
                self.writing.count(turn.tally)

    async def _work(self, turn: Turn, batches: Batches, apply: Apply) -> None:
        """Apply batches and write what they changed. What is awaited meanwhile finds nothing half done."""
        for row in chain.from_iterable(batch.records for batch in batches):
            record = Received.of_record(row)
            try:
                await apply(record, turn, batches)
            except MovedError:
                raise
            except Exception as error:
                turn.bad.append((record, error))
        await self._write(turn, batches)
        for record, problem in turn.bad:
            await set_aside(self.dead_letters, record, problem, self.metrics)

    async def _event(self, record: Received, turn: Turn, batches: Batches) -> None:
        key, event = decoded(record)
        if key in self.in_hand:
            await self._free(key, turn, batches)
        step = turn.apply(record, key, event, self.rules)
        if not is_plain(step):
            await self._write(turn, batches)
            traceparent = record.headers.get("traceparent")
            await self._store(key, event.person, record.source.partition, step, traceparent, batches)

    async def _due(self, record: Received, turn: Turn, batches: Batches) -> None:
        key, user, due_ms = decoded_due(record)
        if key in self.in_hand:
            await self._free(key, turn, batches)
        step = turn.settle(record, key, user, due_ms, self.rules)
        if not is_plain(step):
            await self._write(turn, batches)
            await self._store(key, user, record.source.partition, step, batches=batches)

    async def _write(self, turn: Turn, batches: Batches) -> None:
        """Requests, and once Kafka has them the states: a state never stands without what it decided.

        After a crash in between, the events come again and decide the same lists with the same versions.
        Raises MovedError: no state was written.
        """
        check_ours(self.app, batches)
        changed = turn.taken()
        with self._holding(changed):
            asked = turn.each(changed, self.writing.ask_for)
            if not await self.app.outbox.deliver():
                raise MovedError
            check_ours(self.app, batches)
            turn.each(asked, self.writing.keep)
        await self.app.outbox.send()

    def _observe(self, turn: Turn, batches: Batches) -> None:
        for batch in batches:
            more_wait = (self.app.consumer.highwater(batch.tp) or 0) > batch.offset + 1
            if newest_ms := turn.newest_ms.get(batch.partition):
                self.due.observe(batch.partition, newest_ms, time.monotonic(), more_wait=more_wait)
        self.writing.count(turn.tally)

    async def _handovers(self, stream: StreamT[bytes]) -> None:
        async for event in stream.events():
            try:
                handover = decode_handover(event.value)
                await self._wait_for(event.key)
                partition = event.message.partition
                state = self.writing.state(event.key, partition)
                step = apply_handover(state, handover, event.message.offset, self.rules)
                await self._store(event.key, event.key.decode(), partition, step)
                self.metrics.handovers.labels(step.outcome).inc()
            except Exception as error:
                await set_aside(self.dead_letters, Received.of_event(event), error, self.metrics)

    async def _store(
        self,
        key: bytes,
        user: str,
        partition: int,
        step: Step,
        traceparent: bytes | None = None,
        batches: Batches = (),
    ) -> None:
        """What takes something away for good, and requests, go first and are confirmed; then the state.

        After a crash in between, the state that is still there says it again. Raises MovedError for a step of
        batches of which one's partition moved meanwhile.
        """
        if step.handover is not None or step.erase is not None:
            await self._confirm(key, partition, step)
        with self._holding([key]):
            for decided in step.decided:
                self.writing.ask(partition, key, decided, traceparent)
            if not await self.app.outbox.deliver():
                return  # nothing is committed after it, and the worker ends
            check_ours(self.app, batches)
            self.writing.store(key, user, partition, step)
        await self.app.outbox.send()

    @contextmanager
    def _holding(self, keys: Iterable[bytes]) -> Iterator[None]:
        """Other agents wait for these keys' states, which are about to be stored."""
        held, mine = asyncio.Event(), list(keys)
        self.in_hand.update(dict.fromkeys(mine, held))
        try:
            yield
        finally:
            for key in mine:
                self.in_hand.pop(key, None)
            held.set()

    async def _free(self, key: bytes, turn: Turn, batches: Batches) -> None:
        """Wait for a key that another agent has in hand; what we have in ours is written before."""
        await self._write(turn, batches)
        await self._wait_for(key)

    async def _wait_for(self, key: bytes) -> None:
        """Wait while another agent has the key's state in hand: it is about to store one made from it."""
        while key in self.in_hand:
            await self.in_hand[key].wait()

    async def _confirm(self, key: bytes, partition: int, step: Step) -> None:
        with self._holding([key]):
            if (given := step.handover) is not None:
                place = partition_of(given.key, self.settings.partitions)
                await confirmed(self.handovers, given.key, encode_handover(given), place)
            if step.erase is not None:
                await confirmed(self.requests, key, encode_erase(step.erase), partition)

    async def _send_due(self) -> None:
        if not self.app.ready:  # partitions are moving: what is due is found again in the states
            return
        for partition, due_ms, user in self.due.pop(time.monotonic()):
            due = self.writing.due_of(user.encode(), partition)
            if due is not None and due.due_ms == due_ms:  # else an event settled it
                self.writing.remind(partition, user, due_ms)
        await self.app.outbox.send()
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
            due = self.writing.due_of(key)
            if due is None:
                continue
            # A state that was handed over whole has no offset of its own yet.
            for partition in owned & set(due.partitions or [partition_of(key, self.settings.partitions)]):
                self.due.resume(partition, due.newest_ms, wall_s)
                if due.due_ms:
                    self.due.add(partition, due.due_ms, key.decode(), is_end=due.is_end)
