"""Join hint impressions, clicks and dismissals to the lists they came from. Pure.

A hint is joined by the event's ``list_id``; where that list does not have the query (one answer merges
several runs), or the event names no list, by the text: to the newest list that has it and that the user
can have seen by then. An event that names a list which is gone is not joined at all: a guess would
credit the wrong generation.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from streams.hint_list import Hint, HintList
from streams.hint_outcome import HintOutcome, Outcome, WhyNot
from streams.query_text import normalise_query
from streams.records import Action, BehaviorEvent

OUTCOMES: Final = {
    Action.HINT_IMPRESSION: Outcome.SHOWN,
    Action.HINT_CLICK: Outcome.CLICKED,
    Action.HINT_DISMISS: Outcome.DISMISSED,
}


class Reported(NamedTuple):
    """A hint as the event reports it; `ordinal` from 1."""

    query: str
    ordinal: int | None


def join_feedback(event: BehaviorEvent, lists: Sequence[HintList]) -> list[HintOutcome]:
    """One outcome per hint that the event reports, in their order; none for an event of another kind.

    lists: the user's, newest first.
    """
    if event.action_name not in OUTCOMES:
        return []
    named = _named(event, lists)
    return [_outcome(event, reported, named, lists) for reported in _reported(event, named)]


def _named(event: BehaviorEvent, lists: Sequence[HintList]) -> HintList | None:
    list_id = event.event_attributes.list_id
    return next((one for one in lists if one.list_id == list_id), None) if list_id else None


def _reported(event: BehaviorEvent, named: HintList | None) -> list[Reported]:
    """The hints of the event: all objects' titles, else the one object, query or place."""
    shown = [item.title or "" for item in event.event_attributes.objects]
    if event.action_name == Action.HINT_IMPRESSION and any(shown):
        return _without_repeats([Reported(text, place) for place, text in enumerate(shown, 1) if text])
    position = event.event_attributes.position
    ordinal = position.ordinal if position else None
    item = event.event_attributes.object
    titles = (item.title if item else None, event.user_query, *shown)
    query = next((text for text in titles if text), "")
    return [Reported(query or _at(named, ordinal), ordinal)]


def _without_repeats(reported: list[Reported]) -> list[Reported]:
    first: dict[str, Reported] = {}
    for one in reported:
        first.setdefault(normalise_query(one.query), one)
    return list(first.values())


def _at(named: HintList | None, ordinal: int | None) -> str:
    if named is None or ordinal is None or not 1 <= ordinal <= len(named.hints):
        return ""
    return named.hints[ordinal - 1].query


def _outcome(
    event: BehaviorEvent, reported: Reported, named: HintList | None, lists: Sequence[HintList]
) -> HintOutcome:
    outcome = HintOutcome(
        user=event.person,
        list_id=event.event_attributes.list_id or "",
        query=" ".join(reported.query.split()),
        ordinal=reported.ordinal,
        outcome=OUTCOMES[Action(event.action_name)],
        at_ms=event.timestamp,
        event_id=event.event_id or "",
    )
    why_not = _why_not(event, reported, named)
    found = _find(reported.query, _possible(event, named, lists)) if why_not is WhyNot.JOINED else None
    if found is None:
        return outcome.model_copy(update={"why_not": why_not or WhyNot.NOT_LISTED})
    return _joined(outcome, *found)


def _why_not(event: BehaviorEvent, reported: Reported, named: HintList | None) -> WhyNot:
    if event.event_attributes.list_id and named is None:
        return WhyNot.LIST_GONE
    return WhyNot.JOINED if reported.query.strip() else WhyNot.NO_QUERY


def _possible(event: BehaviorEvent, named: HintList | None, lists: Sequence[HintList]) -> list[HintList]:
    """The named list first, then those that are not from after the event, newest first."""
    others = [one for one in lists if one is not named and one.as_of <= event.timestamp]
    return others if named is None else [named, *others]


def _find(query: str, lists: Sequence[HintList]) -> tuple[HintList, Hint] | None:
    wanted = normalise_query(query)
    pairs = ((one, hint) for one in lists for hint in one.hints)
    return next((pair for pair in pairs if normalise_query(pair[1].query) == wanted), None)


def _joined(outcome: HintOutcome, found: HintList, hint: Hint) -> HintOutcome:
    return outcome.model_copy(
        update={
            "list_id": found.list_id,
            "query": hint.query,
            "as_of": found.as_of,
            "reason": found.reason,
            "bundle": found.bundle,
            "mapping": found.mapping,
            "arm": found.arm,
            "source": hint.source,
            "score": hint.score,
            "joined": True,
        }
    )
