"""What could be wrong in the lines that are served: a version's entries and its popular list."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

from pydantic import ValidationError

from agents.think.version_folder import MAPPING_FILE, POPULAR_FILE
from streams.query_text import normalise_query
from streams.think_entry import PopularList, Suggestion, ThinkEntry
from training.think.points import TEXT_MAX
from training.think.versions.findings import Findings


def lint_entries(folder: Path, found: Findings) -> None:
    """Look at each line of the mapping, and whether a trigger stands there twice."""
    seen: set[str] = set()
    for number, line in _lines(folder):
        where = f"{folder.name}/{MAPPING_FILE} line {number}"
        try:
            entry = ThinkEntry.model_validate_json(line)
        except ValidationError as error:
            found.add("problem", "line", where, str(error.errors(include_url=False)[0]["msg"]))
            continue
        trigger = normalise_query(entry.trigger)
        if not trigger or trigger in seen:
            found.add("problem", "trigger_twice", where, f"{entry.trigger!r} is empty or was there before")
        seen.add(trigger)
        _entry(where, entry, found)


def sound_entries(folder: Path) -> Iterator[ThinkEntry]:
    """The lines that are entries, one at a time."""
    for _, line in _lines(folder):
        try:
            yield ThinkEntry.model_validate_json(line)
        except ValidationError:
            continue


def lint_popular(folder: Path, found: Findings) -> None:
    """Look at the popular list."""
    where = f"{folder.name}/{POPULAR_FILE}"
    try:
        popular = PopularList.validate_json((folder / POPULAR_FILE).read_bytes())
    except (OSError, ValidationError):
        return  # not loadable; said before
    if not popular:
        found.add("warning", "popular_empty", where, "whoever has no hints of their own is shown none")
    _suggestions(where, popular, found)


def _entry(where: str, entry: ThinkEntry, found: Findings) -> None:
    if not entry.queries:
        found.add("warning", "no_queries", where, f"{entry.trigger!r} leads to nothing")
    _suggestions(where, entry.queries, found)
    if normalise_query(entry.trigger) in {normalise_query(one.query) for one in entry.queries}:
        found.add("problem", "leads_to_itself", where, f"{entry.trigger!r} is among its own queries")
    _text(where, entry.trigger, found)


def _suggestions(where: str, queries: Sequence[Suggestion], found: Findings) -> None:
    names = [normalise_query(one.query) for one in queries]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        found.add("problem", "query_twice", where, f"{twice!r} stands there twice")
    for one in queries:
        _text(where, one.query, found)
        if not 0 <= one.score <= 1:
            found.add("problem", "score", where, f"{one.query!r} has the score {one.score}, not 0 to 1")
    if any(left.score < right.score for left, right in pairwise(queries)):
        found.add("problem", "order", where, "the best does not stand first")


def _text(where: str, text: str, found: Findings) -> None:
    if len(text) > TEXT_MAX:
        found.add("problem", "text_long", where, f"a text has {len(text)} characters, over {TEXT_MAX}")
    if not text.strip() or not text.isprintable():
        found.add("problem", "text_unprintable", where, f"{text[:40]!r} is empty or has control characters")


def _lines(folder: Path) -> Iterator[tuple[int, bytes]]:
    """Numbered; none where there is no such file, which is said elsewhere."""
    path = folder / MAPPING_FILE
    if path.is_file():
        with path.open("rb") as file:
            yield from enumerate(file, 1)
