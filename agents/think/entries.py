"""Write and delete the entries of a mapping version in Redis, in small batches with rests between them.

Redis does one thing at a time: while it stores a batch, readers wait. So a batch is small, and after it the
loader rests for `rest` times as long as Redis took, and longer where Redis is slower. With the defaults a
million triggers take minutes, and a reader meets at most one short batch (`benchmarks/mapping_load.py`).

With each batch goes how many lines are written. A loader that is killed is followed by one that goes on
from there, with the same content; otherwise what was left is deleted first.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from typing import Final, TypeVar

import redis.asyncio
from redis.asyncio.lock import Lock
from redis.exceptions import RedisError

from agents.think.mapping_files import Line, Manifest, Mapping
from agents.think.stored import UNFINISHED, has_entries, retire, text_of
from streams.errors import MappingError
from streams.redis_keys import (
    THINK_LOCK,
    THINK_VERSIONS,
    think_index_key,
    think_key,
    think_popular_key,
    think_progress_key,
)
from streams.think_entry import PopularList

LOCK_S: Final = 15.0
PROGRESS_TTL_S: Final = 86_400

# Called with how many lines are done, and a word about it.
Report = Callable[[int, str], None]
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Pace:
    """How a load treats Redis. batch: entries a round trip. rest: pause, as a multiple of the round trip."""

    batch: int = 20
    rest: float = 2.0


class Lease:
    """The loaders' lock, kept alive while its holder works. Raises LockError when somebody else has it."""

    def __init__(self, lock: Lock, lock_s: float) -> None:
        self._lock, self._every_s = lock, lock_s / 5
        self._renewed_s = time.monotonic()

    async def renew(self, *, now: bool = False) -> None:
        """Prolong it if it is time, or `now`."""
        if now or time.monotonic() - self._renewed_s >= self._every_s:
            await self._lock.reacquire()
            self._renewed_s = time.monotonic()


@asynccontextmanager
async def leased(client: redis.asyncio.Redis, lock_s: float = LOCK_S) -> AsyncIterator[Lease | None]:
    """The loaders' lock, or None if another has it. It ends by itself `lock_s` after its holder died."""
    lock = client.lock(THINK_LOCK, timeout=lock_s)
    if not await lock.acquire(blocking=False):
        yield None
        return
    try:
        yield Lease(lock, lock_s)
    finally:
        with suppress(RedisError):  # it ends by itself; the error that led here matters more
            await lock.release()


async def write_version(
    client: redis.asyncio.Redis, mapping: Mapping, lease: Lease, pace: Pace, report: Report
) -> None:
    """Write what is missing of the version; at the end it is known as whole. Raises MappingError."""
    manifest = mapping.manifest
    for done in dict.fromkeys((await _done_before(client, manifest, lease, pace), 0)):
        await _write_lines(client, mapping, done, lease, pace, report)
        if await has_entries(client, manifest.version, manifest.triggers):
            break
    else:
        raise MappingError(
            f"Redis has not kept all entries of mapping {manifest.version}; it is not served.",
            action="Look at Redis' memory and its maxmemory-policy (noeviction or volatile-*).",
        )
    await lease.renew(now=True)
    await _finish(client, mapping)


async def remove_version(
    client: redis.asyncio.Redis, version: str, lease: Lease, pace: Pace, *, even_previous: bool = False
) -> bool:
    """Delete a version's entries by its index, so that a cut in the middle leaves nothing behind.

    False: the version is in use, on trial or (unless `even_previous`) the one before; it stays.
    """
    if not await retire(client, version, even_previous=even_previous):
        return False
    index = think_index_key(version)
    while triggers := await client.srandmember(index, pace.batch):
        await lease.renew()
        async with client.pipeline(transaction=True) as pipe, _resting(pace):
            pipe.unlink(*(think_key(version, text_of(trigger)) for trigger in triggers))
            pipe.srem(index, *triggers)
            await pipe.execute()
    async with client.pipeline(transaction=True) as pipe:
        pipe.delete(think_popular_key(version), think_progress_key(version))
        pipe.hdel(THINK_VERSIONS, version)
        await pipe.execute()
    return True


async def _done_before(client: redis.asyncio.Redis, manifest: Manifest, lease: Lease, pace: Pace) -> int:
    """How many lines an earlier load of this content has written; other content is deleted."""
    state, progress = await _state(client, manifest.version)
    if state == manifest.digest:
        return 0  # whole once, and served perhaps: what Redis lost is written over
    if state == UNFINISHED and progress.startswith(f"{manifest.digest}:"):
        return int(progress.partition(":")[2])
    await remove_version(client, manifest.version, lease, pace, even_previous=True)
    await client.hset(THINK_VERSIONS, manifest.version, UNFINISHED)
    return 0


async def _state(client: redis.asyncio.Redis, version: str) -> tuple[str | None, str]:
    async with client.pipeline(transaction=False) as pipe:
        pipe.hget(THINK_VERSIONS, version)
        pipe.get(think_progress_key(version))
        state, progress = await pipe.execute()
    return None if state is None else text_of(state), text_of(progress or b"")


async def _write_lines(
    client: redis.asyncio.Redis, mapping: Mapping, done: int, lease: Lease, pace: Pace, report: Report
) -> None:
    manifest = mapping.manifest
    place = 0
    for batch in _batches(mapping.lines(), pace.batch):
        place += len(batch)
        await lease.renew()
        if place <= done:  # written before; read all the same, since their hash counts
            await asyncio.sleep(0)
            continue
        async with _resting(pace):
            await _write_batch(client, manifest, batch, place)
        report(place, manifest.version)


async def _write_batch(client: redis.asyncio.Redis, manifest: Manifest, batch: list[Line], done: int) -> None:
    """The index first, so that nothing is ever left that it does not know; the count last."""
    version = manifest.version
    async with client.pipeline(transaction=False) as pipe:
        pipe.sadd(think_index_key(version), *(line.trigger for line in batch))
        for line in batch:
            pipe.set(think_key(version, line.trigger), line.value)
        pipe.set(think_progress_key(version), f"{manifest.digest}:{done}", ex=PROGRESS_TTL_S)
        await pipe.execute()


async def _finish(client: redis.asyncio.Redis, mapping: Mapping) -> None:
    manifest = mapping.manifest
    popular = PopularList.dump_json(mapping.popular, exclude_defaults=True)
    async with client.pipeline(transaction=True) as pipe:
        pipe.set(think_popular_key(manifest.version), popular)
        pipe.hset(THINK_VERSIONS, manifest.version, manifest.digest)
        pipe.delete(think_progress_key(manifest.version))
        await pipe.execute()


@asynccontextmanager
async def _resting(pace: Pace) -> AsyncIterator[None]:
    started_s = time.perf_counter()
    yield
    await asyncio.sleep(pace.rest * (time.perf_counter() - started_s))


def _batches(source: Iterable[_T], size: int) -> Iterator[list[_T]]:
    values = iter(source)
    while batch := list(islice(values, size)):
        yield batch
