"""What comes from Kafka: events, session states, hint requests, erase requests, hand-overs, outcomes."""

from __future__ import annotations

import struct
from dataclasses import replace
from typing import Final

import numpy as np
import orjson

from agents.feedback.join import join_feedback
from agents.session.joining import hand_over, take_over
from agents.session.state import SessionState, decode_state, due_of, encode_state
from agents.session.step import Rules, apply_due, apply_event
from streams.erase_request import MAGIC as ERASE_MAGIC
from streams.erase_request import Cause, EraseRequest, decode_work, encode_erase
from streams.errors import CodecError, EventError
from streams.handover import MAGIC as HANDOVER_MAGIC
from streams.handover import Handover, decode_handover, encode_handover
from streams.hint_list import Hint, HintList
from streams.hint_outcome import HintOutcome
from streams.hint_request import MAGIC as HINT_MAGIC
from streams.hint_request import HintRequest, Version, decode_request, encode_request
from streams.records import BehaviorEvent, Source, decode_event
from streams.redis_keys import hints_key
from tests.fuzz.target import Target, must
from tests.hostile import IDS, QUERIES
from tests.support import LATER_MS, NOON_MS, DigestEncoder, event_json, event_of

RULES: Final = Rules(DigestEncoder(dim=8), "bundle-1")
PLACE: Final = Source("events", 1, 7)
SHOWN: Final = HintList(
    version=str(Version(NOON_MS, 1)), list_id="l1", user="u1", as_of=NOON_MS, generated_at=NOON_MS,
    reason="first", drift=1.0, trigger="milk", bundle="b",
    hints=(Hint(query="eggs", score=1, source="direct"),),
)  # fmt: skip


def _event(data: bytes) -> BehaviorEvent | None:
    try:
        return decode_event(data, {"ce_id": data[:20]}, PLACE, LATER_MS)
    except EventError as error:
        must(error.reason.replace("_", "").isalnum() and len(error.reason) < 40, "a reason is a short name")
        return None


def run_event(data: bytes) -> None:
    """Decode; what comes out can be a key, is JSON, and is joined to lists."""
    event = _event(data)
    if event is None:
        return
    must(event.person and event.event_id, "an event has a person and an id")
    must(event.person not in ("NaN", "inf", "-inf") or f'"{event.person}"'.encode() in data, "no number")
    hints_key(event.person)
    event.person.encode()
    orjson.dumps(event.model_dump())
    for outcome in join_feedback(event, [SHOWN]):
        outcome.key()
        must(HintOutcome.from_json(outcome.to_json()) == outcome, "an outcome is what was written")


def run_step(data: bytes) -> None:
    """Decode and apply to nothing, to somebody known, twice, and when due: states stay readable."""
    event = _event(data)
    if event is None:
        return
    for state in (None, KNOWN):
        step = apply_event(state, event, PLACE, RULES)
        if step.state is None:
            continue
        kept = decode_state(encode_state(step.state))
        must(encode_state(kept) == encode_state(step.state), "a state is what was written")
        apply_event(kept, event, PLACE, RULES)
        apply_event(kept, event, replace(PLACE, offset=8), RULES)
        apply_due(kept, event.person, kept.due_ms, RULES)
        for request in step.requests:
            _same_request(request)


def run_state(data: bytes) -> None:
    """Decode; what can be read can be written and goes on."""
    try:
        due = due_of(data)
    except CodecError:
        due = None
    try:
        state = decode_state(data)
    except CodecError:
        return
    must(due is not None and due.due_ms == state.due_ms, "what is due is read from any state")
    again = decode_state(encode_state(state))
    must(again.window == state.window and len(tuple(again.window)) == len(again.window), "the same window")
    step = apply_event(state, EVENT, PLACE, RULES)
    if step.state is not None:
        decode_state(encode_state(step.state))
    hand_over(state, HANDOVER, 9, RULES)
    take_over(state, replace(HANDOVER, state=data), RULES)


def run_work(data: bytes) -> None:
    """What stands on the hint requests' topic, as it is and with a frame that fits."""
    body = data[8:] if data[:4] == HINT_MAGIC else data[4:]
    end = body.rfind(b"}") + 1
    framed = struct.pack("<I", end) + body
    for value in (data, HINT_MAGIC + framed, ERASE_MAGIC + body):
        try:
            work = decode_work(value)
        except CodecError:
            continue
        must(isinstance(work.user, str) and work.user, "a request has a person")
        hints_key(work.user)
        if isinstance(work, HintRequest):
            _same_request(work)
        else:
            must(decode_work(encode_erase(work)) == work, "an erase request is what was written")


def _same_request(request: HintRequest) -> None:
    again = decode_request(encode_request(request))
    must(again.behaviours == request.behaviours and again.version == request.version, "the same request")
    must(np.array_equal(again.vectors, request.vectors), "the same vectors")
    must(all(isinstance(one, str) for one in (again.reason, again.encoder, again.application)), "texts")
    must(np.isfinite(again.drift) and again.triggers is not None, "a drift is a number")


def run_handover(data: bytes) -> None:
    """Decode; what comes out can be sent on, and is taken over or refused."""
    body = data[8:] if data[:4] == HANDOVER_MAGIC else data
    end = body.find(b"}") + 1
    for value in (data, HANDOVER_MAGIC + struct.pack("<I", end) + body):
        try:
            handover = decode_handover(value)
        except CodecError:
            continue
        must(handover.client and handover.user, "a hand-over has two ids")
        must(decode_handover(encode_handover(handover)) == handover, "a hand-over is what was written")
        for state in (None, KNOWN):
            try:
                step = (
                    hand_over(state, handover, 9, RULES)
                    if handover.is_asked
                    else take_over(state, handover, RULES)
                )
            except CodecError:
                continue
            if step.state is not None:
                decode_state(encode_state(step.state))


def run_outcome(data: bytes) -> None:
    """Decode; the same comes out again."""
    try:
        outcome = HintOutcome.from_json(data)
    except CodecError:
        return
    must(HintOutcome.from_json(outcome.to_json()) == outcome, "an outcome is what was written")
    outcome.key()


def _grown() -> SessionState:
    state: SessionState | None = None
    for number in range(40):
        event = event_of(text=f"thing {number}", at_ms=NOON_MS + number * 60_000, event_id=f"e{number}")
        state = apply_event(state, event, Source("events", 0, number), RULES).state or state
    assert state is not None
    return state


KNOWN: Final = _grown()
EVENT: Final = event_of(at_ms=NOON_MS + 3_600_000, event_id="later")
HANDOVER: Final = Handover("c1", "u1", NOON_MS, 3, encode_state(KNOWN))
REQUEST: Final = apply_event(None, EVENT, PLACE, RULES).requests[0]
EVENTS: Final = [
    orjson.dumps(event)
    for event in (
        event_json(),
        event_json("search", "oat milk", event_id="e1", session_id="s", application="web", locale="de-DE"),
        event_json(user_id=None, client_id="c1", consent=False, timestamp="2017-12-01T12:00:00.5+01:00"),
        event_json("identify", client_id="c1"),
        event_json("user_delete"),
        event_json("hint_click", event_attributes={"list_id": "l1", "position": {"ordinal": 1}}),
        event_json(
            "hint_impression",
            event_attributes={"list_id": "l1", "objects": [{"title": "eggs"}, {"price": 1.5}]},
        ),
        *(event_json(user=one, event_id=one) for one in IDS.values()),
        *(event_json("search", one) for one in QUERIES.values()),
    )
]
STATES: Final = [
    encode_state(state)
    for state in (
        KNOWN,
        *(
            step.state
            for step in (
                apply_event(None, EVENT, PLACE, RULES),
                apply_event(KNOWN, event_of(action="user_delete", at_ms=NOON_MS + 9_000_000), PLACE, RULES),
                hand_over(KNOWN, replace(HANDOVER, state=b""), 9, RULES),
            )
            if step.state is not None
        ),
    )
]
WORK: Final = [
    encode_request(REQUEST),
    encode_erase(EraseRequest("u1", Version(NOON_MS, 7), Cause.USER_DELETE, NOON_MS, {"state": 1})),
]
HANDOVERS: Final = [encode_handover(HANDOVER), encode_handover(replace(HANDOVER, state=b""))]
OUTCOMES: Final = [
    outcome.to_json() for raw in EVENTS[5:7] for outcome in join_feedback(_event(raw) or EVENT, [SHOWN])
]
TARGETS: Final = {
    one.name: one
    for one in (
        Target("event", run_event, EVENTS, in_ci=1200, share=0.30),
        Target("step", run_step, EVENTS, in_ci=300, share=0.06),
        Target("state", run_state, STATES, in_ci=600, share=0.12),
        Target("work", run_work, WORK, in_ci=500, share=0.12),
        Target("handover", run_handover, HANDOVERS, in_ci=300, share=0.05),
        Target("outcome", run_outcome, OUTCOMES, in_ci=200, share=0.05),
    )
}
