"""What a reader answers, and how the tiers of hints become one list. Pure: values in, values out.

Order: the user's newest run, the user's older runs, Think for the latest trigger, popular, pinned.
The first time a query comes up counts; denied queries never do.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any, NamedTuple

from pydantic import ValidationError

from streams.errors import CodecError
from streams.hint_list import Hint, HintList, Source
from streams.query_text import normalise_query
from streams.think_entry import PopularList, Suggestion, ThinkEntry, ThinkPointer


class Candidate(NamedTuple):
    """A hint and the list it comes from; empty `list_id`: Think, popular or pinned at reading time."""

    hint: Hint
    list_id: str


@dataclass(frozen=True, slots=True)
class HintAnswer:
    """Hints for a user, best first, and what they rest on.

    list_ids: aligned with `hints`; "" where a hint comes from no list of the user. version, as_of
    (event-time ms), age_ms (wall clock since the newest list was generated): of the newest list;
    "" and None for a user without one. trigger: what Think was asked for. mapping: the version it
    came from. denied: hints left out for the deny set. malformed: values in Redis that are none of ours.
    """

    hints: tuple[Hint, ...]
    list_ids: tuple[str, ...]
    list_id: str = ""
    version: str = ""
    as_of: int | None = None
    age_ms: int | None = None
    trigger: str = ""
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


def personal(lists: Sequence[HintList]) -> Iterator[Candidate]:
    """The user's own hints, newest run first."""
    return (Candidate(hint, one.list_id) for one in lists for hint in one.hints)


def suggested(suggestions: Iterable[Suggestion], source: Source, why: str = "") -> Iterator[Candidate]:
    """Suggestions as hints of `source`."""
    for one in suggestions:
        yield Candidate(Hint(query=one.query, score=one.score, source=source, why=why), "")


def merge(
    candidates: Iterable[Candidate], denied: AbstractSet[str], limit: int, now_ms: int
) -> tuple[list[Candidate], int]:
    """The first `limit` candidates without duplicates, held and denied ones, and how many were denied.

    `denied` holds normalised queries. A query that is held in the newest list is held in every tier.
    """
    chosen: list[Candidate] = []
    seen: set[str] = set()
    dropped = 0
    for candidate in candidates:
        if len(chosen) >= limit:
            break
        query = normalise_query(candidate.hint.query)
        if query in seen:
            continue
        seen.add(query)
        if query in denied:
            dropped += 1
        elif candidate.hint.held_until <= now_ms:
            chosen.append(candidate)
    return chosen, dropped


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


def parse_pointer(value: Any) -> tuple[str, int]:
    """GET's reply as the mapping version in use ("": none), and 1 if it is no pointer."""
    if value is None:
        return "", 0
    try:
        return ThinkPointer.model_validate_json(value).version, 0
    except ValidationError:
        return "", 1


def parse_denied(members: Any) -> frozenset[str]:
    """SMEMBERS' reply as normalised queries; normalised again, since people add to this set by hand."""
    return frozenset(normalise_query(bytes(member).decode("utf-8", "replace")) for member in members)
