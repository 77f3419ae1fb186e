"""What another version would change: coverage, what is new, what is gone, what changed most.

    change(x) = 1 − mean over d = 1 … k of |first d of A's list ∩ first d of B's| / d,   k = longer list

(one minus average overlap, Fagin, Kumar, Sivakumar 2003): 0 for equal lists, 1 for lists with nothing in
common, and the first places count most. For triggers of both versions alone; new and gone ones are counted.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from agents.think.mapping_files import Mapping, read_mapping
from agents.think.version_folder import read_manifest
from streams.query_text import normalise_query

LIMIT: Final = 10


@dataclass(frozen=True, slots=True)
class Coverage:
    """What a version has. categories: of its queries, as far as they are known."""

    version: str
    triggers: int
    entries: int
    queries: int
    categories: int
    popular: int


@dataclass(frozen=True, slots=True)
class Changed:
    """A trigger of both versions whose list differs; change: 0 to 1."""

    trigger: str
    change: float
    before: tuple[str, ...]
    after: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class VersionDiff:
    """From `before` to `after`. The counts are of all, the lists hold the first of them.

    mean_change: over the triggers of both versions. new_entries, gone_entries: pairs of trigger and query.
    """

    before: Coverage
    after: Coverage
    new_triggers: int
    gone_triggers: int
    kept_triggers: int
    unchanged_triggers: int
    mean_change: float
    new_entries: int
    gone_entries: int
    new_queries: int
    gone_queries: int
    new_popular: tuple[str, ...]
    gone_popular: tuple[str, ...]
    new: tuple[str, ...]
    gone: tuple[str, ...]
    changed_most: tuple[Changed, ...]


@dataclass(frozen=True, slots=True)
class VersionLists:
    """A version's lists by the normal form of the trigger."""

    coverage: Coverage
    lists: dict[str, tuple[str, ...]]
    popular: tuple[str, ...]

    @property
    def queries(self) -> set[str]:
        return {query for found in self.lists.values() for query in found}


def diff_versions(root: Path, before: str, after: str, limit: int = LIMIT) -> VersionDiff:
    """Compare two versions of a folder; both are checked as a loader would. Raises MappingError."""
    return diff(_read(root, before), _read(root, after), limit)


def diff(old: VersionLists, new: VersionLists, limit: int) -> VersionDiff:
    """Compare two versions that were read; lists of at most `limit`."""
    kept = old.lists.keys() & new.lists.keys()
    changed = [
        Changed(trigger, round(change(old.lists[trigger], new.lists[trigger]), 4), old.lists[trigger], found)
        for trigger, found in new.lists.items()
        if trigger in kept and found != old.lists[trigger]
    ]
    changed.sort(key=lambda one: (-one.change, one.trigger))
    old_pairs, new_pairs = _pairs(old), _pairs(new)
    return VersionDiff(
        before=old.coverage,
        after=new.coverage,
        new_triggers=len(new.lists.keys() - kept),
        gone_triggers=len(old.lists.keys() - kept),
        kept_triggers=len(kept),
        unchanged_triggers=len(kept) - len(changed),
        mean_change=round(sum(one.change for one in changed) / max(len(kept), 1), 4),
        new_entries=len(new_pairs - old_pairs),
        gone_entries=len(old_pairs - new_pairs),
        new_queries=len(new.queries - old.queries),
        gone_queries=len(old.queries - new.queries),
        new_popular=_without(new.popular, old.popular),
        gone_popular=_without(old.popular, new.popular),
        new=tuple(sorted(new.lists.keys() - kept)[:limit]),
        gone=tuple(sorted(old.lists.keys() - kept)[:limit]),
        changed_most=tuple(changed[:limit]),
    )


def change(before: Sequence[str], after: Sequence[str]) -> float:
    """How much a list changed, 0 to 1; see the module. Two empty lists are equal."""
    longest = max(len(before), len(after))
    if not longest:
        return 0.0
    shared = (len(set(before[:depth]) & set(after[:depth])) / depth for depth in range(1, longest + 1))
    return 1 - sum(shared) / longest


def _read(root: Path, version: str) -> VersionLists:
    mapping = read_mapping(root, read_manifest(root, version))
    lists, categories = _lists(mapping)
    found = {query for one in lists.values() for query in one}
    coverage = Coverage(
        version=version,
        triggers=len(lists),
        entries=sum(len(one) for one in lists.values()),
        queries=len(found),
        categories=len(categories),
        popular=len(mapping.popular),
    )
    return VersionLists(coverage, lists, tuple(normalise_query(one.query) for one in mapping.popular))


def _lists(mapping: Mapping) -> tuple[dict[str, tuple[str, ...]], set[str]]:
    lists: dict[str, tuple[str, ...]] = {}
    categories: set[str] = set()
    for entry in mapping.entries():
        lists[normalise_query(entry.trigger)] = tuple(normalise_query(one.query) for one in entry.queries)
        categories.update(one.category for one in entry.queries if one.category)
    return lists, categories


def _pairs(version: VersionLists) -> set[tuple[str, str]]:
    return {(trigger, query) for trigger, found in version.lists.items() for query in found}


def _without(values: Sequence[str], others: Iterable[str]) -> tuple[str, ...]:
    seen = set(others)
    return tuple(value for value in values if value not in seen)
