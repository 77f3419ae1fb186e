"""Deny rules on a real Redis: added and removed in one step, by whoever; what people deny by hand stays."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
import pytest
import redis
import redis.asyncio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agents.deny.gate import DenyGate
from agents.deny.gated_writer import GatedHintWriter
from streams import deny_store
from streams.deny_file import terms
from streams.deny_rule import DenyKind, DenyRule, made
from streams.deny_store import add_rule, audit, expand, read_rules, release_all, remove_rule
from streams.errors import StoreRefusedError, StoreUnavailableError
from streams.hint_list import HintList
from streams.hint_writer import PublishOutcome
from streams.metrics import Metrics
from streams.redis_client import connect_redis
from streams.redis_keys import DENY, DENY_AUDIT, DENY_RULES, DENY_VERSION, DENY_WHY, hints_key
from streams.settings import load_settings
from tests.denying import WINE, denied_set, shown, with_client
from tests.redis_databases import empty_database, list_of

BEER = made(DenyKind.TERM, "beer", by="bob", at_ms=2)


@pytest.fixture
def url(redis_url: str) -> str:
    return empty_database(redis_url, 10)


@pytest.fixture
def client(url: str) -> Any:
    with redis.Redis.from_url(url) as client:
        yield client


def test_two_who_add_at_once_both_have_their_rule(url: str, client: redis.Redis) -> None:
    rules = [made(DenyKind.TERM, f"thing {number}", by=f"p{number}") for number in range(40)]

    async def add_all() -> list[bool]:
        async with (
            connect_redis(load_settings({}, redis_url=url)) as one,
            connect_redis(load_settings({}, redis_url=url)) as other,
        ):
            return await asyncio.gather(
                *(add_rule(client, rule) for rule in rules for client in (one, other))
            )

    added = asyncio.run(add_all())
    assert added.count(True) == len(rules)
    stored = with_client(url, read_rules)
    assert {rule.id for rule in stored.rules} == {rule.id for rule in rules}
    assert stored.version == len(rules) == client.xlen(DENY_AUDIT)


def test_a_query_leaves_with_its_last_rule_and_what_people_denied_stays(
    url: str, client: redis.Redis
) -> None:
    client.sadd(DENY, "root beer", "Own Word")

    async def live(store: redis.asyncio.Redis) -> list[set[str]]:
        await add_rule(store, WINE)
        await add_rule(store, BEER)
        await expand(store, {"red wine": [WINE.id], "wine beer": [WINE.id, BEER.id], "root beer": [BEER.id]})
        seen = [denied_set(client)]
        for rule in (WINE, BEER):
            assert await remove_rule(store, rule.id, by="ann", at_ms=9)
            await release_all(store)
            seen.append(denied_set(client))
        return seen

    both, without_wine, neither = with_client(url, live)
    assert both == {"root beer", "Own Word", "red wine", "wine beer"}
    assert without_wine == {"root beer", "Own Word", "wine beer"}
    assert neither == {"root beer", "Own Word"}
    assert client.hlen(DENY_WHY) == 0
    assert [one["action"] for one in with_client(url, lambda store: audit(store, 9))] == [
        "added", "added", "removed", "removed",
    ]  # fmt: skip


def test_a_rule_that_is_gone_denies_nothing_any_more(url: str, client: redis.Redis) -> None:
    async def live(store: redis.asyncio.Redis) -> int:
        await add_rule(store, WINE)
        await remove_rule(store, WINE.id, by="ann", at_ms=9)
        return await expand(store, {"red wine": [WINE.id]})  # a slow adder that is overtaken

    assert with_client(url, live) == 0
    assert denied_set(client) == set()


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    by_hand=st.sets(st.sampled_from(["a", "b", "c d"])),
    texts=st.lists(st.sampled_from(["a", "b", "c", "d"]), unique=True, max_size=4),
    order=st.randoms(use_true_random=False),
)
def test_adding_and_then_removing_restores(
    url: str, client: redis.Redis, by_hand: set[str], texts: list[str], order: Any
) -> None:
    client.delete(DENY, DENY_RULES, DENY_WHY, DENY_VERSION)
    if by_hand:
        client.sadd(DENY, *by_hand)

    async def live(store: redis.asyncio.Redis) -> None:
        rules = terms(texts)
        for rule in rules:
            await add_rule(store, rule)
            await expand(store, {f"{rule.text} x": [rule.id], rule.text: [rule.id], "c d": [rule.id]})
        for rule in order.sample(rules, len(rules)):
            await remove_rule(store, rule.id, by="x", at_ms=0)
            await release_all(store)

    with_client(url, live)
    assert denied_set(client) == by_hand
    assert not client.exists(DENY_RULES, DENY_WHY)


def test_a_reader_of_any_version_needs_the_deny_set_alone(url: str, client: redis.Redis) -> None:
    client.lpush(hints_key("u"), list_of("u", "milk", "red wine").to_json())

    async def live(store: redis.asyncio.Redis) -> None:
        await add_rule(store, WINE)
        await expand(store, {"Red  WINE": [WINE.id]})

    with_client(url, live)
    assert client.smembers(DENY) == {b"red wine"}  # contract version 1: queries in normal form
    assert shown(url, "u") == ("milk",)


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


def test_rules_that_redis_lost_hold_on_in_a_worker_that_knew_them(url: str, client: redis.Redis) -> None:
    async def live(store: redis.asyncio.Redis) -> tuple[Any, Any]:
        gate = DenyGate(store)
        await add_rule(store, WINE)
        await add_rule(store, BEER)
        await gate.latest()
        client.delete(DENY_RULES, DENY_VERSION)
        await add_rule(store, made(DenyKind.TERM, "gin"))
        rules = await gate.latest()
        return rules.denying("red wine"), rules.denying("gin")

    wine, gin = with_client(url, live)
    assert wine == WINE
    assert gin is not None


def test_a_rule_that_cannot_be_read_stops_publishing_and_says_which(url: str, client: redis.Redis) -> None:
    client.hset(DENY_RULES, "dfuture", orjson.dumps({"kind": "by-meaning", "text": "alcohol"}))
    client.incr(DENY_VERSION)

    async def live(store: redis.asyncio.Redis) -> str:
        with pytest.raises(StoreRefusedError) as refused:
            await DenyGate(store).latest()
        assert await remove_rule(store, "dfuture", by="ann", at_ms=1)
        assert len(await DenyGate(store).latest()) == 0
        return str(refused.value)

    assert "dfuture" in with_client(url, live)


def test_the_audit_is_never_trimmed(url: str, client: redis.Redis) -> None:
    async def live(store: redis.asyncio.Redis) -> None:
        for number in range(300):
            await deny_store.record(store, {"action": "swept", "n": number})

    with_client(url, live)
    assert client.xlen(DENY_AUDIT) == 300


def test_a_rule_says_who_made_it_when_and_why(url: str) -> None:
    async def live(store: redis.asyncio.Redis) -> tuple[DenyRule, ...]:
        await add_rule(store, WINE)
        return (await read_rules(store)).rules

    assert with_client(url, live) == (WINE,)
