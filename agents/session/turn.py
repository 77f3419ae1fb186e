"""What the records that are taken at once change, until it is written: one state a user, however many events.

Pure: states come in by a function, and what is to be written goes out. Each event is applied by
`step.apply_event`, on the state that the one before it left, so that a batch ends where its events, taken
one at a time, would have ended. Of a user's lists the newest alone is asked for: it would take the place of
the others as soon as they were made.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import orjson

from agents.session.rules import DecidedList, Outcome, Rules, Step
from agents.session.state import SessionState
from agents.session.step import apply_due, apply_event
from streams.errors import EventDecodeError
from streams.received import Received
from streams.records import BehaviorEvent, decode_event


@dataclass(slots=True)
class Changed:
    """A user's newest state, the newest list that was decided, and the records that they were made from."""

    user: str
    partition: int
    state: SessionState
    is_new: bool
    records: list[Received] = field(default_factory=list)
    decided: DecidedList | None = None
    traceparent: bytes | None = None


@dataclass(slots=True)
class Tally:
    """What became of the events, as the metrics count it."""

    outcomes: Counter[str] = field(default_factory=Counter)
    decisions: Counter[tuple[str, bool]] = field(default_factory=Counter)
    settled: Counter[str] = field(default_factory=Counter)
    superseded: int = 0

    def add(self, step: Step) -> None:
        """One more step. Requests that are not the event's own were owed before it."""
        self.outcomes[step.outcome] += 1
        if step.outcome is Outcome.REPLAYED:
            return
        own = 0
        if step.decision is not None:
            own = int(step.decision.refresh)
            self.decisions[step.decision.reason, step.decision.refresh] += 1
        for one in step.decided[: len(step.decided) - own]:
            self.settled[one.listed.reason] += 1


@dataclass(slots=True)
class Turn:
    """The unwritten part of what was taken at once. stored: the state of a partition's key, or None.

    newest_ms: of each partition's events so far, by their own time. bad: records that cannot be used, or
    their state not be written.
    """

    stored: Callable[[bytes, int], SessionState | None]
    changed: dict[bytes, Changed] = field(default_factory=dict)
    tally: Tally = field(default_factory=Tally)
    bad: list[tuple[Received, Exception]] = field(default_factory=list)
    newest_ms: dict[int, int] = field(default_factory=dict)

    def apply(self, record: Received, key: bytes, event: BehaviorEvent, rules: Rules) -> Step:
        """Apply one event; what can be written later is kept here, the rest is the caller's (`is_plain`)."""
        partition = record.source.partition
        state = self._state(key, partition)
        step = apply_event(state, event, record.source, rules)
        self.newest_ms[partition] = max(self.newest_ms.get(partition, 0), event.timestamp)
        self.tally.add(step)
        if is_plain(step):
            self._keep(record, key, event.person, step, is_new=state is None)
        return step

    def settle(self, record: Received, key: bytes, user: str, due_ms: int, rules: Rules) -> Step:
        """The same, for what falls due without an event."""
        step = apply_due(self._state(key, record.source.partition), user, due_ms, rules)
        for one in step.decided:
            self.tally.settled[one.listed.reason] += 1
        if is_plain(step):
            self._keep(record, key, user, step, is_new=False)
        return step

    def _state(self, key: bytes, partition: int) -> SessionState | None:
        known = self.changed.get(key)
        return known.state if known is not None else self.stored(key, partition)

    def taken(self) -> dict[bytes, Changed]:
        """What is to be written now, by key."""
        changed, self.changed = self.changed, {}
        return changed

    def each(
        self, changed: dict[bytes, Changed], write: Callable[[bytes, Changed], None]
    ) -> dict[bytes, Changed]:
        """Write each; returns those for which it succeeded. The others' records are bad."""
        done = {}
        for key, change in changed.items():
            try:
                write(key, change)
            except Exception as error:
                self.bad += [(record, error) for record in change.records]
            else:
                done[key] = change
        return done

    def _keep(self, record: Received, key: bytes, user: str, step: Step, *, is_new: bool) -> None:
        if step.state is None:  # nothing was decided either
            return
        known = self.changed.get(key)
        if known is None:
            known = self.changed[key] = Changed(user, record.source.partition, step.state, is_new)
        known.state = step.state
        known.records.append(record)
        if step.decided:
            self.tally.superseded += len(step.decided) - (known.decided is None)
            known.decided, known.traceparent = step.decided[-1], record.headers.get("traceparent")


def is_plain(step: Step) -> bool:
    """Whether the step takes nothing away for good: then its state may wait for the others of the batch."""
    return step.handover is None and step.erase is None and not step.ended


def decoded_due(record: Received) -> tuple[bytes, str, int]:
    """The person's key, the person, and when what they are owed fell due.

    Raises ValueError, KeyError, TypeError.
    """
    key = record.key or b""
    return key, key.decode(), int(orjson.loads(record.value or b"")["due_ms"])


def decoded(record: Received) -> tuple[bytes, BehaviorEvent]:
    """The person's key and the event. Raises EventError."""
    event = decode_event(record.value, record.headers, record.source, record.source.appended_ms)
    key = event.person.encode()
    if record.key != key:
        raise EventDecodeError(
            "The record's key is not the event's user_id (or client_id).",
            reason="wrong_key",
            action="Produce with that key, so that one person's events stay in one partition.",
        )
    return key, event
