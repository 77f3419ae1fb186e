"""Load a Think mapping version into Redis, so that a reader sees the old one or the new one, whole.

Entries go under keys of their own version, which nobody reads yet; then pointer and popular list are
swapped in one transaction. The version before stays for a rollback, a canary for its users, older ones are
deleted by their index of triggers. A faulty folder changes nothing.

Several workers may load at once: a lock with a short life lets one of them. A second call for a version
that is being served looks at a few numbers and at a sample of its entries, and fills in what Redis lost.
What people decided since (`aigq think promote|rollback|canary`) stands: see `agents.think.choices`.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Final

import redis.asyncio

from agents.think.choices import Stored, decided_since, follow, is_held, protected
from agents.think.entries import Pace, Report, remove_version, write_version
from agents.think.lease import LOCK_S, Lease, leased
from agents.think.mapping_files import Mapping, read_mapping
from agents.think.room import check_room
from agents.think.stored import (
    POPULAR_TTL_S,
    count_entries,
    has_entries,
    known_versions,
    read_pointer,
    read_stored,
    swap,
)
from agents.think.trust import check_trusted
from agents.think.version_folder import (
    MAPPING_FILE,
    POPULAR_FILE,
    Manifest,
    has_version,
    read_manifest,
)
from streams.errors import MappingError
from streams.redis_errors import store_errors
from streams.redis_keys import popular_key, think_popular_key
from streams.signed_manifests import Trusted
from streams.think_entry import ThinkPointer

_DOING: Final = "The Think mapping could not be loaded; the version that is served stays"


class LoadOutcome(StrEnum):
    """What a load did."""

    LOADED = "loaded"  # a new version is served, or a damaged one was filled in
    UNCHANGED = "unchanged"  # the version was served already, and whole
    BUSY = "busy"  # another worker is loading; look again later
    HELD = "held"  # people decided against the version that the folder names; theirs is served on
    STAGED = "staged"  # in Redis as a whole, not served: only that was asked, or people decided meanwhile


@dataclass(frozen=True, slots=True)
class LoadReport:
    """What a load did. previous: what a rollback finds; removed: versions whose entries were deleted;
    left_out: queries that were not written, since nobody may be shown them."""

    outcome: LoadOutcome
    version: str
    triggers: int = 0
    popular: int = 0
    previous: str | None = None
    removed: tuple[str, ...] = ()
    left_out: int = 0

    @property
    def loaded(self) -> bool:
        """Whether Redis was changed."""
        return self.outcome is LoadOutcome.LOADED


@dataclass(frozen=True, slots=True)
class LoadOptions:
    """popular_ttl_s: life of the popular list. lock_s: how long a dead loader keeps the others waiting.

    trusted: whose signatures are wanted; None: nobody's.
    """

    pace: Pace = field(default_factory=Pace)
    popular_ttl_s: int = POPULAR_TTL_S
    lock_s: float = LOCK_S
    report: Report = lambda _done, _note: None
    trusted: Trusted = None


_DEFAULTS: Final = LoadOptions()


async def load_mapping(
    client: redis.asyncio.Redis, folder: Path, options: LoadOptions = _DEFAULTS
) -> LoadReport:
    """Serve the version that ``folder/current.json`` names, unless people decided otherwise since.

    A canary and a version chosen by people are filled in from the folder, if it has them.
    Raises MappingError (the folder is faulty) and StoreError; what was served is served on.
    """
    manifest = await asyncio.to_thread(read_manifest, folder)
    with store_errors(_DOING):
        pointer = await read_pointer(client)
    held = is_held(pointer, manifest.version)
    if pointer and held:
        if not has_version(folder, pointer.version):
            return _told(LoadOutcome.HELD, pointer)
        manifest = await asyncio.to_thread(read_manifest, folder, pointer.version)
    _check_same_content(pointer, manifest)
    with store_errors(_DOING):
        if pointer and await _is_served_whole(client, pointer, manifest, options.popular_ttl_s):
            await _keep_canary(client, folder, pointer, options)
            return _told(LoadOutcome.HELD if held else LoadOutcome.UNCHANGED, pointer)
    return await _serve(client, folder, pointer, manifest, options)


async def stage_mapping(
    client: redis.asyncio.Redis, folder: Path, version: str, options: LoadOptions = _DEFAULTS
) -> LoadReport:
    """Bring a version into Redis as a whole, without serving it. Raises as `load_mapping`."""
    manifest = await asyncio.to_thread(read_manifest, folder, version)
    check_trusted(folder, manifest, options.trusted)
    left_out = 0
    with store_errors(_DOING):
        _check_same_content(await read_pointer(client), manifest)
        mapping = await _to_write(client, folder, manifest)
        if mapping is not None:
            async with leased(client, options.lock_s) as lease:
                if lease is None:
                    return _report(LoadOutcome.BUSY, manifest)
                if not await is_staged(client, manifest):  # another was quicker
                    left_out = await write_version(client, mapping, lease, options.pace, options.report)
    return replace(_report(LoadOutcome.STAGED, manifest), left_out=left_out)


async def is_staged(client: redis.asyncio.Redis, manifest: Manifest) -> bool:
    """Whether this content is in Redis as a whole."""
    stored = await read_stored(client, manifest.version)
    if stored is None or stored.digest != manifest.digest:
        return False
    has_popular = await client.exists(think_popular_key(manifest.version))
    return bool(has_popular) and await has_entries(client, manifest.version, manifest.triggers)


async def _serve(
    client: redis.asyncio.Redis,
    folder: Path,
    seen: ThinkPointer | None,
    manifest: Manifest,
    options: LoadOptions,
) -> LoadReport:
    stored = Stored(manifest.version, manifest.digest, manifest.triggers)

    def decide(pointer: ThinkPointer | None) -> ThinkPointer:
        return pointer if pointer and decided_since(seen, pointer) else follow(pointer, stored)

    check_trusted(folder, manifest, options.trusted)
    left_out = 0
    with store_errors(_DOING):
        mapping = await _to_write(client, folder, manifest)
        async with leased(client, options.lock_s) as lease:
            if lease is None:
                return _report(LoadOutcome.BUSY, manifest)
            _check_same_content(await read_pointer(client), manifest)
            if mapping is not None and not await is_staged(client, manifest):
                left_out = await write_version(client, mapping, lease, options.pace, options.report)
            pointer = await swap(client, decide, popular_ttl_s=options.popular_ttl_s)
            if is_held(pointer, manifest.version):
                return _told(LoadOutcome.HELD, pointer)
            if pointer.version != manifest.version:
                return _report(LoadOutcome.STAGED, manifest)
            removed = await _remove_old(client, lease, options.pace)
    report = _report(LoadOutcome.LOADED, manifest)
    return replace(report, previous=pointer.previous, removed=removed, left_out=left_out)


async def _to_write(client: redis.asyncio.Redis, folder: Path, manifest: Manifest) -> Mapping | None:
    """The version, checked, if it is not in Redis as a whole and there is room for it."""
    if await is_staged(client, manifest):
        return None
    path = folder / manifest.version / MAPPING_FILE
    file_bytes = path.stat().st_size if path.is_file() else 0  # none: reading it says so
    missing = 1 - await count_entries(client, manifest.version) / max(manifest.triggers, 1)
    await check_room(client, manifest.version, file_bytes * max(0.0, missing))
    return await asyncio.to_thread(read_mapping, folder, manifest)


async def _is_served_whole(
    client: redis.asyncio.Redis, pointer: ThinkPointer, manifest: Manifest, popular_ttl_s: int
) -> bool:
    """Whether the version is served with all its entries; also prolongs the popular list's life."""
    if pointer.version != manifest.version:
        return False
    has_popular = await client.expire(popular_key(), popular_ttl_s)
    return bool(has_popular) and await is_staged(client, manifest)


async def _keep_canary(
    client: redis.asyncio.Redis, folder: Path, pointer: ThinkPointer, options: LoadOptions
) -> None:
    """Fill in what Redis lost of the canary, if the folder has that very content."""
    canary = pointer.canary
    if canary is None or not has_version(folder, canary.version):
        return
    manifest = await asyncio.to_thread(read_manifest, folder, canary.version)
    if manifest.digest == canary.digest:
        await stage_mapping(client, folder, canary.version, options)


async def _remove_old(client: redis.asyncio.Redis, lease: Lease, pace: Pace) -> tuple[str, ...]:
    keep = protected(await read_pointer(client))
    old = [version for version in sorted(await known_versions(client)) if version not in keep]
    return tuple([one for one in old if await remove_version(client, one, lease, pace)])


def _check_same_content(pointer: ThinkPointer | None, manifest: Manifest) -> None:
    served = {one.version: one.digest for one in (pointer, pointer and pointer.canary) if one}
    if served.get(manifest.version, manifest.digest) != manifest.digest:
        raise MappingError(
            f"Think mapping {manifest.version} is served with other content. Nothing was changed.",
            action="A version never changes: give the new content a new version.",
        )


def _report(outcome: LoadOutcome, manifest: Manifest) -> LoadReport:
    popular = manifest.files[POPULAR_FILE].count
    return LoadReport(outcome, manifest.version, manifest.triggers, popular)


def _told(outcome: LoadOutcome, pointer: ThinkPointer) -> LoadReport:
    return LoadReport(outcome, pointer.version, pointer.triggers, previous=pointer.previous)
