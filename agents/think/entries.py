"""Write and delete the entries of a mapping version in Redis, in small batches with rests between them.

Redis does one thing at a time: while it stores a batch, readers wait. So a batch is small, and after it the
loader rests for `rest` times as long as Redis took, and longer where Redis is slower. With the defaults a
million triggers take minutes, and a reader meets at most one short batch (`benchmarks/mapping_load.py`).

With each batch goes a mark: how many lines are written, and their hash. A loader that is killed is followed
by one that reads the same lines, compares the hash and goes on from there. If the hash is another (the file
was exchanged while it was loaded), or the content is, what was left is deleted first.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import islice
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

import redis.asyncio
from redis.exceptions import ExecAbortError, OutOfMemoryError

from agents.deny.gate import KNOWN_FOR_S, DenyGate
from agents.deny.sweep import Sweep
from agents.deny.values import Cleaner, cleaned
from agents.think.lease import Lease
from agents.think.mapping_files import Line, Mapping
from agents.think.room import ran_out
from agents.think.stored import UNFINISHED, has_entries, retire, text_of
from agents.think.version_folder import Manifest
from streams.deny_rules import NO_RULES
from streams.errors import MappingError
from streams.redis_keys import (
    THINK_VERSIONS,
    think_index_key,
    think_key,
    think_popular_key,
    think_progress_key,
)
from streams.think_entry import PopularList

if TYPE_CHECKING:
    from hashlib import _Hash as Hash

MARK_TTL_S: Final = 86_400
MARK_CHARS: Final = 16

# Called with how many lines are done, and a word about it.
Report = Callable[[int, str], None]
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Pace:
    """How a load treats Redis. batch: entries a round trip. rest: pause, as a multiple of the round trip."""

    batch: int = 20
    rest: float = 2.0


class _Mark(NamedTuple):
    """How far a version is written: lines, and the hash of their bytes."""

    lines: int
    content: str


_NOTHING: Final = _Mark(0, "")


@dataclass(slots=True)
class _Write:
    """One version on its way to Redis. served: it was whole once, so users may see it. gate: what nobody may
    see; left_out: such queries, each with how often it was left out."""

    client: redis.asyncio.Redis
    mapping: Mapping
    lease: Lease
    pace: Pace
    report: Report
    served: bool
    gate: DenyGate
    cleaner: Cleaner = field(default_factory=lambda: Cleaner(NO_RULES))
    left_out: Counter[str] = field(default_factory=Counter)

    @property
    def manifest(self) -> Manifest:
        return self.mapping.manifest


async def write_version(
    client: redis.asyncio.Redis, mapping: Mapping, lease: Lease, pace: Pace, report: Report
) -> int:
    """Write what is missing of the version, without what nobody may be shown; then it is known as whole.

    Returns how many queries were left out.

    Raises MappingError (the file changed, Redis kept too little), StoreRefusedError (Redis is full).
    """
    served, mark = await _found(client, mapping.manifest)
    write = _Write(client, mapping, lease, pace, report, served, DenyGate(client))
    rules = await write.gate.latest()
    try:
        done = mark is not _NOTHING and await _write_from(write, mark)
        if not done:
            await _begin(write)
            done = await _write_from(write, _NOTHING)
        if done:
            await lease.renew(now=True)
            if mark is not _NOTHING or await write.gate.latest() is not rules:  # written by earlier rules
                await Sweep(client, await write.gate.latest()).version(mapping.manifest.version)
            await lease.renew(now=True)
            await _finish(write)
    except (OutOfMemoryError, ExecAbortError) as error:
        if "OOM" not in str(error) and not isinstance(error, OutOfMemoryError):
            raise
        if not served:
            await remove_version(client, mapping.manifest.version, lease, pace, even_previous=True)
        raise ran_out(mapping.manifest.version, kept=served) from error
    if not done:
        raise MappingError(
            f"Redis has not kept all entries of mapping {mapping.manifest.version}; it is not served.",
            action="Look at Redis' memory and its maxmemory-policy (noeviction or volatile-*).",
        )
    return write.left_out.total()


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


async def _found(client: redis.asyncio.Redis, manifest: Manifest) -> tuple[bool, _Mark]:
    """Whether this content was whole once, and what an earlier load that did not end has written of it."""
    async with client.pipeline(transaction=False) as pipe:
        pipe.hget(THINK_VERSIONS, manifest.version)
        pipe.get(think_progress_key(manifest.version))
        state, value = await pipe.execute()
    if state is not None and text_of(state) == manifest.digest:
        return True, _NOTHING
    digest, *parts = text_of(value or b"").split(":")
    if state is None or text_of(state) != UNFINISHED or digest != manifest.digest or len(parts) != 2:
        return False, _NOTHING
    lines, content = parts
    known = lines.isdecimal() and int(lines) <= manifest.triggers
    return False, _Mark(int(lines), content) if known else _NOTHING


async def _begin(write: _Write) -> None:
    """Delete what was left under the name, unless users may see it."""
    if not write.served:
        version = write.manifest.version
        await remove_version(write.client, version, write.lease, write.pace, even_previous=True)
        await write.client.hset(THINK_VERSIONS, version, UNFINISHED)


async def _write_from(write: _Write, mark: _Mark) -> bool:
    """Write the lines after the mark. False: those before it are others, or Redis lost some since."""
    content, place = sha256(), 0
    for batch in _batches(write.mapping.lines(), write.pace.batch):
        for line in batch:
            content.update(line.value)
            place += 1
            if place == mark.lines and _mark(place, content) != mark:
                return False
        await write.lease.renew()
        if place <= mark.lines:  # written before; read all the same, since their hash counts
            await asyncio.sleep(0)
            continue
        async with _resting(write.pace):
            await _write_batch(write, batch, _mark(place, content))
        write.report(place, write.manifest.version)
    return await has_entries(write.client, write.manifest.version, write.manifest.triggers)


async def _write_batch(write: _Write, batch: list[Line], mark: _Mark) -> None:
    """All or nothing, also in a full Redis: no entry is ever left that its index does not know.

    The table of versions comes with it: a Redis that lost everything in the middle must know of the rest.
    """
    version, digest = write.manifest.version, write.manifest.digest
    rules = await write.gate.latest(KNOWN_FOR_S)
    if rules is not write.cleaner.rules:
        write.cleaner = Cleaner(rules)
    allowed = {think_key(version, line.trigger): write.cleaner.cleaned(line.value) for line in batch}
    for one in allowed.values():
        write.left_out.update(one.taken.keys())
    async with write.client.pipeline(transaction=True) as pipe:
        pipe.hsetnx(THINK_VERSIONS, version, UNFINISHED)
        pipe.sadd(think_index_key(version), *(line.trigger for line in batch))
        pipe.mset({key: one.value for key, one in allowed.items()})
        pipe.set(think_progress_key(version), f"{digest}:{mark.lines}:{mark.content}", ex=MARK_TTL_S)
        await pipe.execute()


async def _finish(write: _Write) -> None:
    version = write.manifest.version
    listed = PopularList.dump_json(write.mapping.popular, exclude_defaults=True)
    popular = cleaned(listed, await write.gate.latest())
    write.left_out.update(popular.taken.keys())
    async with write.client.pipeline(transaction=True) as pipe:
        pipe.set(think_popular_key(version), popular.value)
        pipe.hset(THINK_VERSIONS, version, write.manifest.digest)
        pipe.delete(think_progress_key(version))
        await pipe.execute()


def _mark(lines: int, content: Hash) -> _Mark:
    return _Mark(lines, content.hexdigest()[:MARK_CHARS])


@asynccontextmanager
async def _resting(pace: Pace) -> AsyncIterator[None]:
    started_s = time.perf_counter()
    yield
    await asyncio.sleep(pace.rest * (time.perf_counter() - started_s))


def _batches(source: Iterable[_T], size: int) -> Iterator[list[_T]]:
    values = iter(source)
    while batch := list(islice(values, size)):
        yield batch
