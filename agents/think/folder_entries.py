"""What a mapping version in a folder says for triggers: for offline replay and evaluation, without Redis."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from agents.think.mapping_files import Mapping, read_mapping
from agents.think.version_folder import read_manifest
from streams.query_text import normalise_query
from streams.think_entry import Suggestion
from streams.think_merge import TriggerEntries


@dataclass(frozen=True, slots=True)
class FolderEntries:
    """entries: by trigger in normal form. popular: the version's list for everybody."""

    mapping: str
    entries: dict[str, tuple[Suggestion, ...]]
    popular: tuple[Suggestion, ...] = ()

    def of(self, triggers: tuple[str, ...]) -> TriggerEntries:
        """What a reader would find for these triggers, newest first."""
        found = tuple(self.entries.get(normalise_query(one), ()) for one in triggers)
        return TriggerEntries(self.mapping, triggers, found)

    def has(self, trigger: str) -> bool:
        """Whether the version has an entry for it."""
        return normalise_query(trigger) in self.entries


def open_version(path: Path) -> Mapping:
    """The version in FOLDER/version, or that which FOLDER/current.json names, gone through and found sound.

    Raises MappingError.
    """
    if (path / "manifest.json").is_file():
        return read_mapping(path.parent, read_manifest(path.parent, path.name))
    return read_mapping(path, read_manifest(path))


def folder_entries(path: Path, triggers: Collection[str] | None = None) -> FolderEntries:
    """The entries of these triggers, or of all. Only what was asked for is held. Raises MappingError."""
    mapping = open_version(path)
    wanted = None if triggers is None else {normalise_query(one) for one in triggers}
    keyed = ((normalise_query(entry.trigger), entry.queries) for entry in mapping.entries())
    entries = {trigger: queries for trigger, queries in keyed if wanted is None or trigger in wanted}
    return FolderEntries(mapping.manifest.version, entries, mapping.popular)
