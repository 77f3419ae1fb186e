from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from agents.session.refresh import Reason, RefreshPolicy
from agents.session.state import SessionState, decode_state, encode_state
from agents.session.step import Outcome, Rules, Step, apply_due, apply_event
from agents.session.window import WINDOW_LIMIT
from streams.erase_request import Cause
from streams.hint_request import HintRequest, decode_request, encode_request
from streams.records import BehaviorEvent, Source
from tests.support import NOON_MS, DigestEncoder, event_of

RULES = Rules(DigestEncoder(), "bundle-1")
COOLDOWN_MS = RULES.refresh.cooldown_ms


def run(
    events: Iterable[BehaviorEvent],
    state: SessionState | None = None,
    first_offset: int = 0,
    rules: Rules = RULES,
) -> tuple[SessionState | None, list[Step]]:
    steps = []
    for number, event in enumerate(events):
        step = apply_event(state, event, Source("t", 0, first_offset + number), rules)
        state = step.state or state
        steps.append(step)
    return state, steps


def requests(steps: list[Step]) -> list[HintRequest]:
    return [request for step in steps for request in step.requests]


def after(seconds: float, **fields: Any) -> BehaviorEvent:
    return event_of(at_ms=NOON_MS + int(seconds * 1000), **fields)


def test_the_first_event_asks_for_the_first_list() -> None:
    _, [step] = run([event_of(action="view", text="milk")])
    assert (step.outcome, step.decision and step.decision.reason) == (Outcome.APPLIED, Reason.FIRST)
    [request] = step.requests
    assert (request.user, request.trigger, request.reason) == ("u1", "milk", "first")
    assert request.vectors.shape == (1, 64)


def test_a_duplicate_event_id_changes_nothing() -> None:
    state, _ = run([event_of(event_id="e1")])
    _, [step] = run([event_of(event_id="e1", text="other")], state, first_offset=1)
    assert step == Step(Outcome.DUPLICATE)


def test_a_whole_log_sent_again_under_new_offsets_changes_nothing() -> None:
    events = [after(s, action="search", text=f"q{s}") for s in range(0, 5000, 50)]
    state, _ = run(events)
    again, steps = run(events, state, first_offset=len(events))
    assert {step.outcome for step in steps} == {Outcome.DUPLICATE, Outcome.TOO_LATE}
    assert state and again and encode_state(again) == encode_state(state)


def test_an_event_older_than_a_full_window_is_too_late() -> None:
    state, _ = run([after(100 + s, text=f"p{s}") for s in range(WINDOW_LIMIT)])
    _, [late] = run([after(50, text="late")], state, first_offset=99)
    _, [in_time] = run([after(100.5, text="late")], state, first_offset=99)
    assert (late, in_time.outcome) == (Step(Outcome.TOO_LATE), Outcome.APPLIED)


def test_the_last_applied_event_read_again_stores_the_same_state_and_asks_for_nothing() -> None:
    events = [after(0), after(60, text="bread"), after(61, action="view", text="bread")]
    state, steps = run(events)
    _, again = run(events, state)
    assert [step.outcome for step in again] == [Outcome.REPLAYED] * 3
    assert [step.state is None for step in again] == [True, True, False]  # the changelog may lack the last
    assert again[2].state == state
    assert requests(steps)
    assert not requests(again)  # Kafka had it before the state was written


def test_a_purchase_within_the_cooldown_is_owed_and_asked_for_when_it_ends() -> None:
    state, steps = run([after(0), after(5, text="bread")])
    assert steps[1].decision and steps[1].decision.reason is Reason.COOLDOWN
    assert state and state.owed.due_ms == NOON_MS + COOLDOWN_MS
    step = apply_due(state, "u1", state.owed.due_ms, RULES)
    [request] = step.requests
    assert (request.version.as_of_ms, request.reason) == (NOON_MS + COOLDOWN_MS, "purchase")
    assert [b.text for b in request.behaviours] == ["bread", "milk"]
    assert step.state and step.state.owed.due_ms == 0


def test_a_timer_on_time_and_an_event_that_comes_after_ask_for_the_same_list() -> None:
    state, _ = run([after(0), after(5, text="bread")])
    assert state is not None
    by_timer = apply_due(state, "u1", state.owed.due_ms, RULES).requests[0]
    by_event = run([after(300, action="view", text="bread")], state, first_offset=2)[1][0].requests[0]
    assert by_event.version == by_timer.version
    assert by_event.behaviours == by_timer.behaviours
    np.testing.assert_array_equal(by_event.interests, by_timer.interests)


def test_a_list_made_by_a_timer_knows_application_and_locale() -> None:
    state, _ = run([after(0, application="shop", locale="de-DE"), after(5, text="bread")])
    assert state is not None
    [request] = apply_due(state, "u1", state.owed.due_ms, RULES).requests
    assert (request.application, request.locale) == ("shop", "de-DE")


def test_a_timer_for_what_is_no_longer_owed_stores_nothing() -> None:
    state, _ = run([after(0)])
    step = apply_due(state, "u1", NOON_MS + 1, RULES)
    assert (step.outcome, step.state, step.requests) == (Outcome.REPLAYED, None, ())


def test_a_timer_read_again_stores_the_same_state_and_asks_for_nothing() -> None:
    state, _ = run([after(0), after(5, text="bread")])
    assert state is not None
    settled = apply_due(state, "u1", state.owed.due_ms, RULES)
    again = apply_due(settled.state, "u1", state.owed.due_ms, RULES)
    assert again.state == settled.state  # the changelog may lack it
    assert settled.requests
    assert not again.requests  # Kafka had it before the state was written


def test_a_timer_for_an_unknown_user_is_ignored() -> None:
    assert apply_due(None, "nobody", NOON_MS, RULES) == Step(Outcome.REPLAYED)


@pytest.mark.parametrize(
    ("fields", "outcome"),
    [
        ({"action": "hint_impression"}, Outcome.NOT_A_BEHAVIOUR),
        ({"action": "teleport"}, Outcome.UNKNOWN_ACTION),
        ({"action": "view", "text": ""}, Outcome.NO_TEXT),
    ],
)
def test_what_is_no_behaviour_is_named_and_kept_out(fields: dict[str, Any], outcome: Outcome) -> None:
    _, [step] = run([event_of(**fields)])
    assert step == Step(outcome)


def test_withdrawn_consent_stops_use_at_once_until_it_is_given_again() -> None:
    state, steps = run([after(0), after(60, text="wine", consent=False), after(120, text="beer")])
    assert [step.outcome for step in steps] == [Outcome.APPLIED, Outcome.WITHDRAWN, Outcome.WITHDRAWN]
    assert state and not state.window  # what was known is forgotten
    assert steps[1].erase and steps[1].erase.cause is Cause.CONSENT
    _, steps = run([after(180, text="soap", consent=True)], state, first_offset=3)
    assert steps[0].outcome is Outcome.APPLIED
    assert steps[0].requests


@pytest.mark.parametrize("action", ["hint_click", "identify"])
def test_consent_is_withdrawn_by_any_event(action: str) -> None:
    withdrawal = after(60, action=action, consent=False, client_id="c1")
    state, steps = run([after(0), withdrawal, after(120, text="beer")])
    assert [step.outcome for step in steps] == [Outcome.APPLIED, Outcome.WITHDRAWN, Outcome.WITHDRAWN]
    assert state and not state.consent


def test_consent_that_changes_nothing_leaves_an_event_what_it_is() -> None:
    _, steps = run(
        [after(0, action="hint_click", consent=True), after(1), after(2, action="x", consent=True)]
    )
    assert [step.outcome for step in steps] == [
        Outcome.NOT_A_BEHAVIOUR,
        Outcome.APPLIED,
        Outcome.UNKNOWN_ACTION,
    ]


def test_consent_given_again_by_a_hint_event_asks_for_no_list() -> None:
    state, _ = run([after(0, consent=False)])
    _, [step] = run([after(60, action="hint_click", consent=True)], state, first_offset=1)
    assert (step.outcome, step.requests) == (Outcome.APPLIED, ())
    assert step.state and step.state.consent


def test_a_late_event_lands_where_it_belongs() -> None:
    in_order, _ = run([after(0), after(10, text="bread"), after(20, text="soda")])
    late, _ = run([after(0), after(20, text="soda"), after(10, text="bread")])
    assert in_order and late
    assert in_order.window == late.window
    np.testing.assert_allclose(in_order.interest.sums(), late.interest.sums(), atol=5e-4)


def test_versions_grow_even_when_events_come_late() -> None:
    events = [after(s, action="search", text=f"q{s}") for s in (100, 40, 300, 20, 900)]
    _, steps = run(events)
    versions = [request.version for request in requests(steps)]
    assert versions == sorted(set(versions))


def test_a_new_bundle_renews_and_a_new_encoder_rebuilds_the_interest() -> None:
    state, _ = run([after(0), after(60, text="bread")])
    other = Rules(DigestEncoder(name="other"), "bundle-2")
    state, [step] = run([after(120, action="view", text="bread")], state, first_offset=2, rules=other)
    assert step.decision and step.decision.reason is Reason.MODEL
    fresh, _ = run([after(0), after(60, text="bread"), after(120, action="view", text="bread")], rules=other)
    assert state and fresh
    np.testing.assert_allclose(state.interest.sums(), fresh.interest.sums(), atol=5e-4)


@pytest.mark.parametrize("name", ["wide", RULES.encoder.name])
def test_an_encoder_of_another_width_is_taken_over(name: str) -> None:
    state, _ = run([after(0)])
    wide = Rules(DigestEncoder(dim=96, name=name), "bundle-2")
    state, [step] = run([after(120, text="bread")], state, first_offset=1, rules=wide)
    assert state and state.interest.steps.shape == (2, 96)
    assert step.requests[0].vectors.shape == (2, 96)


def test_a_robot_gets_no_lists_for_its_flood() -> None:
    rules = replace(RULES, refresh=RefreshPolicy(cooldown_ms=0, bot_events_per_minute=10))
    _, steps = run([after(i / 10, action="search", text=f"q{i}") for i in range(30)], rules=rules)
    assert sum(bool(step.requests) for step in steps) == 10
    assert steps[-1].decision and steps[-1].decision.reason is Reason.BOT


def test_the_stored_bytes_continue_a_session_exactly() -> None:
    events = [after(s, action="search", text=f"q{s}") for s in range(0, 4000, 97)]
    kept, live = run(events)
    state, steps = None, []
    for number, event in enumerate(events):
        step = apply_event(state, event, Source("t", 0, number), RULES)
        state = decode_state(encode_state(step.state)) if step.state else state
        steps.append(step)
    assert kept and state and encode_state(kept) == encode_state(state)
    assert [encode_request(r) for r in requests(steps)] == [encode_request(r) for r in requests(live)]


def test_drift_is_that_from_the_list_before() -> None:
    events = [after(0), after(60, text="bread"), after(61, action="view", text="soap")]
    state, steps = run(events)
    assert state and state.listed
    assert [step.decision and step.decision.reason for step in steps] == ["first", "purchase", "steady"]
    assert steps[0].drift == 1.0
    assert steps[1].drift == state.listed.drift  # from the first list to the second
    assert 0 < steps[2].drift == state.moved() < 1  # from the second list to now
    assert Step(Outcome.DUPLICATE).drift == 0.0


def test_a_request_survives_its_bytes() -> None:
    _, [step] = run([event_of(application="app", locale="en-GB")])
    data = encode_request(step.requests[0])
    assert encode_request(decode_request(data)) == data
