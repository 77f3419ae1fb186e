"""Deny rules in Redis: what is kept, and each change of it in one step.

    rules     id → rule; `version` counts the changes; each change leaves a record in `audit`
    deny      what readers honour: concrete queries in normal form (contract version 1)
    why       query → ids of the rules that put it into `deny`, and HAND if it was there before

A term or pattern reaches readers as the queries that it matches, wherever somebody finds them (agents.deny).
A query leaves `deny` with its last rule, unless a person had put it there by hand. Adding and removing may
run at the same time and be cut off anywhere: a rule that is gone puts nothing there any more, and what is
left of it is taken away by the next `release_all`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import orjson
import redis.asyncio

from streams.deny_rule import RULES_MAX, DenyRule, rule_from_json
from streams.deny_scripts import ADD, EXPAND, RELEASE, REMOVE, SWEPT
from streams.errors import DenyRuleError, StoreRefusedError
from streams.query_text import normalise_query
from streams.redis_errors import store_errors
from streams.redis_keys import DENY, DENY_AUDIT, DENY_RULES, DENY_SWEPT, DENY_VERSION, DENY_WHY

BATCH: Final = 200
_READING: Final = "The deny rules cannot be read"
_CHANGING: Final = "The deny rules were not all changed; the same command may be given again"


class Stored(NamedTuple):
    """The rules of one version; unreadable: ids and values that are no rules of this version of AIGQ."""

    version: int
    rules: tuple[DenyRule, ...]
    unreadable: dict[str, bytes]


async def read_version(client: redis.asyncio.Redis) -> int:
    """How often the rules were changed; 0: never, or Redis lost them. Raises StoreError."""
    with store_errors(_READING):
        return _number(await client.get(DENY_VERSION))


async def read_swept(client: redis.asyncio.Redis) -> int:
    """The version up to which Redis was swept. Raises StoreError."""
    with store_errors(_READING):
        return _number(await client.get(DENY_SWEPT))


async def read_rules(client: redis.asyncio.Redis) -> Stored:
    """Version and rules, of one moment. Raises StoreError."""
    with store_errors(_READING):
        async with client.pipeline(transaction=True) as pipe:
            pipe.get(DENY_VERSION)
            pipe.hgetall(DENY_RULES)
            version, values = await pipe.execute()
    rules, unreadable = [], {}
    for name, value in values.items():
        try:
            rules.append(rule_from_json(value))
        except DenyRuleError:
            unreadable[name.decode("utf-8", "replace")] = value
    return Stored(_number(version), tuple(rules), unreadable)


async def add_rule(client: redis.asyncio.Redis, rule: DenyRule) -> bool:
    """False: it was there already, and stays as it is. Raises DenyRuleError (too many), StoreError."""
    record = {"action": "added", "at_ms": rule.at_ms, "by": rule.by, "rule": rule.as_dict()}
    keys = (DENY_RULES, DENY_VERSION, DENY_AUDIT)
    with store_errors(_CHANGING):
        reply: Any = await client.eval(
            ADD, 3, *keys, rule.id, rule.to_json(), orjson.dumps(record), str(RULES_MAX)
        )
    if int(reply) < 0:
        raise DenyRuleError(
            f"There are {RULES_MAX:,} deny rules already; this one was not added.",
            action="Join some to one term or pattern, or remove some.",
        )
    return int(reply) > 0


async def remove_rule(client: redis.asyncio.Redis, rule_id: str, *, by: str, at_ms: int) -> bool:
    """False: there is no such rule. What it put into `deny` is for `release_all`. Raises StoreError."""
    with store_errors(_CHANGING):
        value = await client.hget(DENY_RULES, rule_id)
        record = {"action": "removed", "at_ms": at_ms, "by": by, "id": rule_id, "rule": _shown(value)}
        keys = (DENY_RULES, DENY_VERSION, DENY_AUDIT)
        reply: Any = await client.eval(REMOVE, 3, *keys, rule_id, orjson.dumps(record))
    return int(reply) > 0


async def expand(client: redis.asyncio.Redis, found: Mapping[str, Iterable[str]]) -> int:
    """Deny the queries, each for the ids of its rules; how many are new to readers. Raises StoreError."""
    added = 0
    pairs = [(normalise_query(query), " ".join(ids)) for query, ids in found.items()]
    with store_errors(_CHANGING):
        for batch in batched_of(pairs):
            values = [part.encode("utf-8", "surrogatepass") for pair in batch for part in pair]
            reply: Any = await client.eval(EXPAND, 3, DENY, DENY_WHY, DENY_RULES, *values)
            added += int(reply)
    return added


async def release_all(client: redis.asyncio.Redis) -> int:
    """Take away what rules that are gone have left; how many queries that frees. Raises StoreError."""
    gone = 0
    with store_errors(_CHANGING):
        async for queries in _denied_by_rules(client):
            reply: Any = await client.eval(RELEASE, 3, DENY, DENY_WHY, DENY_RULES, *queries)
            gone += int(reply)
    return gone


async def record(client: redis.asyncio.Redis, value: Mapping[str, Any]) -> None:
    """One more audit record. Raises StoreError."""
    with store_errors("The audit record was not written"):
        await client.xadd(DENY_AUDIT, {"record": orjson.dumps(value)})


async def audit(client: redis.asyncio.Redis, count: int) -> list[dict[str, Any]]:
    """The newest `count` records, oldest first. Raises StoreError."""
    with store_errors("The audit records cannot be read"):
        entries: Any = await client.xrevrange(DENY_AUDIT, count=count)
    return [_shown(fields.get(b"record")) for _, fields in reversed(entries)]


async def note_swept(client: redis.asyncio.Redis, version: int) -> None:
    """A sweep with the rules of this version has ended. Raises StoreError."""
    with store_errors(_CHANGING):
        await client.eval(SWEPT, 1, DENY_SWEPT, str(version))


def refuse_unreadable(stored: Stored) -> None:
    """Raise StoreRefusedError for rules that nobody can read: what they deny cannot be told."""
    if stored.unreadable:
        raise StoreRefusedError(
            f"The deny rules {', '.join(sorted(stored.unreadable)[:3])} in Redis cannot be read, so nobody "
            "can tell what is denied; nothing was published.",
            action="Upgrade AIGQ if a newer one wrote them, or `aigq deny remove ID`.",
        )


def batched_of(values: Sequence[Any], size: int = BATCH) -> Iterable[Sequence[Any]]:
    """The values in order, `size` at a time."""
    return (values[start : start + size] for start in range(0, len(values), size))


async def _denied_by_rules(client: redis.asyncio.Redis) -> AsyncIterator[list[bytes]]:
    cursor: int = 0
    found: Any
    while True:
        cursor, found = await client.hscan(DENY_WHY, cursor, count=BATCH)
        if found:
            yield list(found)
        if not cursor:
            return


def _number(value: bytes | str | None) -> int:
    return int(value) if value is not None and value.isdigit() else 0


def _shown(value: Any) -> dict[str, Any]:
    """JSON that somebody else may have written."""
    try:
        told = orjson.loads(value or b"null")
    except orjson.JSONDecodeError:
        told = None
    return told if isinstance(told, dict) else {"unreadable": repr(value)}
