"""What a reader answers, and how the tiers of hints become one list. Pure: values in, values out.

Order: the user's newest run, the user's older runs, Think for the latest triggers, popular, pinned; but some
places are Think's (streams.think_merge), with what the user's own lists do not hold. The first time a query
comes up counts; denied queries never do, nor what the user just did.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from pydantic import ValidationError

from streams.errors import CodecError
from streams.hint_list import Hint, HintList, Source
from streams.personal_data import is_personal
from streams.query_text import normalise_query
from streams.think_entry import PopularList, Suggestion, ThinkEntry, ThinkPointer
from streams.think_merge import TriggerEntries, in_turn, is_thinks


class Candidate(NamedTuple):
    """A hint and the list it comes from; empty `list_id`: Think, popular or pinned at reading time."""

    hint: Hint
    list_id: str


@dataclass(frozen=True, slots=True)
class Tiers:
    """Where a page's hints come from, each best first. own: the user's lists; rest: popular and pinned.

    held: query in normal form to epoch ms, what the user just did. think and rest are taken from as far as
    the page needs them: most of what they could give never becomes a hint.
    """

    own: Sequence[Candidate] = ()
    think: Iterable[Candidate] = ()
    rest: Iterable[Candidate] = ()
    held: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class HintAnswer:
    """Hints for a user, best first, and what they rest on.

    list_ids: aligned with `hints`; "" where a hint comes from no list of the user. version, as_of
    (event-time ms), age_ms (wall clock since the newest list was generated): of the newest list;
    "" and None for a user without one. triggers: what Think was asked for, newest first. mapping: the
    version that this user sees. denied: hints left out for the deny set, or as
    personal data. malformed: values in Redis that are none of ours.
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
        for hint in one.hints:
            if hint.source != "think" or not hint.mapping or hint.mapping == mapping:
                yield Candidate(hint, one.list_id)


def opened(found: TriggerEntries) -> Iterator[Candidate]:
    """Think's hints for the latest triggers."""
    for trigger, one in in_turn(found):
        hint = Hint(query=one.query, score=one.score, source="think", why=trigger, mapping=found.mapping)
        yield Candidate(hint, "")


def suggested(suggestions: Iterable[Suggestion], source: Source) -> Iterator[Candidate]:
    """Suggestions as hints of `source`."""
    for one in suggestions:
        yield Candidate(Hint(query=one.query, score=one.score, source=source), "")


def merge(
    tiers: Tiers, denied: AbstractSet[str], limit: int, now_ms: int, *, think_places: int = 0
) -> tuple[list[Candidate], int]:
    """At most `limit` candidates without duplicates, held and denied ones, and how many were denied.

    `denied` holds normalised queries. A query that is held in the newest list is held in every tier.
    """
    page = _Page(denied, tiers.held, now_ms)
    mine = {normalise_query(one.hint.query) for one in tiers.own}
    other = (one for one in tiers.think if normalise_query(one.hint.query) not in mine)
    own, rest = iter(tiers.own), iter(tiers.rest)
    for place in range(limit):
        order = (other, own, rest) if is_thinks(place, think_places) else (own, other, rest)
        if not any(page.takes_of(source) for source in order):
            break
    return page.chosen, page.dropped


@dataclass(slots=True)
class _Page:
    """What was chosen so far, and what may not be."""

    denied: AbstractSet[str]
    held: Mapping[str, int]
    now_ms: int
    chosen: list[Candidate] = field(default_factory=list)
    dropped: int = 0
    _seen: set[str] = field(default_factory=set)

    def takes_of(self, source: Iterator[Candidate]) -> bool:
        """Whether the source had one more that may be shown; it is chosen then."""
        for candidate in source:
            query = normalise_query(candidate.hint.query)
            if query in self._seen:
                continue
            self._seen.add(query)
            if query in self.denied or is_personal(query):
                self.dropped += 1
            elif max(candidate.hint.held_until, self.held.get(query, 0)) <= self.now_ms:
                self.chosen.append(candidate)
                return True
        return False


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
    if value is None:
        return (), 0
    try:
        return PopularList.validate_json(value), 0
    except ValidationError:
        return (), 1


def parse_pointer(value: Any) -> tuple[ThinkPointer | None, int]:
    """GET's reply as the pointer to the mapping versions, and 1 if it is none. Nothing there is no fault."""
    if value is None:
        return None, 0
    try:
        return ThinkPointer.model_validate_json(value), 0
    except ValidationError:
        return None, 1


def parse_denied(members: Any) -> frozenset[str]:
    """SMEMBERS' reply as normalised queries; normalised again, since people add to this set by hand."""
    return frozenset(normalise_query(bytes(member).decode("utf-8", "replace")) for member in members)
