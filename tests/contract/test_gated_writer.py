"""The last gate before publishing, on a real Redis: no list is written by rules that Redis no longer has."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import redis
import redis.asyncio

from agents.deny.gate import DenyGate
from agents.deny.gated_writer import GatedHintWriter
from streams.deny_rule import DenyKind, made
from streams.deny_store import add_rule
from streams.errors import StoreUnavailableError
from streams.hint_list import HintList
from streams.hint_writer import PublishOutcome
from streams.metrics import Metrics
from streams.redis_client import connect_redis
from streams.redis_keys import DENY_VERSION, hints_key
from streams.settings import load_settings
from tests.denying import WINE, with_client
from tests.redis_databases import empty_database, list_of


@pytest.fixture
def url(redis_url: str) -> str:
    return empty_database(redis_url, 15)


@pytest.fixture
def client(url: str) -> Any:
    with redis.Redis.from_url(url) as client:
        yield client


def test_a_worker_publishes_by_the_rules_of_now_and_nothing_before_it_knows_them(
    url: str, client: redis.Redis
) -> None:
    metrics = Metrics()

    async def live(store: redis.asyncio.Redis) -> list[list[PublishOutcome]]:
        writer = GatedHintWriter(store, DenyGate(store), metrics, runs_kept=3, ttl_s=60)
        first = await writer.publish([list_of("u", "milk", "red wine", "jo@example.org")])
        await add_rule(store, WINE)
        return [first, await writer.publish([list_of("u", "milk", "red wine", as_of=2_000)])]

    assert with_client(url, live) == [[PublishOutcome.PUBLISHED]] * 2
    newest, oldest = (HintList.from_json(value) for value in client.lrange(hints_key("u"), 0, -1))
    assert [hint.query for hint in oldest.hints] == ["milk", "red wine"]
    assert [hint.query for hint in newest.hints] == ["milk"]
    counted = {reason: metrics.filtered.labels(reason)._value.get() for reason in ("personal", "denied")}
    assert counted == {"personal": 1, "denied": 1}


def test_the_rules_version_costs_no_round_trip_while_it_stays(url: str, client: redis.Redis) -> None:
    async def live(store: redis.asyncio.Redis) -> list[int]:
        writer = GatedHintWriter(store, DenyGate(store), Metrics(), runs_kept=3, ttl_s=60)
        calls = []
        for as_of in range(1, 5):
            before = calls_of(client)
            await writer.publish([list_of("u", "milk", as_of=as_of), list_of("v", "milk", as_of=as_of)])
            calls.append(calls_of(client) - before)
            if as_of == 2:
                await add_rule(store, WINE)
        return calls

    look, rules, version = 2, 4, 1  # a GET a list in the script; GET, HGETALL, MULTI, EXEC; GET
    first, steady, changed, after = with_client(url, live)
    assert first == rules + look
    assert steady == after == look
    assert changed == look + version + rules + look  # refused, and judged again


def calls_of(client: redis.Redis) -> int:
    """Commands that read rules or their version."""
    stats: Any = client.info("commandstats")
    names = ("get", "hgetall", "multi", "exec")
    return sum(stats.get(f"cmdstat_{name}", {"calls": 0})["calls"] for name in names)


def test_a_denial_in_the_middle_of_a_batch_holds_from_there_on(url: str, client: redis.Redis) -> None:
    """Rules come and go while lists are written by hundreds: after an answer no list holds what it denies."""
    users = [f"u{number}" for number in range(200)]
    seen: list[tuple[int, bytes]] = []

    async def live(store: redis.asyncio.Redis) -> None:
        metrics = Metrics()
        writer = GatedHintWriter(store, DenyGate(store), metrics, runs_kept=3, ttl_s=60)

        async def deny() -> None:
            async with redis.asyncio.Redis.from_url(url) as other:
                for number in range(6):
                    await asyncio.sleep(0.02)
                    await add_rule(other, made(DenyKind.TERM, f"bad{number}"))
                    pipe = other.pipeline(transaction=False)
                    for user in users:
                        pipe.lindex(hints_key(user), 0)
                    seen.extend((number, value) for value in await pipe.execute() if value)

        denying = asyncio.create_task(deny())
        as_of = 0
        while not denying.done():
            as_of += 1
            queries = ["milk", *(f"bad{number} {as_of}" for number in range(6))]
            outcomes = await writer.publish([list_of(user, *queries, as_of=as_of) for user in users])
            assert set(outcomes) == {PublishOutcome.PUBLISHED}
        await denying
        await writer.publish([list_of(user, *queries, as_of=as_of + 1) for user in users])

    with_client(url, live)
    after: dict[int, int] = {}
    for number, value in seen:
        as_of = HintList.from_json(value).as_of
        after[number] = max(after.get(number, 0), as_of)
    for user in users:
        for value in client.lrange(hints_key(user), 0, -1):
            one = HintList.from_json(value)
            held = {int(hint.query[3]) for hint in one.hints if hint.query.startswith("bad")}
            assert not {number for number in held if one.as_of > after[number]}
        newest = HintList.from_json(client.lindex(hints_key(user), 0))
        assert [hint.query for hint in newest.hints] == ["milk"]


def test_rules_that_change_all_the_time_hold_publishing_up_and_nothing_else(
    url: str, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    metrics = Metrics()

    async def live(store: redis.asyncio.Redis) -> list[PublishOutcome]:
        gate = DenyGate(store)
        writer = GatedHintWriter(store, gate, metrics, runs_kept=3, ttl_s=60)
        await add_rule(store, WINE)
        latest = gate.latest

        async def and_one_more(within_s: float = 0.0) -> Any:
            rules = await latest(within_s)
            client.incr(DENY_VERSION)
            return rules

        await gate.latest()
        client.incr(DENY_VERSION)
        with monkeypatch.context() as patched:
            patched.setattr(DenyGate, "latest", lambda _gate, within_s=0.0: and_one_more(within_s))
            with pytest.raises(StoreUnavailableError, match="change all the time"):
                await writer.publish([list_of("u", "milk", "red wine")])
        assert not client.exists(hints_key("u"))
        return await writer.publish([list_of("u", "milk", "red wine")])

    assert with_client(url, live) == [PublishOutcome.PUBLISHED]
    assert metrics.filtered.labels("denied")._value.get() == 1


def test_without_redis_the_last_rules_hold_for_generation_and_publishing_waits() -> None:
    async def live() -> None:
        away = load_settings({}, redis_url="redis://127.0.0.1:1/0", redis_timeout_s=0.1)
        async with connect_redis(away) as store:
            gate = DenyGate(store)
            assert len(await gate.known()) == 0
            writer = GatedHintWriter(store, gate, Metrics(), runs_kept=3, ttl_s=60)
            with pytest.raises(StoreUnavailableError):
                await writer.publish([list_of("u", "milk")])

    asyncio.run(live())
