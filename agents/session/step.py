"""One step of a session: state and event in, new state, decision and hint requests out.

The same two functions run in the live agent, in offline replay and wherever training needs sessions.
No clock, no broker, no file.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final, Protocol

import numpy as np

from agents.session.habit import remember
from agents.session.interest import ACTION_CODES, Interest, InterestPolicy, drift
from agents.session.refresh import Decision, Reason, RefreshPolicy, Standing, decide_refresh
from agents.session.state import Listed, Owed, SessionState, event_digest, mark
from agents.session.window import clip_text, insert, place_of
from streams.hint_request import Behaviour, HintRequest, Int8, Version
from streams.records import BehaviorEvent, Source


class TextEncoder(Protocol):
    """Turns texts into embeddings; see agents.hints.encoder."""

    @property
    def name(self) -> str:
        """Changes whenever the embedding of any text may change."""

    @property
    def dim(self) -> int:
        """D."""

    def embed(self, text: str) -> Int8:
        """e(text)·127, (D,) int8."""


class Outcome(StrEnum):
    """What became of an event."""

    APPLIED = "applied"
    DUPLICATE = "duplicate"  # its event id was applied before
    REPLAYED = "replayed"  # its offset was applied before: a re-read after a crash or rebalance
    UNKNOWN_ACTION = "unknown_action"
    NOT_A_BEHAVIOUR = "not_a_behaviour"  # hint feedback: another agent's work
    TOO_LATE = "too_late"  # older than all behaviours of a full window: whether it was applied is forgotten
    NO_TEXT = "no_text"  # neither query, title nor category
    WITHDRAWN = "withdrawn"  # consent is withdrawn: not used


@dataclass(frozen=True, slots=True)
class Rules:
    """All that a step depends on besides state and event."""

    encoder: TextEncoder
    bundle: str
    interest: InterestPolicy = field(default_factory=InterestPolicy)
    refresh: RefreshPolicy = field(default_factory=RefreshPolicy)


@dataclass(frozen=True, slots=True)
class Step:
    """`state` is None when nothing is to be stored; `requests` are in version order."""

    outcome: Outcome
    state: SessionState | None = None
    decision: Decision | None = None
    drift: float = 0.0
    requests: tuple[HintRequest, ...] = ()


ACTION_BY_NAME: Final = {str(action): code for action, code in ACTION_CODES.items()}
FEEDBACK_PREFIX: Final = "hint_"


def apply_event(state: SessionState | None, event: BehaviorEvent, source: Source, rules: Rules) -> Step:
    """Apply one decoded event of `event.person` to their state (None: never seen)."""
    unusable = _unusable(event)
    if unusable is not None and not _changes_consent(state, event):
        return Step(unusable)
    if state is None:
        state = SessionState(mark(rules.encoder.name), Interest.empty(rules.encoder.dim))
    if source.offset <= state.offsets.get(source.partition, -1):
        return Step(Outcome.REPLAYED, requests=_asked_again(state, event.person, source, rules))
    digest = event_digest(event.event_id or source.name)
    if digest in state.event_ids:
        return Step(Outcome.DUPLICATE)
    behaviour = _behaviour(event) if unusable is None else None
    if behaviour is not None and len(insert(state.window, behaviour)) <= place_of(state.window, behaviour):
        return Step(Outcome.TOO_LATE)
    state, settled = _settle_before(_with_encoder(state, rules), event, source, rules)
    state = replace(
        state,
        offsets={**state.offsets, source.partition: source.offset},
        consent=state.consent if event.consent is None else event.consent,
        application=event.application or state.application,
        locale=event.locale or state.locale,
    )
    if not state.consent:
        withdrawn = Decision(False, Reason.CONSENT, Reason.STEADY)
        return Step(Outcome.WITHDRAWN, replace(state, owed=Owed()), withdrawn, 0.0, settled)
    if behaviour is None:
        return Step(Outcome.APPLIED, state, None, 0.0, settled)
    return _decide(_with_behaviour(state, behaviour, digest, rules), event, source, rules, settled)


def apply_due(state: SessionState | None, user: str, due_ms: int, rules: Rules) -> Step:
    """The cooldown that held back a refresh of `user` until `due_ms` is over."""
    if state is None:
        return Step(Outcome.REPLAYED)
    if state.owed.due_ms != due_ms or not state.consent:
        again = state.listed is not None and state.listed.version.as_of_ms == due_ms
        requests = (_request(state, user, Source("", 0, 0), rules),) if again else ()
        return Step(Outcome.REPLAYED, requests=requests)
    state = _settle(_with_encoder(state, rules), rules)
    listed = _listed(state)
    decision = Decision(True, listed.reason, listed.reason)
    request = _request(state, user, Source("", 0, 0), rules)
    return Step(Outcome.APPLIED, state, decision, listed.drift, (request,))


def _unusable(event: BehaviorEvent) -> Outcome | None:
    if event.action_name.startswith(FEEDBACK_PREFIX):
        return Outcome.NOT_A_BEHAVIOUR
    if event.action_name not in ACTION_BY_NAME:
        return Outcome.UNKNOWN_ACTION
    return None if event.text else Outcome.NO_TEXT


def _changes_consent(state: SessionState | None, event: BehaviorEvent) -> bool:
    """Consent counts in any event, also in one that is no behaviour."""
    return event.consent is not None and event.consent != (state is None or state.consent)


def _with_encoder(state: SessionState, rules: Rules) -> SessionState:
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


def _behaviour(event: BehaviorEvent) -> Behaviour:
    return Behaviour(ACTION_BY_NAME[event.action_name], event.timestamp, clip_text(event.text))


def _with_behaviour(state: SessionState, behaviour: Behaviour, digest: bytes, rules: Rules) -> SessionState:
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


def _decide(
    state: SessionState, event: BehaviorEvent, source: Source, rules: Rules, settled: tuple[HintRequest, ...]
) -> Step:
    now_ms, interests = state.interest.at_ms, state.interest.unit()
    moved = drift(interests, state.listed.interests) if state.listed else 1.0
    standing = Standing(
        now_ms=now_ms,
        drift=moved,
        listed_at_ms=state.listed.version.as_of_ms if state.listed else 0,
        same_bundle=state.listed is None or state.listed.bundle == mark(rules.bundle),
        lists_today=state.counts.lists_on(now_ms),
        events_this_minute=state.counts.events,
        consent=state.consent,
    )
    decision = decide_refresh(standing, event.action_name, rules.refresh)
    if decision.refresh:
        listed = Listed(Version(now_ms, source.offset), decision.reason, moved, interests, mark(rules.bundle))
        state = replace(state, listed=listed, owed=Owed(), counts=state.counts.with_list(now_ms))
        settled = (*settled, _request(state, event.person, source, rules))
    elif decision.reason is Reason.COOLDOWN and not state.owed.due_ms:
        due_ms = standing.listed_at_ms + rules.refresh.cooldown_ms
        state = replace(state, owed=Owed(due_ms, decision.wanted))
    return Step(Outcome.APPLIED, state, decision, moved, settled)


def _settle_before(
    state: SessionState, event: BehaviorEvent, source: Source, rules: Rules
) -> tuple[SessionState, tuple[HintRequest, ...]]:
    """A refresh that fell due before this event comes first, as if a timer had been on time."""
    if not state.owed.due_ms or event.timestamp < state.owed.due_ms:
        return state, ()
    state = _settle(state, rules)
    return state, (_request(state, event.person, source, rules),)


def _settle(state: SessionState, rules: Rules) -> SessionState:
    interests = state.interest.unit()
    moved = drift(interests, state.listed.interests) if state.listed else 1.0
    version = Version(state.owed.due_ms, max(state.offsets.values(), default=0))
    listed = Listed(version, state.owed.reason, moved, interests, mark(rules.bundle))
    return replace(state, listed=listed, owed=Owed(), counts=state.counts.with_list(version.as_of_ms))


def _asked_again(state: SessionState, user: str, source: Source, rules: Rules) -> tuple[HintRequest, ...]:
    """After a crash the newest stored decision's request may be missing from Kafka: send it again.

    Offsets are committed only after all sends before them, so a missing request implies that the
    last applied event comes again; it alone asks, and Redis ignores a version it has.
    """
    if state.listed is None or source.offset != state.offsets[source.partition]:
        return ()
    return (_request(_with_encoder(state, rules), user, source, rules),)


def _listed(state: SessionState) -> Listed:
    if state.listed is None:
        raise AssertionError("a request is made after a list was decided")
    return state.listed


def _request(state: SessionState, user: str, source: Source, rules: Rules) -> HintRequest:
    """The request for the list that `state.listed` decided, from the behaviours up to then."""
    listed = _listed(state)
    behaviours = tuple(b for b in state.window if b.at_ms <= listed.version.as_of_ms)
    vectors = [rules.encoder.embed(behaviour.text) for behaviour in behaviours]
    return HintRequest(
        user=user,
        version=listed.version,
        reason=listed.reason,
        drift=listed.drift,
        encoder=rules.encoder.name,
        behaviours=behaviours,
        vectors=np.stack(vectors) if vectors else np.zeros((0, rules.encoder.dim), np.int8),
        interests=listed.interests,
        habit=state.habit,
        application=state.application,
        locale=state.locale,
        appended_ms=source.appended_ms,
    )
