"""Take denied queries out of Redis: first for readers, then from where they stand.

Whatever holds queries is read in small batches: mapping versions by their index, then, in one SCAN, popular
lists and the lists of users. A batch's denied queries go into the deny set before its values are touched, so
that readers show none of them meanwhile. A value is replaced only if it is still the one that was read; one
that changed meanwhile is read again. Nothing here holds up Redis: no command looks at more than one batch,
and between batches the sweep rests. Cut off anywhere, it is simply begun again.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import redis.asyncio
from redis.exceptions import RedisError

from agents.deny.values import Cleaned, Cleaner, ids_of
from streams.deny_rule import DenyKind
from streams.deny_rules import DenyRules
from streams.deny_scripts import WITHDRAW_LIST, WITHDRAW_VALUE
from streams.deny_store import expand
from streams.errors import StoreUnavailableError
from streams.redis_errors import is_wrong_type, store_errors
from streams.redis_keys import (
    ALL_KEYS,
    THINK_VERSIONS,
    hints_key,
    popular_prefix,
    think_index_key,
    think_key,
    think_popular_key,
)
from streams.redis_wire import Command, ask_redis_async

BATCH: Final = 100
SIDE_BY_SIDE: Final = 3
TRIES: Final = 10
_DOING: Final = "Redis was not swept to the end; readers show nothing that was found, and it can be run again"

Report = Callable[[int, str], None]
Changes = dict[bytes, list[tuple[bytes, Cleaned]]]  # key → values that hold something, and what they become


class _Kind(NamedTuple):
    """Keys of one kind: the field of Withdrawn that counts them, how they are read and replaced."""

    name: str
    read: Callable[[bytes], Command]
    script: str


LISTS: Final = _Kind("lists", lambda key: ("LRANGE", key, 0, -1), WITHDRAW_LIST)
ENTRIES: Final = _Kind("entries", lambda key: ("GET", key), WITHDRAW_VALUE)
POPULAR: Final = _Kind("popular", lambda key: ("GET", key), WITHDRAW_VALUE)
_PREFIXES: Final = (
    (hints_key(""), LISTS),
    (popular_prefix(), POPULAR),
    (think_popular_key(""), POPULAR),
)


@dataclass(slots=True)
class Withdrawn:
    """What a sweep did, or would do.

    denied: queries that are new to readers. keys: looked at. lists, entries, popular: values that lost
    something. hints: what they lost. queries: each with how many values held it.
    """

    denied: int = 0
    keys: int = 0
    lists: int = 0
    entries: int = 0
    popular: int = 0
    hints: int = 0
    queries: Counter[str] = field(default_factory=Counter)

    def counts(self) -> dict[str, int]:
        """For audit records and `--json`; no query."""
        names = ("denied", "keys", "lists", "entries", "popular", "hints")
        return {name: getattr(self, name) for name in names}


@dataclass(slots=True)
class Sweep:
    """One sweep with rules. act: False: only look. rest: pause, as a multiple of each batch's time."""

    client: redis.asyncio.Redis
    rules: DenyRules
    act: bool = True
    rest: float = 0.1
    report: Report = lambda _done, _note: None
    found: Withdrawn = field(default_factory=Withdrawn)
    _cleaner: Cleaner = field(init=False)

    def __post_init__(self) -> None:
        self._cleaner = Cleaner(self.rules)

    async def run(self, known: Iterable[str] = ()) -> Withdrawn:
        """Sweep all. known: queries to deny wherever readers may get them from. Raises StoreError."""
        await self.deny(known)
        with store_errors(_DOING):
            versions: Any = await self.client.hkeys(THINK_VERSIONS)
            for version in versions:
                await self.version(version.decode())
            await _side_by_side(_batches(self.client.scan_iter(ALL_KEYS, count=5 * BATCH)), self._of_any_kind)
        return self.found

    async def deny(self, known: Iterable[str]) -> None:
        """Deny what the rules name, and what they match of the known queries. Raises StoreError."""
        literal = (DenyKind.EXACT, DenyKind.NORMALISED)
        named = [rule.text for rule in self.rules.rules if rule.kind in literal]
        await self._deny({query: ids_of(query, self.rules) for query in (*named, *known)})

    async def version(self, version: str) -> None:
        """Sweep the entries of one mapping version, whole or not. Raises StoreError."""
        with store_errors(_DOING):
            await self._batch([think_popular_key(version)], POPULAR)
            triggers = self.client.sscan_iter(think_index_key(version), count=BATCH)

            async def entries(some: list[bytes]) -> None:
                await self._batch([think_key(version, one.decode()) for one in some], ENTRIES)

            await _side_by_side(_batches(triggers), entries)

    async def _of_any_kind(self, keys: list[bytes]) -> None:
        for prefix, kind in _PREFIXES:
            await self._batch([key for key in keys if key.startswith(prefix)], kind)

    async def _batch(self, keys: list[bytes], kind: _Kind) -> None:
        """What others change meanwhile is read again."""
        if not keys:
            return
        started_s = time.perf_counter()
        self.found.keys += len(keys)
        for _ in range(TRIES):
            changes = await self._changes(keys, kind)
            await self._deny(_taken(changes))
            keys = await self._replaced(changes, kind)
            if not keys:
                break
        else:
            raise StoreUnavailableError(
                f"{_DOING}: others change the same values all the time.", action="Run `aigq deny sweep`."
            )
        self.report(self.found.keys, kind.name)
        await asyncio.sleep(self.rest * (time.perf_counter() - started_s))

    async def _changes(self, keys: list[bytes], kind: _Kind) -> Changes:
        found: Changes = {}
        for key, reply in zip(keys, await self._read(keys, kind), strict=True):
            values = reply if isinstance(reply, list) else [reply] if isinstance(reply, bytes) else []
            pairs = [(value, self._cleaner.cleaned(value)) for value in values]
            if changed := [(value, one) for value, one in pairs if one.taken]:
                found[key] = changed
        return found

    async def _read(self, keys: list[bytes], kind: _Kind) -> list[Any]:
        """One reply a key; a value of another type is none of ours."""
        replies = await ask_redis_async(self.client, [kind.read(key) for key in keys])
        for reply in replies:
            if isinstance(reply, RedisError) and not is_wrong_type(reply):
                raise reply
        return replies

    async def _replaced(self, changes: Changes, kind: _Kind) -> list[bytes]:
        """Replace them; the keys at which something else stands by now."""
        done: list[Any] = [len(some) for some in changes.values()]
        if self.act and changes:
            async with self.client.pipeline(transaction=False) as pipe:
                for key, some in changes.items():
                    pipe.eval(
                        kind.script, 1, key, *(part for value, one in some for part in (value, one.value))
                    )
                done = await pipe.execute()
        again: list[bytes] = []
        for (key, some), count in zip(changes.items(), done, strict=True):
            if count == len(some):
                self._count(kind, [one for _, one in some])
            else:
                again.append(key)
        return again

    def _count(self, kind: _Kind, values: list[Cleaned]) -> None:
        setattr(self.found, kind.name, getattr(self.found, kind.name) + len(values))
        for one in values:
            self.found.hints += len(one.taken)
            self.found.queries.update(one.taken.keys())

    async def _deny(self, ids: dict[str, tuple[str, ...]]) -> None:
        by_rules = {query: some for query, some in ids.items() if some}
        self.found.queries.update(dict.fromkeys(by_rules, 0))
        if self.act and by_rules:
            denied = await expand(self.client, by_rules)
            self.found.denied += denied  # others have added to it meanwhile


def _taken(changes: Changes) -> dict[str, tuple[str, ...]]:
    """All denied queries of a batch with their rules."""
    values = (one for some in changes.values() for _, one in some)
    return {query: ids for one in values for query, ids in one.taken.items()}


async def _side_by_side(
    batches: AsyncIterator[list[Any]], work: Callable[[list[Any]], Awaitable[None]]
) -> None:
    """Work on SIDE_BY_SIDE batches at a time: while one is judged, Redis reads the next."""
    turn = asyncio.Lock()  # a generator gives one at a time

    async def drain() -> None:
        while True:
            async with turn:
                batch = await anext(batches, None)
            if batch is None:
                return
            await work(batch)

    tasks = [asyncio.create_task(drain()) for _ in range(SIDE_BY_SIDE)]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _batches(source: AsyncIterator[Any]) -> AsyncIterator[list[Any]]:
    batch: list[Any] = []
    async for one in source:
        batch.append(one)
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch
