"""`identify`: what was known of the client is known of the user, once, in whatever order it comes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from agents.session.habit import Entries
from agents.session.joining import hand_over, take_over
from agents.session.refresh import Reason
from agents.session.rules import Outcome, Rules
from agents.session.state import SessionState, decode_state, encode_state
from agents.session.step import apply_due, apply_event
from streams.erase_request import Cause
from streams.handover import Handover, decode_handover, encode_handover
from streams.records import BehaviorEvent, Source
from tests.support import NOON_MS, DigestEncoder, event_of

RULES = Rules(DigestEncoder(), "bundle-1")
CLIENT: dict[str, Any] = {"user_id": None, "client_id": "c1", "user": ""}
IDENTIFY_MS = NOON_MS + 10_000_000


def anonymous(seconds: float, text: str) -> BehaviorEvent:
    return event_of(at_ms=NOON_MS + int(seconds * 1000), text=text, user_id=None, client_id="c1")


def known(seconds: float, text: str) -> BehaviorEvent:
    return event_of(at_ms=NOON_MS + int(seconds * 1000), text=text, user="u1")


def run(events: Iterable[BehaviorEvent], state: SessionState | None = None, first: int = 0) -> Any:
    for number, event in enumerate(events, start=first):
        state = apply_event(state, event, Source("t", 0, number), RULES).state or state
    return state


def asked() -> Handover:
    event = event_of(action="identify", at_ms=IDENTIFY_MS, user="u1", client_id="c1")
    handover = apply_event(None, event, Source("t", 0, 99), RULES).handover
    assert handover is not None
    return handover


def given_by(client: SessionState | None, place: int = 7) -> Any:
    """The client's step, and what it gives, as it travels."""
    step = hand_over(client, asked(), place, RULES)
    return step, decode_handover(encode_handover(step.handover)) if step.handover else None


def same(one: SessionState, other: SessionState) -> None:
    assert one.window.behaviours() == other.window.behaviours()
    assert set(one.window.ids()) == set(other.window.ids())
    length = float(np.abs(other.interest.sums()).max())
    np.testing.assert_allclose(one.interest.sums(), other.interest.sums(), atol=5e-3 * length)
    ours, theirs = Entries.of(one.habit), Entries.of(other.habit)
    np.testing.assert_array_equal(ours.texts, theirs.texts)
    at_ms = max(one.interest.at_ms, other.interest.at_ms)
    np.testing.assert_allclose(ours.counts_at(at_ms), theirs.counts_at(at_ms), rtol=1e-2)


ANONYMOUS = [anonymous(s, f"a{s}") for s in range(0, 500, 50)]
KNOWN = [known(s, f"k{s}") for s in range(25, 400, 50)]


def test_an_identify_asks_the_clients_partition_and_is_no_behaviour() -> None:
    event = event_of(action="identify", at_ms=IDENTIFY_MS, user="u1", client_id="c1")
    step = apply_event(None, event, Source("t", 0, 0), RULES)
    assert (step.outcome, step.state) == (Outcome.IDENTIFIED, None)
    assert step.handover == Handover("c1", "u1", IDENTIFY_MS)
    assert step.handover.is_asked
    assert step.handover.key == b"c1"


def test_both_histories_together_are_what_one_person_would_have_had() -> None:
    _, given_ = given_by(run(ANONYMOUS))
    joined = take_over(run(KNOWN), given_, RULES).state
    assert joined is not None
    same(joined, run(sorted([*ANONYMOUS, *KNOWN], key=lambda event: event.timestamp)))


def test_histories_longer_than_a_window_keep_their_habits() -> None:
    many = [anonymous(s, f"a{s % 40}") for s in range(0, 6000, 50)]
    few = [known(s, f"k{s % 7}") for s in range(25, 2000, 50)]
    _, given_ = given_by(run(many))
    joined = take_over(run(few), given_, RULES).state
    assert joined is not None
    everything = run(sorted([*many, *few], key=lambda event: event.timestamp))
    same(joined, everything)


def test_a_history_is_handed_over_once_however_often_it_comes() -> None:
    _, given_ = given_by(run([anonymous(s, f"a{s % 40}") for s in range(0, 6000, 50)]))
    once = take_over(run(KNOWN), given_, RULES).state
    assert once is not None
    again = take_over(decode_state(encode_state(once)), given_, RULES)
    assert again.outcome is Outcome.REPLAYED
    assert again.state and encode_state(again.state) == encode_state(once)


def test_the_client_keeps_a_blank_state_and_its_lists_go() -> None:
    step, _ = given_by(run(ANONYMOUS))
    assert step.erase and (step.erase.user, step.erase.cause) == ("c1", Cause.IDENTIFY)
    assert step.state and not step.state.window
    assert step.state.bounds.joined_to == "u1"
    again = hand_over(decode_state(encode_state(step.state)), asked(), 8, RULES)
    assert (again.outcome, again.handover) == (Outcome.REPLAYED, None)


def test_an_anonymous_event_that_comes_late_goes_to_the_user_too() -> None:
    step, given_ = given_by(run(ANONYMOUS[:-1]))
    client = decode_state(encode_state(step.state))
    late = apply_event(client, ANONYMOUS[-1], Source("t", 0, 50), RULES)
    assert late.outcome is Outcome.HANDED_OVER and late.handover is not None
    assert apply_event(late.state, ANONYMOUS[-1], Source("t", 0, 50), RULES).outcome is Outcome.REPLAYED
    user = take_over(run(KNOWN), given_, RULES).state
    user = take_over(user, decode_handover(encode_handover(late.handover)), RULES).state
    assert user is not None
    same(user, run(sorted([*ANONYMOUS, *KNOWN], key=lambda event: event.timestamp)))
    assert take_over(user, late.handover, RULES).outcome is Outcome.DUPLICATE


def test_a_client_that_is_not_seen_yet_hands_over_what_comes() -> None:
    step, given_ = given_by(None)
    assert (step.outcome, given_, step.erase) == (Outcome.HANDED_OVER, None, None)
    late = apply_event(step.state, ANONYMOUS[0], Source("t", 0, 1), RULES)
    assert late.outcome is Outcome.HANDED_OVER


def test_what_the_client_does_after_the_identify_is_its_own_again() -> None:
    step, _ = given_by(run(ANONYMOUS))
    later = anonymous(IDENTIFY_MS / 1000 - NOON_MS / 1000 + 60, "soap")
    after_all = apply_event(step.state, later, Source("t", 0, 50), RULES)
    assert after_all.outcome is Outcome.APPLIED
    assert after_all.state and [b.text for b in after_all.state.window] == ["soap"]
    assert after_all.state.bounds.ends_ms == 0  # it is somebody's state again


def test_the_user_is_owed_a_list_that_knows_both() -> None:
    _, given_ = given_by(run(ANONYMOUS))
    joined = take_over(run(KNOWN), given_, RULES).state
    assert joined and joined.owed.reason is Reason.IDENTIFY
    [request] = apply_due(joined, "u1", joined.owed.due_ms, RULES).requests
    assert {b.text[0] for b in request.behaviours} == {"a", "k"}
    assert joined.listed and request.version > joined.listed.version


def test_a_user_without_any_event_gets_the_clients_history() -> None:
    _, given_ = given_by(run(ANONYMOUS))
    joined = take_over(None, given_, RULES).state
    assert joined and len(joined.window) == len(ANONYMOUS)


def test_who_does_not_consent_gives_and_takes_nothing() -> None:
    unwilling = run([*ANONYMOUS, replace_consent(anonymous(600, "x"))])
    assert given_by(unwilling)[1] is None
    _, given_ = given_by(run(ANONYMOUS))
    deleted = run([event_of(action="user_delete", at_ms=NOON_MS, user="u1")])
    assert take_over(deleted, given_, RULES).state is None
    withdrawn = run([event_of(at_ms=NOON_MS, user="u1", consent=False)])
    assert take_over(withdrawn, given_, RULES).outcome is Outcome.WITHDRAWN


def replace_consent(event: BehaviorEvent) -> BehaviorEvent:
    return event.model_copy(update={"consent": False})


@given(st.lists(st.sampled_from([*ANONYMOUS, *KNOWN]), unique_by=id, min_size=1), st.integers(0, 18))
def test_when_the_identify_comes_does_not_matter(events: list[BehaviorEvent], place: int) -> None:
    """Before or after some of either history has been read: the user ends with the same."""
    states: dict[str, SessionState | None] = {"c1": None, "u1": None}
    offset = 0

    def apply(event: BehaviorEvent) -> None:
        nonlocal offset
        offset += 1
        step = apply_event(states[event.person], event, Source("t", 0, offset), RULES)
        states[event.person] = step.state or states[event.person]
        if step.handover is not None:
            states["u1"] = take_over(states["u1"], step.handover, RULES).state or states["u1"]

    for event in events[:place]:
        apply(event)
    step = hand_over(states["c1"], asked(), 1, RULES)
    states["c1"] = step.state or states["c1"]
    if step.handover is not None:
        states["u1"] = take_over(states["u1"], step.handover, RULES).state
    for event in events[place:]:
        apply(event)
    expected = run(replace_person(event) for event in events)
    assert states["u1"] is not None
    same(states["u1"], expected)


def replace_person(event: BehaviorEvent) -> BehaviorEvent:
    return event.model_copy(update={"user_id": "u1"})


def test_the_rules_for_how_long_marks_stay_are_used() -> None:
    short = replace(RULES, erased_kept_ms=1000)
    step = hand_over(run(ANONYMOUS), asked(), 0, short)
    assert step.state and step.state.due_ms == IDENTIFY_MS + 1000
