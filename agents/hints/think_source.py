"""Think's entries for hint requests, read from Redis: what short lists are filled up with.

Bounded: two round trips for a batch, at most a few keys a list, no second try. Redis being away, or refusing,
leaves the lists as they are; they are published when it is back.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import redis.asyncio
import structlog
from redis.client import NEVER_DECODE

from streams.errors import StoreError
from streams.hint_answer import parse_pointer
from streams.hint_protocol import Command, entry_commands, wanted_of, with_entries
from streams.hint_request import HintRequest
from streams.redis_errors import store_errors
from streams.redis_keys import THINK_CURRENT
from streams.think_merge import TriggerEntries

log = structlog.get_logger("hints")
_DOING = "Think's entries cannot be read; lists stay short"


@dataclass(frozen=True, slots=True)
class ThinkSource:
    """Reads from the mapping versions that readers see: each user's own, where there is a canary."""

    client: redis.asyncio.Redis

    async def entries(self, requests: Sequence[HintRequest]) -> list[TriggerEntries]:
        """One a request, in their order; empty where there is no mapping."""
        try:
            return await self._entries(requests)
        except StoreError as error:
            log.warning("not_filled_up", lists=len(requests), error=error.message, action=error.action)
            return [TriggerEntries()] * len(requests)

    async def _entries(self, requests: Sequence[HintRequest]) -> list[TriggerEntries]:
        pointer, _ = parse_pointer((await self._read([("GET", THINK_CURRENT)]))[0])
        wanted = [wanted_of(pointer, request.user, request.triggers) for request in requests]
        commands = [entry_commands(one) for one in wanted]
        replies = iter(await self._read([command for some in commands for command in some]))
        return [
            with_entries(one, [next(replies) for _ in some])[0]
            for one, some in zip(wanted, commands, strict=True)
        ]

    async def _read(self, commands: list[Command]) -> list[Any]:
        if not commands:
            return []
        with store_errors(_DOING):
            async with self.client.pipeline(transaction=False) as pipe:
                for command in commands:
                    pipe.execute_command(*command, **{NEVER_DECODE: True})
                replies: list[Any] = await pipe.execute()
                return replies
