"""A session state's changes: one more behaviour, one more list, another encoder. Pure."""

from __future__ import annotations

from typing import Final

from agents.session.habit import with_all
from agents.session.interest import ACTION_CODES, VISIT, Interest
from agents.session.refresh import Reason
from agents.session.rules import Rules
from agents.session.state import SessionState, mark
from agents.session.state_parts import NOT_OWED, Listed
from agents.session.window import clip_text
from streams.hint_request import Behaviour, Version
from streams.records import BehaviorEvent

ACTION_BY_NAME: Final = {str(action): code for action, code in ACTION_CODES.items()}


def new_state(rules: Rules) -> SessionState:
    """Of a person never seen before."""
    return SessionState(mark(rules.encoder.name), Interest.empty(rules.encoder.dim))


def behaviour_of(event: BehaviorEvent) -> Behaviour | None:
    """The event as window and generation see it; None: it is no behaviour, or says not of what."""
    action = ACTION_BY_NAME.get(event.action_name)
    text = event.text if action else ""
    return Behaviour(action, event.timestamp, clip_text(text)) if action and text else None


def with_behaviour(
    state: SessionState, behaviour: Behaviour, event_id: bytes, rules: Rules
) -> SessionState | None:
    """The state with one more behaviour, which it does not hold yet; None: it comes too late."""
    grown = state.window.with_behaviour(behaviour, event_id)
    if grown is None:
        return None
    window, left = grown
    return state._replace(
        interest=rules.after(state.interest, behaviour),
        counts=state.counts.with_event(behaviour.at_ms),
        window=window,
        habit=with_all(state.habit, left),
    )


def with_list(state: SessionState, version: Version, reason: Reason, rules: Rules) -> SessionState:
    """The state after a list was asked for: nothing is owed any more."""
    visit = state.interest.unit_of(VISIT)
    moved = state.listed.moved(visit) if state.listed else 1.0
    return state._replace(
        listed=Listed(version, reason, moved, visit.tobytes(), mark(rules.bundle)),
        owed=NOT_OWED,
        counts=state.counts.with_list(version.as_of_ms),
    )


def with_encoder(state: SessionState, rules: Rules) -> SessionState:
    """Sums of another encoder are made anew from the window; what lies before it is forgotten.

    So are sums of another width: one encoder's name can come with another D, and a state can be damaged.
    """
    if state.encoder == mark(rules.encoder.name) and state.interest.dim == rules.encoder.dim:
        return state
    interest = rules.of_all(reversed(state.window.behaviours()))
    listed = state.listed
    if listed is not None:
        listed = listed._replace(visit=bytes(rules.encoder.dim))
    return state._replace(encoder=mark(rules.encoder.name), interest=interest, listed=listed)
