"""The loaders' lock: of all workers and people one writes or deletes entries at a time.

It ends by itself `lock_s` after its holder died, and its holder prolongs it while it works; one that was
away for longer (a stopped process, a Redis that came back empty) notices before it writes on.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Final

import redis.asyncio
from redis.asyncio.lock import Lock
from redis.exceptions import RedisError

from streams.redis_keys import THINK_LOCK

LOCK_S: Final = 15.0


class Lease:
    """The lock while its holder works. Raises LockError when somebody else has it."""

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
    """The lock, or None if another has it."""
    lock = client.lock(THINK_LOCK, timeout=lock_s)
    if not await lock.acquire(blocking=False):
        yield None
        return
    try:
        yield Lease(lock, lock_s)
    finally:
        with suppress(RedisError):  # it ends by itself; the error that led here matters more
            await lock.release()
