"""What the records of one batch change, until it is written: one state a user, however many events.

Pure: states come in by a function, and what is to be written goes out. Each event is applied by
`step.apply_event`, on the state that the one before it left, so that a batch ends where its events, taken
one at a time, would have ended.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from agents.session.rules import Outcome, Rules, Step
from agents.session.state import SessionState
from agents.session.step import apply_event
from streams.errors import EventDecodeError
from streams.hint_request import HintRequest
from streams.received import Received
from streams.records import BehaviorEvent, decode_event


@dataclass(slots=True)
class Changed:
    """A user's newest state, and the records that it was made from."""

    user: str
    state: SessionState
    is_new: bool
    records: list[Received] = field(default_factory=list)


@dataclass(slots=True)
class Tally:
    """What became of the events, as the metrics count it."""

    outcomes: Counter[str] = field(default_factory=Counter)
    decisions: Counter[tuple[str, bool]] = field(default_factory=Counter)
    settled: Counter[str] = field(default_factory=Counter)

    def add(self, step: Step) -> None:
        """One more step. Requests that are not the event's own were owed before it."""
        self.outcomes[step.outcome] += 1
        if step.outcome is Outcome.REPLAYED:
            return
        own = 0
        if step.decision is not None:
            own = int(step.decision.refresh)
            self.decisions[step.decision.reason, step.decision.refresh] += 1
        for request in step.requests[: len(step.requests) - own]:
            self.settled[request.reason] += 1


@dataclass(slots=True)
class Turn:
    """The unwritten part of one batch. stored: a key's state as it stands in the store, or None.

    newest_ms: of the events so far, by their own time. bad: records that cannot be used, or their state not
    be written.
    """

    stored: Callable[[bytes], SessionState | None]
    changed: dict[bytes, Changed] = field(default_factory=dict)
    requests: list[tuple[bytes, HintRequest, bytes | None]] = field(default_factory=list)
    tally: Tally = field(default_factory=Tally)
    bad: list[tuple[Received, Exception]] = field(default_factory=list)
    newest_ms: int = 0

    def apply(self, record: Received, key: bytes, event: BehaviorEvent, rules: Rules) -> Step:
        """Apply one event; what can be written later is kept here, the rest is the caller's (`is_plain`)."""
        known = self.changed.get(key)
        state = known.state if known is not None else self.stored(key)
        step = apply_event(state, event, record.source, rules)
        self.newest_ms = max(self.newest_ms, event.timestamp)
        self.tally.add(step)
        if is_plain(step):
            self._keep(record, key, event.person, step, is_new=state is None)
        return step

    def taken(self) -> tuple[dict[bytes, Changed], list[tuple[bytes, HintRequest, bytes | None]]]:
        """What is to be written now: states by key, then (key, request, traceparent)."""
        changed, requests = self.changed, self.requests
        self.changed, self.requests = {}, []
        return changed, requests

    def _keep(self, record: Received, key: bytes, user: str, step: Step, *, is_new: bool) -> None:
        if step.state is not None:
            known = self.changed.get(key)
            if known is None:
                known = self.changed[key] = Changed(user, step.state, is_new)
            known.state = step.state
            known.records.append(record)
        for request in step.requests:
            self.requests.append((key, request, record.headers.get("traceparent")))


def is_plain(step: Step) -> bool:
    """Whether the step takes nothing away for good: then its state may wait for the others of the batch."""
    return step.handover is None and step.erase is None and not step.ended


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
