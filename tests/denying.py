"""What tests of denying share: a Redis with lists, a mapping and popular lists, and looks at what is left."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, TypeVar

import orjson
import redis
import redis.asyncio
from typer.testing import CliRunner

from agents.deny.sweep import Sweep
from aigq.main import app
from streams.deny_rule import DenyKind, DenyRule, made
from streams.deny_rules import DenyRules
from streams.hint_store import HintReader
from streams.redis_client import connect_redis
from streams.redis_keys import ALL_KEYS, DENY, hints_key
from streams.settings import load_settings
from tests.redis_databases import list_of

T = TypeVar("T")
WINE = made(DenyKind.TERM, "wine", excepts=("wine vinegar",), reason="alcohol", by="ann", at_ms=1)
# Sweeps slowly enough to be killed in the middle.
SWEEP_IN_CHILD = """
import asyncio, sys
from agents.deny import sweep
from agents.deny.sweep import Sweep
from streams.deny_rules import DenyRules
from streams.redis_client import connect_redis
from streams.settings import load_settings
from tests.denying import WINE
sweep.BATCH = 5
async def main():
    async with connect_redis(load_settings({}, redis_url=sys.argv[1])) as client:
        tell = lambda done, kind: print(done, flush=True)
        await Sweep(client, DenyRules([WINE]), rest=20.0, report=tell).run()
asyncio.run(main())
"""


def with_client(url: str, act: Callable[[redis.asyncio.Redis], Awaitable[T]]) -> T:
    """Do it with a client as workers have it."""

    async def run() -> T:
        async with connect_redis(load_settings({}, redis_url=url)) as client:
            return await act(client)

    return asyncio.run(run())


def swept(url: str, *rules: DenyRule, known: Iterable[str] = ()) -> Any:
    """A sweep with these rules."""
    return with_client(url, lambda client: Sweep(client, DenyRules(rules), rest=0.0).run(known))


def aigq_deny(url: str, *arguments: str, exit_code: int = 0, bundle: str = "/nowhere") -> Any:
    """Run a command of ``aigq deny``; what it prints as JSON."""
    environ = {"AIGQ_REDIS_URL": url, "AIGQ_BUNDLE_DIR": bundle}
    done = CliRunner().invoke(app, ["deny", *arguments, "--json"], env=environ, catch_exceptions=False)
    assert done.exit_code == exit_code, done.output
    return orjson.loads(done.stdout.splitlines()[-1])


def push(client: redis.Redis, user: str, *queries: str, as_of: int = 1_000) -> bytes:
    """A newer list of the user; returns its value."""
    value = list_of(user, *queries, as_of=as_of).to_json()
    client.lpush(hints_key(user), value)
    client.pexpire(hints_key(user), 600_000)
    return value


def shown(url: str, user: str, trigger: str = "") -> tuple[str, ...]:
    """What a reader shows that begins anew."""
    with HintReader.from_url(url) as reader:
        return reader.get(user, trigger=trigger or None, limit=30).queries


def denied_set(client: redis.Redis) -> set[str]:
    """What stands in the deny set."""
    return {member.decode() for member in client.smembers(DENY)}


def stored_queries(client: redis.Redis) -> set[str]:
    """Every query in every list, entry and popular list, whoever may read it."""
    found: set[str] = set()
    for key in client.scan_iter(ALL_KEYS, count=1_000):
        kind = client.type(key)
        values = client.lrange(key, 0, -1) if kind == b"list" else []
        for value in [*values, *([client.get(key)] if kind == b"string" else [])]:
            found |= _queries(value)
    return found


def _queries(value: bytes) -> set[str]:
    try:
        told = orjson.loads(value)
    except orjson.JSONDecodeError:
        return set()
    holders = [told.get("hints"), told.get("queries")] if isinstance(told, dict) else [told]
    items = [item for holder in holders if isinstance(holder, list) for item in holder]
    return {item["query"] for item in items if isinstance(item, dict) and "query" in item}
