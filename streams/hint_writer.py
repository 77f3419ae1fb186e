"""Publish hint lists to Redis: newer wins, whoever comes late.

One round trip for a batch. Per list a few lines of Lua compare our version with that of the list at the
head, as text, and push ours before it if it is newer. So late, duplicate or replayed work can never undo
newer output, and a batch that was cut off in the middle is simply published again. The same lines see whether
the deny rules are still those that the list was judged by: a denial is in force with its first answer.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from enum import StrEnum
from itertools import chain, repeat
from typing import Any, Final

import redis.asyncio
from redis.exceptions import NoScriptError, ReadOnlyError, RedisError

from streams.erase_request import EraseRequest
from streams.hint_list import HEAD, HintList, list_id_of
from streams.redis_client import forget_connections
from streams.redis_errors import store_errors
from streams.redis_keys import DENY_VERSION, hints_key

VERSION_DIGITS: Final = 15  # of each half; a minus between them

# A value is ours if it begins like ours and ends like JSON; any other is in the way and is dropped.
# An identical head was written by ourselves, in a call whose reply was lost.
# The rules' version is no key of KEYS: a writer may read it and not write it, and EVAL would want both.
PUBLISH: Final = f"""
if ARGV[5] ~= '' then
  local rules = redis.call('GET', ARGV[6])
  if not rules or not string.match(rules, '^%d+$') then rules = '0' end
  if tonumber(rules) ~= tonumber(ARGV[5]) then return -1 end
end
local kind = redis.call('TYPE', KEYS[1]).ok
if kind ~= 'list' and kind ~= 'none' then redis.call('DEL', KEYS[1]) end
local digits, start = string.rep('%d', {VERSION_DIGITS}), #ARGV[2]
local function version_of(value)
  if string.sub(value, 1, start) ~= ARGV[2] or string.sub(value, -1) ~= '}}' then return nil end
  return string.match(value, '^(' .. digits .. '%-' .. digits .. ')"', start + 1)
end
local head = redis.call('LINDEX', KEYS[1], 0)
while head and not version_of(head) do
  redis.call('LPOP', KEYS[1])
  head = redis.call('LINDEX', KEYS[1], 0)
end
if head == ARGV[1] then return 1 end
if head and version_of(head) >= version_of(ARGV[1]) then return 0 end
redis.call('LPUSH', KEYS[1], ARGV[1])
redis.call('LTRIM', KEYS[1], 0, ARGV[3] - 1)
redis.call('PEXPIRE', KEYS[1], ARGV[4])
return 1
"""
# What is older than the mark goes. The mark itself, a list without hints, keeps work that comes late from
# bringing anything back; it is not needed where there is a newer list already.
ERASE: Final = f"""
local kind = redis.call('TYPE', KEYS[1]).ok
if kind ~= 'list' and kind ~= 'none' then redis.call('DEL', KEYS[1]) end
local digits, start = string.rep('%d', {VERSION_DIGITS}), #ARGV[2]
local function version_of(value)
  if string.sub(value, 1, start) ~= ARGV[2] then return '' end
  return string.match(value, '^(' .. digits .. '%-' .. digits .. ')"', start + 1) or ''
end
local mark, erased, newer = version_of(ARGV[1]), 0, false
for _, value in ipairs(redis.call('LRANGE', KEYS[1], 0, -1)) do
  if version_of(value) > mark then
    newer = true
  elseif value ~= ARGV[1] then
    redis.call('LREM', KEYS[1], 1, value)
    if not string.find(value, '"hints":[]', 1, true) then erased = erased + 1 end
  end
end
if not newer then
  redis.call('DEL', KEYS[1])
  redis.call('LPUSH', KEYS[1], ARGV[1])
  redis.call('PEXPIRE', KEYS[1], ARGV[3])
end
return erased
"""
# The first command of a batch carries the script's text, so that Redis knows it after a restart, too.
EVAL: Final = ("EVAL", PUBLISH)
EVALSHA: Final = ("EVALSHA", hashlib.sha1(PUBLISH.encode(), usedforsecurity=False).hexdigest())
MARK_TTL_MS: Final = 86_400_000  # as long as a hint request can still stand in Kafka
_ERASING: Final = "Hint lists were not all erased"
_DOING: Final = "Hint lists were not all published; what was there is unchanged"


class PublishOutcome(StrEnum):
    """What became of a list."""

    PUBLISHED = "published"
    OUTDATED = "outdated"


_OUTCOMES: Final = {1: PublishOutcome.PUBLISHED, 0: PublishOutcome.OUTDATED}


class HintWriter:
    """Writes hint lists; keeps `runs_kept` per user for `ttl_s` after the last one."""

    def __init__(self, client: redis.asyncio.Redis, *, runs_kept: int, ttl_s: int) -> None:
        self._client = client
        self._limits = (runs_kept, ttl_s * 1000)

    async def publish(self, lists: Sequence[HintList]) -> list[PublishOutcome]:
        """Publish in the order given; one outcome per list.

        Raises StoreUnavailableError or StoreRefusedError; some of the lists may be readable by then,
        and the same call may be made again.
        """
        return [_OUTCOMES[reply] for reply in await self._publish(lists, "")]

    async def publish_under(
        self, lists: Sequence[HintList], rules_version: int
    ) -> list[PublishOutcome | None]:
        """As `publish`; None, and nothing written, where the deny rules are of another version by then.

        Not in a Cluster, where the version lies in another slot.
        """
        return [_OUTCOMES.get(reply) for reply in await self._publish(lists, str(rules_version))]

    async def _publish(self, lists: Sequence[HintList], rules: str) -> list[int]:
        with store_errors(_DOING):
            replies = await self._evaluate(lists, rules, chain((EVAL,), repeat(EVALSHA)))
            # Redis can forget its scripts between two commands of a batch.
            lost = [place for place, reply in enumerate(replies) if isinstance(reply, NoScriptError)]
            again = await self._evaluate([lists[place] for place in lost], rules, repeat(EVAL))
            for place, reply in zip(lost, again, strict=True):
                replies[place] = reply
            await self._check(replies)
        return replies

    async def erase(self, requests: Sequence[EraseRequest]) -> list[int]:
        """Remove the users' lists that are older than the requests; how many there were of each.

        Lists from before a request that are published after it are outdated. Raises StoreUnavailableError,
        StoreRefusedError; the same call may be made again.
        """
        with store_errors(_ERASING):
            async with self._client.pipeline(transaction=False) as pipe:
                for request in requests:
                    mark = mark_of(request).to_json()
                    pipe.eval(ERASE, 1, hints_key(request.user), mark, HEAD, MARK_TTL_MS)
                replies: list[Any] = await pipe.execute(raise_on_error=False)
            await self._check(replies)
            return [int(reply) for reply in replies]

    async def _evaluate(
        self, lists: Sequence[HintList], rules: str, scripts: Iterable[tuple[str, str]]
    ) -> list[Any]:
        """The script for each list, all in one round trip; `scripts` may be endless."""
        if not lists:
            return []
        same = (HEAD, *self._limits, rules, DENY_VERSION)
        async with self._client.pipeline(transaction=False) as pipe:
            for one, script in zip(lists, scripts, strict=False):
                pipe.execute_command(*script, 1, hints_key(one.user), one.to_json(), *same)
            replies: list[Any] = await pipe.execute(raise_on_error=False)
            return replies

    async def _check(self, replies: list[Any]) -> None:
        for reply in replies:
            if isinstance(reply, ReadOnlyError):
                # The primary became a replica: new connections may find the new primary.
                await forget_connections(self._client)
            if isinstance(reply, RedisError):
                raise reply


def mark_of(request: EraseRequest) -> HintList:
    """What stands in Redis in place of the lists that were erased."""
    version = str(request.version)
    return HintList(
        version=version,
        list_id=list_id_of(request.user, version),
        user=request.user,
        as_of=request.version.as_of_ms,
        generated_at=request.version.as_of_ms,
        reason=request.cause,
        drift=0.0,
        trigger="",
        bundle="",
    )
