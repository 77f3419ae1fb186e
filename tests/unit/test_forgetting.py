"""Deletion and consent, as decisions: what is forgotten stays forgotten, whatever comes late or twice."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.session.rules import ERASED_KEPT_MS, Outcome, Rules, Step
from agents.session.state import SessionState, decode_state, encode_state
from agents.session.step import apply_due, apply_event
from streams.erase_request import Cause, decode_erase, decode_work, encode_erase
from streams.records import BehaviorEvent, Source
from tests.support import NOON_MS, DigestEncoder, event_of

RULES = Rules(DigestEncoder(), "bundle-1")


def after(seconds: float, **fields: Any) -> BehaviorEvent:
    return event_of(at_ms=NOON_MS + int(seconds * 1000), **fields)


def run(events: Iterable[BehaviorEvent], state: SessionState | None = None, first: int = 0) -> Any:
    """Final state, as its bytes would continue, and the steps."""
    steps: list[Step] = []
    for number, event in enumerate(events, start=first):
        step = apply_event(state, event, Source("t", 0, number), RULES)
        state = decode_state(encode_state(step.state)) if step.state else state
        steps.append(step)
    return state, steps


SHOPPED = [after(s, text=f"p{s}") for s in (0, 60, 120)]
DELETION = after(200, action="user_delete", event_id="d")


def test_a_deletion_leaves_no_text_no_vector_and_no_time_of_any_behaviour() -> None:
    before, _ = run(SHOPPED)
    state, [*_, step] = run([DELETION], before, first=3)
    assert (len(state.window), len(state.habit), state.window.ids()) == (0, 0, ())
    assert state.interest.steps.size == 0
    assert len(encode_state(state)) < 140
    assert all(f"p{s}".encode() not in encode_state(state) for s in (0, 60, 120))
    assert step.erase and step.erase.cause is Cause.USER_DELETE
    assert step.erase.found["behaviours"] == 3


def test_the_erasure_is_newer_than_every_list_that_was_asked_for() -> None:
    state, steps = run(SHOPPED)
    newest = max(request.version for step in steps for request in step.requests)
    early = after(-50, action="user_delete", event_id="d")  # a clock that is behind
    _, [step] = run([early], state, first=3)
    assert step.erase and step.erase.version > newest


@pytest.mark.parametrize("seconds", [-500, 150, 199, 200, 201, 5000, ERASED_KEPT_MS / 1000])
def test_no_event_of_a_deleted_person_brings_anything_back_while_the_mark_stands(seconds: float) -> None:
    state, _ = run([*SHOPPED, DELETION])
    late, [step] = run([after(seconds, text="late")], state, first=9)
    assert (step.outcome, step.state, step.requests) == (Outcome.DELETED, None, ())
    assert late == state


def test_who_comes_back_and_consents_starts_anew_and_old_events_stay_forgotten() -> None:
    state, _ = run([*SHOPPED, DELETION])
    state, [back] = run([after(300, text="soap", consent=True)], state, first=9)
    assert back.outcome is Outcome.APPLIED
    assert [b.text for b in state.window] == ["soap"]
    assert back.requests[0].version > run([*SHOPPED, DELETION])[1][-1].erase.version
    _, steps = run([*SHOPPED, after(250, text="between")], state, first=10)
    assert {step.outcome for step in steps} == {Outcome.FORGOTTEN}


def test_a_deletion_read_again_after_a_crash_erases_again_and_changes_nothing() -> None:
    state, steps = run([*SHOPPED, DELETION])
    _, [again] = run([DELETION], state, first=3)
    assert (again.outcome, again.state) == (Outcome.REPLAYED, state)
    assert again.erase and again.erase.version == steps[-1].erase.version
    assert again.erase.cause is Cause.USER_DELETE


def test_a_person_never_seen_can_be_deleted() -> None:
    state, [step] = run([DELETION])
    assert step.erase and step.erase.found == {}
    assert state.bounds.is_deleted


def test_the_mark_is_dropped_when_its_time_has_come_and_not_before() -> None:
    state, _ = run([*SHOPPED, DELETION])
    assert state.due_ms == NOON_MS + 200_000 + ERASED_KEPT_MS
    assert not apply_due(state, "u1", state.due_ms - 1, RULES).ended
    assert apply_due(state, "u1", state.due_ms, RULES).ended


def test_an_owed_list_is_not_made_after_consent_was_withdrawn() -> None:
    state, _ = run([after(0), after(5, text="wine")])
    due_ms = state.owed.due_ms
    assert due_ms
    state, [step] = run([after(100, action="view", text="x", consent=False)], state, first=2)
    assert (step.outcome, step.requests, state.owed.due_ms) == (Outcome.WITHDRAWN, (), 0)
    assert apply_due(state, "u1", due_ms, RULES).requests == ()


def test_consent_given_by_an_event_from_before_the_withdrawal_is_no_consent() -> None:
    state, _ = run([after(0), after(100, consent=False)])
    state, [step] = run([after(50, text="late", consent=True)], state, first=2)
    assert (step.outcome, state.consent) == (Outcome.FORGOTTEN, False)


def test_a_withdrawal_from_before_consent_was_given_again_changes_nothing() -> None:
    state, _ = run([after(0, consent=False), after(100, text="soap", consent=True)])
    _, [step] = run([after(50, consent=False)], state, first=2)
    assert (step.outcome, step.state) == (Outcome.FORGOTTEN, None)


def test_the_list_after_a_return_has_the_reason_first() -> None:
    _, steps = run([*SHOPPED, after(200, consent=False), after(400, action="view", consent=True)])
    assert [request.reason for request in steps[-1].requests] == ["first"]


@given(st.permutations(range(4)), st.lists(st.integers(0, 3), max_size=4))
def test_events_from_before_a_deletion_never_count_in_whatever_order_and_number(
    order: list[int], repeats: list[int]
) -> None:
    events = [*SHOPPED, after(150, text="p150")]
    state, _ = run([events[place] for place in order[:2]])
    state, _ = run([DELETION, after(300, text="soap", consent=True)], state, first=10)
    state, _ = run([events[place] for place in (*order, *repeats)], state, first=20)
    assert [b.text for b in state.window] == ["soap"]


def test_an_erase_request_survives_its_bytes_and_is_told_from_a_hint_request() -> None:
    _, steps = run([*SHOPPED, DELETION])
    erase = steps[-1].erase
    assert decode_erase(encode_erase(erase)) == erase == decode_work(encode_erase(erase))
