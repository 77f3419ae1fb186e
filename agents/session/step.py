"""One step of a session: state and event in, new state, decision and hint requests out.

The same two functions run in the live agent, in offline replay and wherever training needs sessions.
No clock, no broker, no file.
"""

from __future__ import annotations

from typing import Final

from agents.session.forgetting import deleted, erased_again, kept_out, readmitted, withdrawn
from agents.session.joining import asked_for, late_behaviour
from agents.session.refresh import Decision, Reason, Standing, decide_refresh
from agents.session.rules import DecidedList
from agents.session.rules import Outcome as Outcome
from agents.session.rules import Rules as Rules
from agents.session.rules import Step as Step
from agents.session.rules import TextEncoder as TextEncoder
from agents.session.state import SessionState, event_digest, mark
from agents.session.state_changes import (
    ACTION_BY_NAME,
    behaviour_of,
    new_state,
    with_behaviour,
    with_encoder,
    with_list,
)
from agents.session.state_parts import Owed
from streams.hint_request import Behaviour, Version
from streams.records import Action, BehaviorEvent, Source

FEEDBACK_PREFIX: Final = "hint_"


def apply_event(state: SessionState | None, event: BehaviorEvent, source: Source, rules: Rules) -> Step:
    """Apply one decoded event of `event.person` to their state (None: never seen)."""
    if event.action_name == Action.USER_DELETE:
        return deleted(state, event, source, rules)
    behaviour = behaviour_of(event)
    why_not = kept_out(state, event)
    if why_not is Outcome.HANDED_OVER and behaviour is not None and state is not None:
        return late_behaviour(state, event, behaviour, source, rules)
    if why_not is not None:
        return Step(why_not if behaviour else _unusable(event))
    handover = asked_for(event)
    if behaviour is None and not _changes_consent(state, event):
        return Step(_unusable(event), handover=handover)
    if state is None:
        state = new_state(rules)
    if source.offset <= state.offsets.get(source.partition, -1):
        is_last = source.offset == state.offsets[source.partition]
        return Step(
            Outcome.REPLAYED,
            state if is_last else None,  # a store on disk may know it while the changelog does not
            erase=erased_again(state, event.person, source),
            handover=handover,
        )
    state = readmitted(state, event)
    if event.consent is False or not state.consent:
        return withdrawn(state, event, source)
    step = _apply_usable(state, event, behaviour, source, rules)
    return step if handover is None else step._replace(handover=handover)


def _apply_usable(
    state: SessionState, event: BehaviorEvent, behaviour: Behaviour | None, source: Source, rules: Rules
) -> Step:
    digest = event_digest(event.event_id or source.name)
    if state.window.holds(digest):
        return Step(Outcome.DUPLICATE)
    state, settled = _settle_before(with_encoder(state, rules), event, source, rules)
    if behaviour is None:
        return Step(Outcome.APPLIED, _with_place(state, event, source), decided=settled)
    grown = with_behaviour(state, behaviour, digest, rules)
    if grown is None:
        return Step(Outcome.TOO_LATE)
    return _decide(_with_place(grown, event, source), event, source, rules, settled)


def _with_place(state: SessionState, event: BehaviorEvent, source: Source) -> SessionState:
    """With where the event stood, and where it was seen."""
    return state._replace(
        offsets={**state.offsets, source.partition: source.offset},
        application=event.application or state.application,
        locale=event.locale or state.locale,
        bounds=state.bounds._replace(ends_ms=0) if state.bounds.ends_ms else state.bounds,
    )


def apply_due(state: SessionState | None, user: str, due_ms: int, rules: Rules) -> Step:
    """The cooldown that held back a refresh of `user` until `due_ms` is over, or the blank state's time."""
    if state is None:
        return Step(Outcome.REPLAYED)
    if state.bounds.ends_ms == due_ms:
        return Step(Outcome.FORGOTTEN, ended=True)
    if state.owed.due_ms != due_ms or not state.consent:
        again = state.listed is not None and state.listed.version.as_of_ms == due_ms
        return Step(Outcome.REPLAYED, state if again else None)
    reason = state.owed.reason
    state = _settle(with_encoder(state, rules), rules)
    return Step(
        Outcome.APPLIED, state, Decision(True, reason, reason), (DecidedList(state, user, rules.encoder),)
    )


def _unusable(event: BehaviorEvent) -> Outcome:
    """Why the event is no behaviour."""
    if event.action_name.startswith(FEEDBACK_PREFIX):
        return Outcome.NOT_A_BEHAVIOUR
    if event.action_name == Action.IDENTIFY:
        return Outcome.IDENTIFIED
    return Outcome.NO_TEXT if event.action_name in ACTION_BY_NAME else Outcome.UNKNOWN_ACTION


def _changes_consent(state: SessionState | None, event: BehaviorEvent) -> bool:
    """Consent counts in any event, also in one that is no behaviour."""
    return event.consent is not None and event.consent != (state is None or state.consent)


def _decide(
    state: SessionState, event: BehaviorEvent, source: Source, rules: Rules, settled: tuple[DecidedList, ...]
) -> Step:
    now_ms = state.interest.at_ms
    standing = Standing(
        now_ms=now_ms,
        drift=state.moved,
        listed_at_ms=_listed_at_ms(state),
        same_bundle=state.listed is None or state.listed.bundle == mark(rules.bundle),
        lists_today=state.counts.lists_on(now_ms),
        events_this_minute=state.counts.events,
        consent=state.consent,
    )
    decision = decide_refresh(standing, event.action_name, rules.refresh)
    if decision.refresh:
        state = with_list(state, Version(now_ms, source.offset), decision.reason, rules)
        settled = (*settled, DecidedList(state, event.person, rules.encoder, source.appended_ms))
    elif decision.reason is Reason.COOLDOWN and not state.owed.due_ms:
        due_ms = standing.listed_at_ms + rules.refresh.cooldown_ms
        state = state._replace(owed=Owed(due_ms, decision.wanted))
    return Step(Outcome.APPLIED, state, decision, settled)


def _listed_at_ms(state: SessionState) -> int:
    """When the newest list was made; 0: there is none, also since all were erased before now."""
    if state.listed is None:
        return 0
    erased = state.listed.reason is Reason.CONSENT and state.interest.at_ms > state.listed.version.as_of_ms
    return 0 if erased else state.listed.version.as_of_ms


def _settle_before(
    state: SessionState, event: BehaviorEvent, source: Source, rules: Rules
) -> tuple[SessionState, tuple[DecidedList, ...]]:
    """A refresh that fell due before this event comes first, as if a timer had been on time."""
    if not state.owed.due_ms or event.timestamp < state.owed.due_ms:
        return state, ()
    state = _settle(state, rules)
    return state, (DecidedList(state, event.person, rules.encoder, source.appended_ms),)


def _settle(state: SessionState, rules: Rules) -> SessionState:
    version = Version(state.owed.due_ms, max(state.offsets.values(), default=0))
    return with_list(state, version, state.owed.reason, rules)
