"""Whether Redis takes what this worker writes, and whether it still has what it had.

A small key with a short life is really written each time. Another key is written once, by the first worker of
all: where it is gone or another, Redis came back empty, or somebody emptied it, and the lists are gone, too.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from dataclasses import dataclass
from typing import Any, Final

import structlog
from redis.asyncio import Redis

from streams.errors import StoreError
from streams.redis_errors import store_errors
from streams.redis_keys import ALIVE_SINCE, alive_key

EVERY_S: Final = 3.0
LIFE_S: Final = 30
SILENT_AFTER_S: Final = 10.0
NOT_YET: Final = "not written yet"
LOST: Final = "Redis lost its data while this worker ran: users have no lists until their next event."
RECIPE: Final = (
    'docs/operations.md, Delivery, "Redis lost its data": read hint-requests anew; then restart the workers.'
)
log = structlog.get_logger("redis")


@dataclass(slots=True)
class RedisAlive:
    """writes: False for a worker that only reads lists: it reads the keys instead.

    lost: empty, or that Redis lost its data since this worker began, and what to do; it stays.
    """

    redis: Redis
    worker: str
    writes: bool
    lost: str = ""
    _since: bytes | None = None
    _problem: str = NOT_YET
    _answered_s: float = 0.0

    async def run(self) -> None:
        """Write every few seconds, until cancelled."""
        while True:
            try:
                with store_errors("Redis does not take a key of this worker's"):
                    await self._touch()
            except StoreError as error:
                self._problem = str(error)
            else:
                self._problem = ""
            self._answered_s = time.monotonic()
            await asyncio.sleep(EVERY_S)

    def problem(self, now_s: float) -> str:
        """What is wrong; empty: the last key was written, and not long ago. now_s: monotonic."""
        if self._problem:
            return self._problem
        silent_s = now_s - self._answered_s
        return f"no answer for {silent_s:.0f} s" if silent_s > SILENT_AFTER_S else ""

    async def _touch(self) -> None:
        async with self.redis.pipeline(transaction=False) as pipe:
            if self.writes:
                pipe.set(alive_key(self.worker), b"1", ex=LIFE_S)
                pipe.set(ALIVE_SINCE, secrets.token_hex(8), nx=True)
            else:
                pipe.get(alive_key(self.worker))
            pipe.get(ALIVE_SINCE)
            replies: list[Any] = await pipe.execute()
        self._compare(replies[-1])

    def _compare(self, since: bytes | None) -> None:
        if since == self._since:
            return
        if self._since is not None:
            self.lost = f"{LOST} {RECIPE}"
            log.error("redis_lost_data", error=LOST, action=RECIPE)
        self._since = since
