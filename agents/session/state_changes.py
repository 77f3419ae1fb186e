"""A session state's changes: one more behaviour, another encoder. Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np

from agents.session.habit import remember
from agents.session.interest import ACTION_CODES, Interest
from agents.session.rules import Rules
from agents.session.state import SessionState, mark
from agents.session.window import clip_text, insert, place_of
from streams.hint_request import Behaviour
from streams.records import BehaviorEvent

ACTION_BY_NAME: Final = {str(action): code for action, code in ACTION_CODES.items()}


def new_state(rules: Rules) -> SessionState:
    """Of a person never seen before."""
    return SessionState(mark(rules.encoder.name), Interest.empty(rules.encoder.dim))


def is_too_late(state: SessionState, behaviour: Behaviour) -> bool:
    """Whether the behaviour is older than all of a full window."""
    return len(insert(state.window, behaviour)) <= place_of(state.window, behaviour)


def with_encoder(state: SessionState, rules: Rules) -> SessionState:
    """Sums of another encoder are made anew from the window; what lies before it is forgotten."""
    if state.encoder == mark(rules.encoder.name):
        return state
    interest = Interest.empty(rules.encoder.dim)
    for behaviour in reversed(state.window):
        vector = rules.encoder.embed(behaviour.text)
        interest = interest.add(vector, behaviour.action, behaviour.at_ms, rules.interest)
    listed = state.listed
    if listed is not None:
        listed = replace(listed, interests=np.zeros((2, rules.encoder.dim), np.int8))
    return replace(state, encoder=mark(rules.encoder.name), interest=interest, listed=listed)


def behaviour_of(event: BehaviorEvent) -> Behaviour:
    """The event as window and generation see it."""
    return Behaviour(ACTION_BY_NAME[event.action_name], event.timestamp, clip_text(event.text))


def with_behaviour(state: SessionState, behaviour: Behaviour, digest: bytes, rules: Rules) -> SessionState:
    """The state with one more behaviour, which is neither a duplicate nor too late."""
    vector = rules.encoder.embed(behaviour.text)
    place = place_of(state.window, behaviour)
    window, habit = remember(state.window, state.habit, behaviour)
    return replace(
        state,
        interest=state.interest.add(vector, behaviour.action, behaviour.at_ms, rules.interest),
        counts=state.counts.with_event(behaviour.at_ms),
        window=window,
        habit=habit,
        event_ids=(*state.event_ids[:place], digest, *state.event_ids[place:])[: len(window)],
    )
