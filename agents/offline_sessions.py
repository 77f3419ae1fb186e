"""What the session agent holds and does, without Faust: for offline replay.

States are kept as the bytes that the table holds, requests as the bytes that the topic carries, so that
what these round is rounded here too.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import IO, Any, Final

import orjson

from agents.session.joining import apply_handover
from agents.session.state import SessionState, decode_state, encode_state
from agents.session.step import Outcome, Rules, Step, apply_due, apply_event
from streams.handover import Handover
from streams.hint_request import Version, encode_request
from streams.records import BehaviorEvent, Source
from streams.replay_order import ReplayRecord, partition_of

DEAD_LETTERED: Final = "dead_lettered"


@dataclass(slots=True)
class OfflineSessions:
    """States by key, each user's newest request, and counts as the live metrics have them.

    topic, partitions: of the events. trace: where a JSON line per event goes, or None.
    """

    rules: Rules
    topic: str
    partitions: int
    trace: IO[bytes] | None
    states: dict[bytes, bytes] = field(default_factory=dict)
    requests: dict[str, tuple[Version, bytes]] = field(default_factory=dict)
    asked: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    decisions: Counter[str] = field(default_factory=Counter)
    dead_letters: Counter[str] = field(default_factory=Counter)
    _offsets: Counter[int] = field(default_factory=Counter)
    _asks: int = 0

    def apply(self, record: ReplayRecord) -> None:
        """One record, as the agent takes it: the bad ones are counted as dead letters."""
        partition = partition_of(record.key, self.partitions)
        source = Source(self.topic, partition, self._offsets[partition])
        self._offsets[partition] += 1
        if record.event is None:
            self._set_aside(record)
            return
        step = apply_event(self._state(record.key), record.event, source, self.rules)
        self.outcomes[step.outcome] += 1
        self._store(record.key, step)
        if self.trace is not None:
            self._write(_row(record, record.event), step)

    def settle_owed(self) -> None:
        """At the end of the log: every cooldown still running ends, as the live timer would have it."""
        for key in sorted(self.states):
            state = decode_state(self.states[key])
            if not state.owed.due_ms:
                continue
            step = apply_due(state, key.decode(), state.owed.due_ms, self.rules)
            self._store(key, step)
            if self.trace is not None:
                self._write(
                    {"user": key.decode(), "at_ms": state.owed.due_ms, "action": "cooldown_over"}, step
                )

    def _state(self, key: bytes) -> SessionState | None:
        data = self.states.get(key)
        return None if data is None else decode_state(data)

    def _store(self, key: bytes, step: Step) -> None:
        if step.handover is not None:
            self._hand_on(step.handover)
        if step.erase is not None:
            waiting = self.requests.get(step.erase.user)
            if waiting is not None and waiting[0] < step.erase.version:
                del self.requests[step.erase.user]
        if step.ended:
            self.states.pop(key, None)
        if step.state is not None:
            self.states[key] = encode_state(step.state)
        if step.decision is not None and step.outcome is Outcome.APPLIED:
            self.decisions[step.decision.reason] += 1
        self.asked += len(step.decided)
        if step.decided:
            newest = step.decided[-1]
            waiting = self.requests.get(newest.user)
            if waiting is None or newest.listed.version >= waiting[0]:
                self.requests[newest.user] = (newest.listed.version, encode_request(newest.request()))

    def _hand_on(self, handover: Handover) -> None:
        """What the topic of hand-overs would carry, at once: here all partitions are at hand."""
        self._asks += handover.is_asked
        step = apply_handover(self._state(handover.key), handover, self._asks, self.rules)
        self._store(handover.key, step)

    def _set_aside(self, record: ReplayRecord) -> None:
        reason = record.error.reason if record.error is not None else "unknown"
        self.outcomes[DEAD_LETTERED] += 1
        self.dead_letters[reason] += 1
        if self.trace is not None:
            row = {"line": record.line, "at_ms": record.at_ms, "outcome": DEAD_LETTERED, "reason": reason}
            self.trace.write(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE))

    def _write(self, row: dict[str, Any], step: Step) -> None:
        row["outcome"] = step.outcome
        if step.decision is not None:
            row |= {"reason": step.decision.reason, "refresh": step.decision.refresh}
            row |= {"wanted": step.decision.wanted, "drift": round(step.drift, 4)}
        if step.decided:
            row["requests"] = [f"{one.listed.reason} {one.listed.version}" for one in step.decided]
        if self.trace is not None:
            self.trace.write(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE))


def _row(record: ReplayRecord, event: BehaviorEvent) -> dict[str, Any]:
    return {
        "line": record.line,
        "user": event.person,
        "event_id": event.event_id,
        "at_ms": event.timestamp,
        "action": event.action_name,
        "text": event.text,
    }
