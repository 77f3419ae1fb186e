"""Deletion and withdrawn consent: what goes, what little stays, and what is not used any more. Pure.

What stays of a person is a blank state: the offsets applied, from when on events count again
(agents.session.bounds), and the version behind which every list of theirs is void. No text, no time of any
behaviour. A deleted person's is dropped after `Rules.erased_kept_ms`; until then none of their events is
used, whatever its date, unless it is dated after the deletion and says `consent: true`: they came back.
"""

from __future__ import annotations

from typing import Final

from agents.session.bounds import Bounds
from agents.session.interest import Interest
from agents.session.refresh import Decision, Reason
from agents.session.rules import Outcome, Rules, Step
from agents.session.state import MARK_BYTES, SessionState, encode_state
from agents.session.state_parts import Counts, Listed
from streams.erase_request import Cause, EraseRequest
from streams.hint_request import HABIT_BYTES, Version
from streams.records import FUTURE_TOLERANCE_MS, BehaviorEvent, Source

NO_MARK: Final = bytes(MARK_BYTES)


def kept_out(state: SessionState | None, event: BehaviorEvent) -> Outcome | None:
    """Why the event is not used, if it is not: its person was deleted, or it is dated too early."""
    if state is None:
        return None
    if state.bounds.is_deleted and not _comes_back(state, event):
        return Outcome.DELETED
    if event.timestamp > state.bounds.not_before_ms:
        return None
    handed = state.bounds.joined_to and event.consent is not False
    return Outcome.HANDED_OVER if handed else Outcome.FORGOTTEN


def readmitted(state: SessionState, event: BehaviorEvent) -> SessionState:
    """The state after consent was given again, if this event does so; it counts from this event on."""
    if state.consent or not _comes_back(state, event):
        return state
    bounds = state.bounds._replace(not_before_ms=event.timestamp - 1, ends_ms=0)
    return state._replace(consent=True, bounds=bounds)


def _comes_back(state: SessionState, event: BehaviorEvent) -> bool:
    if state.bounds.is_deleted and event.timestamp > state.bounds.ends_ms:
        return True
    return event.consent is True and event.timestamp > state.bounds.not_before_ms


def withdrawn(state: SessionState, event: BehaviorEvent, source: Source) -> Step:
    """The event withdraws consent, or comes after one that did: what was known is forgotten."""
    decision = Decision(False, Reason.CONSENT, Reason.STEADY)
    offsets = {**state.offsets, source.partition: source.offset}
    if not state.consent:
        return Step(Outcome.WITHDRAWN, state._replace(offsets=offsets), decision)
    version = version_after(state, event.timestamp, source.offset)
    bounds = state.bounds._replace(not_before_ms=event.timestamp)
    blank = blank_state(offsets, version, bounds)._replace(consent=False, counts=state.counts)
    erase = EraseRequest(event.person, version, Cause.CONSENT, event.timestamp, found_in(state))
    return Step(Outcome.WITHDRAWN, blank, decision, erase=erase)


def deleted(state: SessionState | None, event: BehaviorEvent, source: Source, rules: Rules) -> Step:
    """The person asks to be deleted."""
    if state is not None and source.offset <= state.offsets.get(source.partition, -1):
        is_last = source.offset == state.offsets[source.partition]
        stored = state if is_last else None  # a store on disk may know it while the changelog does not
        return Step(Outcome.REPLAYED, stored, erase=erased_again(state, event.person, source))
    if state is None:  # lists of a state that was lost may be dated later, as far as a clock may be wrong
        version = Version(event.timestamp + FUTURE_TOLERANCE_MS, source.offset)
    else:
        version = version_after(state, event.timestamp, source.offset)
    offsets = {**(state.offsets if state else {}), source.partition: source.offset}
    bounds = Bounds(not_before_ms=event.timestamp, ends_ms=event.timestamp + rules.erased_kept_ms)
    blank = blank_state(offsets, version, bounds)._replace(consent=False)
    found = found_in(state) if state else {}
    erase = EraseRequest(event.person, version, Cause.USER_DELETE, event.timestamp, found)
    return Step(Outcome.DELETED, blank, erase=erase)


def erased_again(state: SessionState, user: str, source: Source) -> EraseRequest | None:
    """After a crash the request of the newest erasure may be missing from Kafka: it is sent again."""
    listed, bounds = state.listed, state.bounds
    if listed is None or listed.reason is not Reason.CONSENT:
        return None
    if source.offset != state.offsets.get(source.partition):
        return None
    cause = Cause.USER_DELETE if bounds.is_deleted else Cause.IDENTIFY if bounds.joined_to else Cause.CONSENT
    return EraseRequest(user, listed.version, cause, bounds.not_before_ms)


def blank_state(offsets: dict[int, int], version: Version, bounds: Bounds) -> SessionState:
    """What stays of a state whose lists are void up to `version`."""
    listed = Listed(version, Reason.CONSENT, 0.0, b"", NO_MARK)
    empty = Interest.empty(0)
    return SessionState(NO_MARK, empty, listed=listed, counts=Counts(), offsets=offsets, bounds=bounds)


def found_in(state: SessionState) -> dict[str, int]:
    """What of the person the state knew, as counts."""
    return {
        "behaviours": len(state.window),
        "habit_texts": len(state.habit) // HABIT_BYTES,
        "state_bytes": len(encode_state(state)),
    }


def version_after(state: SessionState, at_ms: int, offset: int) -> Version:
    """Greater than any list's that was asked for."""
    newest_ms = state.listed.version.as_of_ms + 1 if state.listed else 0
    return Version(max(at_ms, newest_ms), offset)
