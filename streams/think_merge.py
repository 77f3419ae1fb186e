"""How Think's entries of several triggers become one list, and which places of a page are Think's. Pure.

Entries take turns, the newest trigger's first: the best query of each, then the second of each, and so on.
Scores of different entries are not compared. A trigger itself is no suggestion: the user just did it.

A page begins with OWN_FIRST hints of the user's own. Of the seven places after these, and of each seven that
follow, `think_places` are Think's, as evenly spread as can be; so the first hints of a longer page are the
hints of a shorter one. Where one of the two has nothing left, the other goes on.

The paper merges in its shop's ranking stack (§4.2) and says no more; all of this is ours. Measured on
November (docs/log.md): without a place, Think does not reach a page of ten; each further one costs recall.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from streams.query_text import normalise_query
from streams.think_entry import Suggestion

TRIGGERS_READ: Final = 5
OWN_FIRST: Final = 3
THINK_PLACES: Final = 1
PLACES_EACH: Final = 7  # a page of ten without the first three


@dataclass(frozen=True, slots=True)
class TriggerEntries:
    """What a mapping version says for a user's latest triggers, newest first; () where it has no entry."""

    mapping: str = ""
    triggers: tuple[str, ...] = ()
    entries: tuple[tuple[Suggestion, ...], ...] = ()


class Suggested(NamedTuple):
    """A query and the trigger that led to it."""

    trigger: str
    suggestion: Suggestion


def latest_triggers(texts: Iterable[str], count: int = TRIGGERS_READ) -> tuple[str, ...]:
    """The first `count` texts that differ in normal form, as they are; empty ones are none.

    >>> latest_triggers(["Milk", "", "milk ", "eggs"])
    ('Milk', 'eggs')
    """
    found: dict[str, str] = {}
    for text in texts:
        if len(found) == count:
            break
        normal = normalise_query(text)
        if normal:
            found.setdefault(normal, text)
    return tuple(found.values())


def in_turn(found: TriggerEntries) -> Iterator[Suggested]:
    """The entries as one list, best first: see the module. No query twice."""
    seen = {normalise_query(trigger) for trigger in found.triggers}
    for place in range(max(map(len, found.entries), default=0)):
        for trigger, entry in zip(found.triggers, found.entries, strict=True):
            query = entry[place].normal if place < len(entry) else ""
            if query and query not in seen:
                seen.add(query)
                yield Suggested(trigger, entry[place])


def is_thinks(place: int, think_places: int) -> bool:
    """Whether the place, counted from 0, is Think's.

    >>> [place for place in range(17) if is_thinks(place, 1)], [p for p in range(10) if is_thinks(p, 2)]
    ([9, 16], [6, 9])
    """
    after = place - OWN_FIRST
    return after >= 0 and (after + 1) * think_places // PLACES_EACH > after * think_places // PLACES_EACH


def has_think_place(places: Sequence[int] | range, think_places: int) -> bool:
    """Whether one of the places is Think's."""
    return any(is_thinks(place, think_places) for place in places)
