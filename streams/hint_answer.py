"""What a reader answers, and how the tiers of hints become one list. Pure: values in, values out.

Order: the user's newest run, the user's older runs, Think for the latest triggers, popular, pinned; but some
places are Think's (streams.think_merge), with what the user's own lists do not hold. The first time a query
comes up counts; denied queries never do, nor what the user just did.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import groupby, repeat
from typing import Any, Final

from pydantic import ValidationError

from streams.errors import CodecError
from streams.hint_list import MAX_HINTS, Hint, HintList, Source
from streams.own_lists import hints_for, looked_at
from streams.query_text import normalise_query
from streams.think_entry import PopularList, Suggestion, ThinkEntry, ThinkPointer
from streams.think_merge import TriggerEntries, in_turn, is_thinks

KEPT: Final = 1_024  # of the values that all users share; what was read before is not read again


# A hint and the id of its list, "" for Think, popular and pinned: a plain pair, since so many are made.
Candidate = tuple[Hint, str]


@dataclass(frozen=True, slots=True)
class Tiers:
    """Where a page's hints come from, each best first. own: the user's lists; rest: popular and pinned.

    held: query in normal form to epoch ms, what the user just did. All three are taken from as far as the
    page needs them: most of what they could give never becomes a hint. apart: nothing in `think` stands in
    `own`, too; else `own` is looked through first, and must allow that twice.
    """

    own: Iterable[Candidate] = ()
    think: Iterable[Candidate] = ()
    rest: Iterable[Candidate] = ()
    held: Mapping[str, int] = field(default_factory=dict)
    apart: bool = False


@dataclass(frozen=True, slots=True)
class HintAnswer:
    """Hints for a user, best first, and what they rest on.

    list_ids: aligned with `hints`; "" where a hint comes from no list of the user. version, as_of
    (event-time ms), age_ms (wall clock since the newest list was generated): of the newest list;
    "" and None for a user without one. triggers: what Think was asked for, newest first. mapping: the
    version that this user sees. denied: hints left out for the deny set, or as
    personal data. malformed: values that were met in Redis and are none of ours.
    """

    hints: tuple[Hint, ...]
    list_ids: tuple[str, ...]
    list_id: str = ""
    version: str = ""
    as_of: int | None = None
    age_ms: int | None = None
    triggers: tuple[str, ...] = ()
    mapping: str = ""
    denied: int = 0
    malformed: int = 0

    @property
    def queries(self) -> tuple[str, ...]:
        """The texts to show."""
        return tuple(hint.query for hint in self.hints)

    @property
    def sources(self) -> dict[Source, int]:
        """How many of the hints each source gave."""
        return dict(Counter(hint.source for hint in self.hints))

    @property
    def trigger(self) -> str:
        """The newest trigger; "" without any."""
        return self.triggers[0] if self.triggers else ""


def personal(lists: Iterable[HintList], mapping: str = "") -> Iterator[Candidate]:
    """The user's own hints, newest run first. Think's among them count while `mapping` is their version."""
    for one in lists:
        yield from zip(hints_for(one, mapping), repeat(one.list_id), strict=False)


def opened(found: TriggerEntries, leaves: Callable[[str], bool] | None = None) -> Iterator[Candidate]:
    """Think's hints for the latest triggers, without those of which `leaves` says so by their normal form."""
    for trigger, one in in_turn(found):
        if leaves is None or not leaves(one.normal):
            hint = Hint(query=one.query, score=one.score, source="think", why=trigger, mapping=found.mapping)
            yield hint, ""


def suggested(suggestions: Iterable[Suggestion], source: Source) -> Iterator[Candidate]:
    """Suggestions as hints of `source`."""
    for one in suggestions:
        yield Hint(query=one.query, score=one.score, source=source), ""


def merge(
    tiers: Tiers, denied: AbstractSet[str], limit: int, now_ms: int, *, think_places: int = 0
) -> tuple[list[Candidate], int]:
    """At most `limit` candidates without duplicates, held and denied ones, and how many were denied.

    `denied` holds normalised queries. A query that is held in the newest list is held in every tier.
    """
    page = _Page(denied, tiers.held, now_ms)
    own, think, rest = iter(tiers.own), _others(tiers), iter(tiers.rest)
    orders = ((own, think, rest), (think, own, rest))
    for is_think, count in _runs(limit, think_places):
        left = count
        for source in orders[is_think]:
            left -= page.take(source, left)
            if not left:
                break
        else:
            break
    return page.chosen, page.dropped


def _runs(limit: int, think_places: int) -> Iterable[tuple[bool, int]]:
    """The places of a page as runs: whether they are Think's, and how many follow each other."""
    return _kept_runs(limit, think_places) if limit <= MAX_HINTS else _new_runs(limit, think_places)


def _new_runs(limit: int, think_places: int) -> Iterator[tuple[bool, int]]:
    runs = groupby(range(limit), lambda place: is_thinks(place, think_places))
    return ((is_think, sum(1 for _ in places)) for is_think, places in runs)


@lru_cache(KEPT)
def _kept_runs(limit: int, think_places: int) -> tuple[tuple[bool, int], ...]:
    return tuple(_new_runs(limit, think_places))


def _others(tiers: Tiers) -> Iterator[Candidate]:
    """Think's hints without those that the own lists hold."""
    if tiers.apart:
        return iter(tiers.think)
    mine = {normalise_query(hint.query) for hint, _ in tiers.own}
    return (one for one in tiers.think if normalise_query(one[0].query) not in mine)


@dataclass(slots=True)
class _Page:
    """What was chosen so far, and what may not be."""

    denied: AbstractSet[str]
    held: Mapping[str, int]
    now_ms: int
    chosen: list[Candidate] = field(default_factory=list)
    dropped: int = 0
    seen: set[str] = field(default_factory=set)

    def take(self, source: Iterator[Candidate], count: int) -> int:
        """Choose up to `count` more of the source that may be shown; how many there were."""
        seen, denied, held, now_ms, left = self.seen, self.denied, self.held, self.now_ms, count
        for candidate in source if left else ():
            hint = candidate[0]
            query, is_personal = looked_at(hint.query)
            if query in seen:
                continue
            seen.add(query)
            if is_personal or query in denied:
                self.dropped += 1
            elif hint.held_until <= now_ms and held.get(query, 0) <= now_ms:
                self.chosen.append(candidate)
                left -= 1
                if not left:
                    break
        return count - left


def parse_lists(values: Any) -> tuple[list[HintList], int]:
    """LRANGE's reply as hint lists, and how many values are none."""
    if not isinstance(values, list):
        return [], 1
    lists: list[HintList] = []
    for value in values:
        try:
            lists.append(HintList.from_json(value))
        except CodecError:
            continue
    return lists, len(values) - len(lists)


def parse_entry(value: Any) -> tuple[tuple[Suggestion, ...], int]:
    """GET's reply as the queries of a Think entry, and 1 if it is none. Nothing there is no fault."""
    if value is None:
        return (), 0
    try:
        return ThinkEntry.model_validate_json(value).queries, 0
    except ValidationError:
        return (), 1


def parse_popular(value: Any) -> tuple[tuple[Suggestion, ...], int]:
    """GET's reply as a popular list, and 1 if it is none. Nothing there is no fault."""
    return ((), 0) if value is None else _popular(value)


def parse_pointer(value: Any) -> tuple[ThinkPointer | None, int]:
    """GET's reply as the pointer to the mapping versions, and 1 if it is none. Nothing there is no fault."""
    return (None, 0) if value is None else _pointer(value)


def parse_denied(members: Any) -> frozenset[str]:
    """SMEMBERS' reply as normalised queries; normalised again, since people add to this set by hand."""
    return frozenset(normalise_query(bytes(member).decode("utf-8", "replace")) for member in members)


@lru_cache(KEPT)
def _popular(value: Any) -> tuple[tuple[Suggestion, ...], int]:
    try:
        return PopularList.validate_json(value), 0
    except ValidationError:
        return (), 1


@lru_cache(KEPT)
def _pointer(value: Any) -> tuple[ThinkPointer | None, int]:
    try:
        return ThinkPointer.model_validate_json(value), 0
    except ValidationError:
        return None, 1
