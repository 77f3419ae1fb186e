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
from streams import deny_store
from streams.deny_file import terms
from streams.deny_rule import DenyKind, DenyRule, made
from streams.deny_store import add_rule, audit, expand, read_rules, release_all, remove_rule
from streams.errors import StoreRefusedError
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
