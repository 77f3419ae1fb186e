"""Load a Think mapping version into Redis, so that a reader sees the old one or the new one, whole.

Entries go under keys of their own version, which nobody reads yet; then pointer and popular list are
swapped in one transaction. The version before stays for a rollback (name it in ``current.json`` again),
older ones are deleted by their index of triggers. A faulty folder changes nothing.

Several workers may load at once: a lock with a short life lets one of them. A second call for a version
that is being served looks at a few numbers and at a sample of its entries, and fills in what Redis lost.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice
from pathlib import Path
from typing import Any, Final

import orjson
import redis.asyncio
from pydantic import ValidationError
from redis.asyncio.lock import Lock
from redis.exceptions import RedisError

from agents.think.mapping_files import Manifest, Mapping, read_manifest, read_mapping
from streams.errors import MappingError
from streams.query_text import normalise_query
from streams.redis_errors import store_errors
from streams.redis_keys import (
    THINK_CURRENT,
    THINK_LOCK,
    THINK_VERSIONS,
    popular_key,
    think_index_key,
    think_key,
)
from streams.think_entry import PopularList, ThinkEntry, ThinkPointer

BATCH: Final = 500
SAMPLE: Final = 100
LOCK_S: Final = 60.0
POPULAR_TTL_S: Final = 30 * 86_400
# In THINK_VERSIONS in place of the digest, until all entries are written.
UNFINISHED: Final = ""
_DOING: Final = "The Think mapping could not be loaded; the version that is served stays"


class LoadOutcome(StrEnum):
    """What a load did."""

    LOADED = "loaded"  # a new version is served, or a damaged one was filled in
    UNCHANGED = "unchanged"  # the version was served already, and whole
    BUSY = "busy"  # another worker is loading; look again later


@dataclass(frozen=True, slots=True)
class LoadReport:
    """What a load did. previous: what a rollback finds; removed: versions whose entries were deleted."""

    outcome: LoadOutcome
    version: str
    triggers: int = 0
    popular: int = 0
    previous: str | None = None
    removed: tuple[str, ...] = ()

    @property
    def loaded(self) -> bool:
        """Whether Redis was changed."""
        return self.outcome is LoadOutcome.LOADED


async def load_mapping(
    client: redis.asyncio.Redis, folder: Path, *, batch: int = BATCH, popular_ttl_s: int = POPULAR_TTL_S
) -> LoadReport:
    """Serve the version that ``folder/current.json`` names; `batch` entries a round trip.

    Raises MappingError (the folder is faulty) and StoreError; what was served is served on.
    """
    manifest = await asyncio.to_thread(read_manifest, folder)
    with store_errors(_DOING):
        pointer = await _read_pointer(client)
        _check_same_content(pointer, manifest)
        if await _is_whole(client, pointer, manifest, popular_ttl_s):
            previous = pointer.previous if pointer else None
            return LoadReport(LoadOutcome.UNCHANGED, manifest.version, manifest.triggers, previous=previous)
    mapping = await asyncio.to_thread(read_mapping, folder, manifest)
    with store_errors(_DOING):
        async with _lock(client) as lock:
            if lock is None:
                return LoadReport(LoadOutcome.BUSY, manifest.version, manifest.triggers)
            return await _load(client, mapping, lock, batch, popular_ttl_s)


async def _load(
    client: redis.asyncio.Redis, mapping: Mapping, lock: Lock, batch: int, popular_ttl_s: int
) -> LoadReport:
    manifest = mapping.manifest
    pointer = await _read_pointer(client)
    _check_same_content(pointer, manifest)
    if pointer is None or pointer.version != manifest.version:
        await _make_room(client, manifest, lock, batch)
    await _write_entries(client, mapping, lock, batch)
    previous = _previous(pointer, manifest.version)
    await lock.reacquire()
    await _swap(client, mapping, previous, popular_ttl_s)
    removed = await _remove_old(client, {manifest.version, previous}, lock, batch)
    return LoadReport(
        LoadOutcome.LOADED, manifest.version, manifest.triggers, len(mapping.popular), previous, removed
    )


def _previous(pointer: ThinkPointer | None, version: str) -> str | None:
    if pointer is None:
        return None
    return pointer.previous if pointer.version == version else pointer.version


def _check_same_content(pointer: ThinkPointer | None, manifest: Manifest) -> None:
    if pointer and pointer.version == manifest.version and pointer.digest != manifest.digest:
        raise MappingError(
            f"Think mapping {manifest.version} is served with other content. Nothing was changed.",
            action="A version never changes: give the new content a new version.",
        )


async def _read_pointer(client: redis.asyncio.Redis) -> ThinkPointer | None:
    try:
        return ThinkPointer.model_validate_json(await client.get(THINK_CURRENT) or b"")
    except ValidationError:
        return None  # nothing yet, or none of ours: it is replaced


async def _is_whole(
    client: redis.asyncio.Redis, pointer: ThinkPointer | None, manifest: Manifest, popular_ttl_s: int
) -> bool:
    """Whether the version is served with all its entries; also prolongs the popular list's life."""
    if pointer is None or pointer.version != manifest.version:
        return False
    index = think_index_key(manifest.version)
    async with client.pipeline(transaction=False) as pipe:
        pipe.scard(index)
        pipe.expire(popular_key(), popular_ttl_s)
        pipe.srandmember(index, SAMPLE)
        triggers, has_popular, sample = await pipe.execute()
    keys = [think_key(manifest.version, _text(trigger)) for trigger in sample]
    present = await client.exists(*keys) if keys else 0
    return bool(triggers == manifest.triggers and has_popular and present == len(keys))


async def _make_room(client: redis.asyncio.Redis, manifest: Manifest, lock: Lock, batch: int) -> None:
    """Clear what an unfinished load, or other content of this name, left under a version not served."""
    known = await client.hget(THINK_VERSIONS, manifest.version)
    if known is None or _text(known) != manifest.digest:
        await _remove_version(client, manifest.version, lock, batch)
        await client.hset(THINK_VERSIONS, manifest.version, UNFINISHED)


async def _write_entries(client: redis.asyncio.Redis, mapping: Mapping, lock: Lock, batch: int) -> None:
    for entries in _batches(mapping.entries(), batch):
        await lock.reacquire()
        await _write_batch(client, mapping.manifest.version, entries)


async def _write_batch(client: redis.asyncio.Redis, version: str, entries: Sequence[ThinkEntry]) -> None:
    index = think_index_key(version)
    async with client.pipeline(transaction=False) as pipe:
        pipe.sadd(index, *(normalise_query(entry.trigger) for entry in entries))
        for entry in entries:
            pipe.set(think_key(version, entry.trigger), orjson.dumps(entry.model_dump(exclude_none=True)))
        await pipe.execute()


async def _swap(
    client: redis.asyncio.Redis, mapping: Mapping, previous: str | None, popular_ttl_s: int
) -> None:
    manifest = mapping.manifest
    pointer = ThinkPointer(
        version=manifest.version, digest=manifest.digest, triggers=manifest.triggers, previous=previous
    )
    popular = PopularList.dump_json(mapping.popular, exclude_none=True)
    async with client.pipeline(transaction=True) as pipe:
        pipe.hset(THINK_VERSIONS, manifest.version, manifest.digest)
        pipe.set(popular_key(), popular, ex=popular_ttl_s)
        pipe.set(THINK_CURRENT, orjson.dumps(pointer.model_dump()))
        await pipe.execute()


async def _remove_old(
    client: redis.asyncio.Redis, keep: set[str | None], lock: Lock, batch: int
) -> tuple[str, ...]:
    known = sorted(_text(version) for version in await client.hkeys(THINK_VERSIONS))
    old = tuple(version for version in known if version not in keep)
    for version in old:
        await _remove_version(client, version, lock, batch)
    return old


async def _remove_version(client: redis.asyncio.Redis, version: str, lock: Lock, batch: int) -> None:
    """Delete a version's entries by its index, so that a cut in the middle leaves nothing behind."""
    index = think_index_key(version)
    while triggers := await client.srandmember(index, batch):
        await lock.reacquire()
        async with client.pipeline(transaction=True) as pipe:
            pipe.unlink(*(think_key(version, _text(trigger)) for trigger in triggers))
            pipe.srem(index, *triggers)
            await pipe.execute()
    await client.hdel(THINK_VERSIONS, version)


@asynccontextmanager
async def _lock(client: redis.asyncio.Redis) -> AsyncIterator[Lock | None]:
    """The loaders' lock, or None if another has it. It must be reacquired within LOCK_S all the time."""
    lock = client.lock(THINK_LOCK, timeout=LOCK_S)
    if not await lock.acquire(blocking=False):
        yield None
        return
    try:
        yield lock
    finally:
        with suppress(RedisError):  # it ends by itself; the error that led here matters more
            await lock.release()


def _text(value: bytes | str | int) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _batches(entries: Iterable[ThinkEntry], size: int) -> Iterator[list[ThinkEntry]]:
    source: Any = iter(entries)
    while batch := list(islice(source, size)):
        yield batch
