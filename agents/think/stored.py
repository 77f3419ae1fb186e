"""Mapping versions in Redis: which are there as a whole, which one counts, and how that is swapped.

`swap` changes the pointer as compare-and-set: it watches the pointer and the table of whole versions, so
of two who decide at once the second sees what the first decided, and nobody points to entries that are
about to be deleted. The popular list changes in the same transaction. No lock: a rollback must not wait
for a load of a million triggers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

import orjson
import redis.asyncio
from pydantic import ValidationError
from redis.exceptions import WatchError

from agents.think.choices import Stored, protected, shown
from streams.errors import MappingError, StoreRefusedError, StoreUnavailableError
from streams.redis_client import is_cluster
from streams.redis_keys import (
    THINK_CURRENT,
    THINK_VERSIONS,
    popular_key,
    think_index_key,
    think_key,
    think_popular_key,
    think_progress_key,
)
from streams.think_entry import ThinkPointer

SAMPLE: Final = 100
SWAP_ATTEMPTS: Final = 20
POPULAR_TTL_S: Final = 30 * 86_400
# In THINK_VERSIONS in place of the digest, until all entries are written, and from when they are deleted.
UNFINISHED: Final = ""

Decide = Callable[[ThinkPointer | None], ThinkPointer]


async def read_pointer(client: redis.asyncio.Redis) -> ThinkPointer | None:
    """The pointer; None: nothing yet, or none of ours (it is replaced).

    Raises StoreRefusedError for a Cluster: every load and decision begins here.
    """
    if is_cluster(client):
        raise StoreRefusedError(
            "A Redis Cluster cannot keep the Think mapping: it is swapped in transactions over several keys. "
            "Nothing was changed.",
            action="Run the workers without the think role (--only …), or use Redis with Sentinels.",
        )
    return _pointer(await client.get(THINK_CURRENT))


async def read_stored(client: redis.asyncio.Redis, version: str) -> Stored | None:
    """The version if it was written as a whole, with the number of triggers that its index has."""
    async with client.pipeline(transaction=False) as pipe:
        pipe.hget(THINK_VERSIONS, version)
        pipe.scard(think_index_key(version))
        digest, triggers = await pipe.execute()
    return Stored(version, text_of(digest), triggers) if digest else None


async def known_versions(client: redis.asyncio.Redis) -> dict[str, str]:
    """Version → digest, or UNFINISHED, of all versions that have entries in Redis."""
    names = [text_of(name) for name in await client.hkeys(THINK_VERSIONS)]
    async with client.pipeline(transaction=False) as pipe:
        for name in names:
            pipe.hget(THINK_VERSIONS, name)
        states = await pipe.execute()
    return {name: text_of(state) for name, state in zip(names, states, strict=True) if state is not None}


async def count_entries(client: redis.asyncio.Redis, version: str) -> int:
    """How many triggers the version's index has, whole or not."""
    return int(await client.scard(think_index_key(version)))


async def has_entries(client: redis.asyncio.Redis, version: str, triggers: int) -> bool:
    """Whether the index has so many triggers and a sample of them their entries: a few numbers, no more."""
    index = think_index_key(version)
    async with client.pipeline(transaction=False) as pipe:
        pipe.scard(index)
        pipe.srandmember(index, SAMPLE)
        count, sample = await pipe.execute()
    keys = [think_key(version, text_of(trigger)) for trigger in sample]
    present = await client.exists(*keys) if keys else 0
    return bool(count == triggers and present == len(keys))


async def swap(
    client: redis.asyncio.Redis, decide: Decide, *, popular_ttl_s: int = POPULAR_TTL_S
) -> ThinkPointer:
    """Replace the pointer by what `decide` makes of it, in one step; returns the new one.

    Raises MappingError if it names a version that is not there as a whole.
    """
    for _ in range(SWAP_ATTEMPTS):
        async with client.pipeline(transaction=True) as pipe:
            await pipe.watch(THINK_CURRENT, THINK_VERSIONS)
            new = decide(_pointer(await pipe.get(THINK_CURRENT)))
            for version in (new.version, new.canary.version if new.canary else new.version):
                if not await pipe.hget(THINK_VERSIONS, version):
                    raise _not_there(version)
            popular = await pipe.get(think_popular_key(new.version))
            pipe.multi()  # type: ignore[no-untyped-call] # redis-py gives it no types
            if popular is not None:  # a version of an older loader has none of its own
                pipe.set(popular_key(), popular, ex=popular_ttl_s)
            pipe.set(THINK_CURRENT, orjson.dumps(new.model_dump()))
            try:
                await pipe.execute()
            except WatchError:
                await asyncio.sleep(0)
                continue
            return new
    raise StoreUnavailableError(
        "Others change the Think mapping's pointer all the time; it was left as they set it.",
        action="Try again.",
    )


async def retire(client: redis.asyncio.Redis, version: str, *, even_previous: bool = False) -> bool:
    """From now on nobody can point to the version, and its entries may be deleted; False: somebody does.

    even_previous: also if a rollback would go back to it (for it to be written anew).
    """
    async with client.pipeline(transaction=True) as pipe:
        await pipe.watch(THINK_CURRENT)
        pointer = _pointer(await pipe.get(THINK_CURRENT))
        if version in (shown(pointer) if even_previous else protected(pointer)):
            return False
        state = await pipe.hget(THINK_VERSIONS, version)
        pipe.multi()  # type: ignore[no-untyped-call] # redis-py gives it no types
        if state is None or text_of(state) != UNFINISHED:  # a full Redis takes deletions alone
            pipe.hset(THINK_VERSIONS, version, UNFINISHED)
        pipe.delete(think_progress_key(version))
        try:
            await pipe.execute()
        except WatchError:
            return False
    return True


def text_of(value: bytes | str | int) -> str:
    """A reply as text."""
    return value.decode() if isinstance(value, bytes) else str(value)


def _pointer(value: bytes | str | None) -> ThinkPointer | None:
    try:
        return ThinkPointer.model_validate_json(value or b"")
    except ValidationError:
        return None


def _not_there(version: str) -> MappingError:
    return MappingError(
        f"Mapping {version} is not in Redis as a whole. The version that is served stays.",
        action=f"Run `aigq think load FOLDER --version {version}`.",
    )
