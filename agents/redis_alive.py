"""Whether Redis takes what this worker writes: a small key with a short life, really written each time."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Final

from redis.asyncio import Redis

from streams.errors import StoreError
from streams.redis_errors import store_errors
from streams.redis_keys import alive_key

EVERY_S: Final = 3.0
LIFE_S: Final = 30
SILENT_AFTER_S: Final = 10.0
NOT_YET: Final = "not written yet"


@dataclass(slots=True)
class RedisAlive:
    """writes: False for a worker that only reads lists: it reads the key instead."""

    redis: Redis
    worker: str
    writes: bool
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
        if self.writes:
            await self.redis.set(alive_key(self.worker), b"1", ex=LIFE_S)
        else:
            await self.redis.get(alive_key(self.worker))
