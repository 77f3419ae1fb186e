"""States and hint requests on their way to the local store and to Kafka, for the session agent.

A write is two things at once: the value in the table's store, and its record in the app's outbox. Both are
done without an await, so the changelog has the states of a key in the order in which they were made.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson
import structlog

from agents.session.due import DueList
from agents.session.rules import DecidedList, Step
from agents.session.state import Due, SessionState, decode_state, due_of, encode_state
from agents.session.turn import Changed, Tally
from streams.errors import CodecError
from streams.hint_request import encode_request
from streams.metrics import Metrics
from streams.outbox import NO_HEADERS, Outbox
from streams.topics import Topics

log = structlog.get_logger("session")


@dataclass(slots=True)
class SessionWriting:
    """table: of states. due: told of what a state owes."""

    table: Any
    outbox: Outbox
    topics: Topics
    due: DueList
    metrics: Metrics

    def state(self, key: bytes, partition: int) -> SessionState | None:
        """The stored state; None: there is none, or none that can be read."""
        data = self.table.read(key, partition)
        if data is None:
            return None
        try:
            return decode_state(data)
        except CodecError as error:
            log.warning("state_unreadable", error=error.message)
            return None

    def state_of_event(self, key: bytes, partition: int) -> SessionState | None:
        """The same, for a new event: a user whose state cannot be read starts anew, and is counted."""
        state = self.state(key, partition)
        if state is None and self.table.read(key, partition) is not None:
            self.metrics.dead_letters.labels("bad_state").inc()
        return state

    def due_of(self, key: bytes, partition: int | None = None) -> Due | None:
        """What is due for the stored state; None: there is none, or none that can be read."""
        data = self.table.read(key, partition)
        try:
            return due_of(data) if data is not None else None
        except CodecError:
            return None

    def store(self, key: bytes, user: str, partition: int, step: Step) -> None:
        """The state that one step leaves, or its end."""
        is_new = self.table.read(key, partition) is None
        if step.ended and not is_new:
            self.metrics.users.dec()
            self.table.erase(key, partition)
            self.outbox.put(self.topics.changelog, partition, key, None)
        if step.state is not None:
            self.keep(key, Changed(user, partition, step.state, is_new))

    def keep(self, key: bytes, change: Changed) -> None:
        """A user's new state."""
        data = encode_state(change.state)
        self.table.write(key, data, change.partition)
        self.outbox.put(self.topics.changelog, change.partition, key, data)
        self.metrics.users.inc(change.is_new)
        self.metrics.state_bytes.observe(len(data))
        self.remember_due(change.partition, change.user, change.state)

    def ask_for(self, key: bytes, change: Changed) -> None:
        """The request for the newest list that was decided, if one was."""
        if change.decided is not None:
            self.ask(change.partition, key, change.decided, change.traceparent)

    def ask(self, partition: int, key: bytes, decided: DecidedList, traceparent: bytes | None) -> None:
        """A decided list's request."""
        headers = [("traceparent", traceparent)] if traceparent else NO_HEADERS
        self.outbox.put(self.topics.requests, partition, key, encode_request(decided.request()), headers)

    def remind(self, partition: int, user: str, due_ms: int) -> None:
        """Tell the due agent that something of the user's falls due."""
        self.outbox.put(self.topics.due, partition, user.encode(), orjson.dumps({"due_ms": due_ms}))

    def count(self, tally: Tally) -> None:
        """What became of a batch's events."""
        for outcome, count in tally.outcomes.items():
            self.metrics.events.labels(outcome).inc(count)
        for (reason, refresh), count in tally.decisions.items():
            self.metrics.decisions.labels(reason, str(refresh).lower()).inc(count)
        for reason, count in tally.settled.items():
            self.metrics.settled.labels(reason).inc(count)
        self.metrics.superseded.inc(tally.superseded)

    def remember_due(self, partition: int, user: str, state: SessionState) -> None:
        """What the state owes, or when it ends."""
        if state.due_ms:
            self.due.add(partition, state.due_ms, user, is_end=not state.owed.due_ms)
