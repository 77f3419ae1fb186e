"""`identify`: the history of an anonymous client becomes the user's. Pure.

Client and user live in different partitions, so it takes three steps: the user's partition asks, the client's
gives all it knows and keeps a blank state, the user's takes it over. Behaviours are applied one by one, each
once, by their event ids; what lies before the client's window is added as sums, once for each hand-over.
Anonymous behaviours from before the `identify` that come later go the same way, one at a time. Ours.
"""

from __future__ import annotations

from dataclasses import replace

from agents.session.bounds import Bounds
from agents.session.forgetting import blank_state, found_in, version_after
from agents.session.habit import merged
from agents.session.habit import with_behaviour as with_habit
from agents.session.refresh import Reason
from agents.session.rules import Outcome, Rules, Step
from agents.session.state import SessionState, decode_state, encode_state, event_digest
from agents.session.state_changes import new_state, with_behaviour, with_encoder
from agents.session.state_parts import Owed
from streams.erase_request import Cause, EraseRequest
from streams.handover import Handover
from streams.hint_request import Behaviour
from streams.records import Action, BehaviorEvent, Source


def asked_for(event: BehaviorEvent) -> Handover | None:
    """What an `identify` asks the client's partition for."""
    if event.action_name != Action.IDENTIFY or event.consent is False:
        return None
    client, user = event.client_id or "", event.person
    return Handover(client, user, event.timestamp) if client != user else None


def apply_handover(state: SessionState | None, handover: Handover, place: int, rules: Rules) -> Step:
    """One step of a hand-over, in whichever partition it is due. place: the record's offset."""
    if handover.is_asked:
        return hand_over(state, handover, place, rules)
    return take_over(state, handover, rules)


def hand_over(state: SessionState | None, asked: Handover, place: int, rules: Rules) -> Step:
    """The client's partition gives what it has. place: offset of the request."""
    at_ms = asked.at_ms
    if state is not None and not state.consent:
        return Step(Outcome.WITHDRAWN)
    if state is not None and state.bounds.joined_to and at_ms <= state.bounds.not_before_ms:
        return Step(Outcome.REPLAYED, state)  # a store on disk may know it while the changelog does not
    known = state or new_state(rules)
    version = version_after(known, at_ms, max(known.offsets.values(), default=0))
    bounds = Bounds(max(at_ms, known.interest.at_ms), at_ms + rules.erased_kept_ms, asked.user)
    blank = blank_state(known.offsets, version, bounds)
    if state is None:  # nothing yet: what comes late finds its way
        return Step(Outcome.HANDED_OVER, blank)
    given = replace(asked, place=place, state=encode_state(state))
    erase = EraseRequest(asked.client, version, Cause.IDENTIFY, at_ms, found_in(state))
    return Step(Outcome.HANDED_OVER, blank, erase=erase, handover=given)


def late_behaviour(
    state: SessionState, event: BehaviorEvent, behaviour: Behaviour, source: Source, rules: Rules
) -> Step:
    """An anonymous behaviour from before the `identify` goes to the user."""
    if source.offset <= (last := state.offsets.get(source.partition, -1)):
        return Step(Outcome.REPLAYED, state if source.offset == last else None)
    digest = event_digest(event.event_id or source.name)
    alone = with_behaviour(new_state(rules), behaviour, digest, rules)
    if alone is None:
        raise AssertionError("an empty window takes any behaviour")
    given = Handover(event.person, state.bounds.joined_to, event.timestamp, state=encode_state(alone))
    state = state._replace(offsets={**state.offsets, source.partition: source.offset})
    return Step(Outcome.HANDED_OVER, state, handover=given)


def take_over(state: SessionState | None, given: Handover, rules: Rules) -> Step:
    """The user's partition takes what was given. Raises CodecError if that is no state."""
    mine = with_encoder(state or new_state(rules), rules)
    if not mine.consent:
        return Step(Outcome.DELETED if mine.bounds.is_deleted else Outcome.WITHDRAWN)
    client, whole = event_digest(given.client), given.place >= 0
    if whole and mine.bounds.has_taken(client, given.place):
        return Step(Outcome.REPLAYED, state)
    theirs = with_encoder(decode_state(given.state), rules)
    joined = _with_behaviours(mine, theirs, rules, whole=whole)
    if whole:
        joined = _with_rest(joined, theirs, rules)
        joined = joined._replace(
            application=mine.application or theirs.application,
            locale=mine.locale or theirs.locale,
            bounds=joined.bounds._replace(taken_over=mine.bounds.with_taken(client, given.place)),
        )
    elif joined is mine:
        return Step(Outcome.DUPLICATE, state)
    return Step(Outcome.APPLIED, _owing(joined, given.at_ms, rules))


def _with_behaviours(mine: SessionState, theirs: SessionState, rules: Rules, *, whole: bool) -> SessionState:
    """With each behaviour of their window that is neither known nor from a forgotten time."""
    oldest_first = zip(reversed(theirs.window.behaviours()), reversed(theirs.window.ids()), strict=True)
    for behaviour, digest in oldest_first:
        if mine.window.holds(digest) or behaviour.at_ms <= mine.bounds.not_before_ms:
            continue
        grown = with_behaviour(mine, behaviour, digest, rules)
        if grown is not None:
            mine = grown
        elif whole:  # older than all of a full window: into the sums, as it would have left the window
            interest = rules.after(mine.interest, behaviour)
            mine = mine._replace(interest=interest, habit=with_habit(mine.habit, behaviour))
    return mine


def _with_rest(mine: SessionState, theirs: SessionState, rules: Rules) -> SessionState:
    """With what lies before their window: habit, and its part of the sums."""
    if not theirs.habit or mine.bounds.not_before_ms:
        return mine
    in_window = rules.of_all(reversed(theirs.window.behaviours()))
    rest = theirs.interest.without(in_window, rules.interest)
    interest = mine.interest.plus(rest, rules.interest)
    return mine._replace(interest=interest, habit=merged(mine.habit, theirs.habit))


def _owing(state: SessionState, at_ms: int, rules: Rules) -> SessionState:
    """A new list is owed, by the same rules as one that a cooldown holds back."""
    if state.owed.due_ms:
        return state
    due_ms = max(at_ms, state.interest.at_ms)
    if state.listed is not None:
        due_ms = max(due_ms, state.listed.version.as_of_ms + max(1, rules.refresh.cooldown_ms))
    return state._replace(owed=Owed(due_ms, Reason.IDENTIFY))
