"""What is served of Think right now: the versions in Redis, and a trigger's queries with their evidence."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import redis
from pydantic import ValidationError

from agents.think.mapping_files import read_mapping
from agents.think.version_folder import has_version, read_current, read_manifest, version_folders
from streams.errors import DatasetError, MappingError
from streams.query_text import normalise_query
from streams.redis_client import connect_redis_sync
from streams.redis_errors import store_errors
from streams.redis_keys import THINK_CURRENT, THINK_VERSIONS, think_key
from streams.settings import Settings
from streams.think_entry import Suggestion, ThinkEntry, ThinkPointer, mapping_for
from training.think.versions.served import Served, read_served

_DOING: Final = "What is served could not be read"


@dataclass(frozen=True, slots=True)
class ServedState:
    """pointer: as in Redis. stored: version → "whole" or "unfinished". folder, named, folders: of this
    machine."""

    pointer: dict[str, Any] | None
    stored: dict[str, str]
    folder: str
    named: str
    folders: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ServedQuery:
    """A query, and why it is there; proof: its line of evidence.jsonl, None where the folder has none."""

    query: str
    score: float
    category: str
    proof: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class ServedEntry:
    """What a trigger leads to; place: where it was read. trial: whether the version is the canary."""

    trigger: str
    version: str
    place: str
    trial: bool
    queries: tuple[ServedQuery, ...]


def served_state(settings: Settings) -> ServedState:
    """The pointer and the versions. Raises StoreError."""
    root = settings.think_dir
    with connect_redis_sync(settings) as client, store_errors(_DOING):
        pointer = _pointer(client)
        states: dict[bytes, bytes] = dict(client.hgetall(THINK_VERSIONS))
    stored = {name.decode(): "whole" if digest else "unfinished" for name, digest in sorted(states.items())}
    return ServedState(
        pointer=pointer.model_dump() if pointer else None,
        stored=stored,
        folder=str(root),
        named=_named(root),
        folders=tuple(version_folders(root)),
    )


def served_entry(
    settings: Settings, trigger: str, *, user: str = "", version: str | None = None
) -> ServedEntry:
    """What `user` sees for the trigger; `version`: what a version of the folder has, without Redis.

    Raises StoreError, MappingError.
    """
    root = settings.think_dir
    if version is not None:
        return _entry(root, trigger, version, str(root), False, _in_folder(root, version, trigger))
    with connect_redis_sync(settings) as client, store_errors(_DOING):
        pointer = _pointer(client)
        if pointer is None:
            raise MappingError("No mapping is served.", action="Run `aigq think load`.")
        seen = mapping_for(pointer, user)
        found = client.get(think_key(seen, trigger))
    queries = ThinkEntry.model_validate_json(bytes(found)).queries if found else ()
    return _entry(root, trigger, seen, "Redis", seen != pointer.version, queries)


def _entry(
    root: Path, trigger: str, version: str, place: str, trial: bool, queries: tuple[Suggestion, ...]
) -> ServedEntry:
    proofs = _proofs(root, version, trigger)
    shown = (
        ServedQuery(one.query, one.score, one.category, proofs.get(normalise_query(one.query)))
        for one in queries
    )
    return ServedEntry(trigger, version, place, trial, tuple(shown))


def _in_folder(root: Path, version: str, trigger: str) -> tuple[Suggestion, ...]:
    wanted = normalise_query(trigger)
    mapping = read_mapping(root, read_manifest(root, version))
    return next(
        (entry.queries for entry in mapping.entries() if normalise_query(entry.trigger) == wanted), ()
    )


def _proofs(root: Path, version: str, trigger: str) -> dict[str, dict[str, Any]]:
    """By query; nothing where the folder lacks the version or its evidence."""
    if not has_version(root, version):
        return {}
    try:
        lines: list[Served] = list(read_served(root, version, trigger))
    except DatasetError:
        return {}
    return {normalise_query(one.query): one.model_dump() for one in lines}


def _pointer(client: redis.Redis) -> ThinkPointer | None:
    try:
        return ThinkPointer.model_validate_json(client.get(THINK_CURRENT) or b"")
    except ValidationError:
        return None


def _named(root: Path) -> str:
    try:
        return read_current(root)
    except MappingError:
        return ""
