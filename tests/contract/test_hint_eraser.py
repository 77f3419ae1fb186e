"""Erasing a user's lists: older ones go, late work cannot bring them back, newer ones stay."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import pytest
import redis.asyncio

from streams.erase_request import Cause, EraseRequest
from streams.hint_store import HintReader
from streams.hint_writer import MARK_TTL_MS, HintWriter, PublishOutcome
from streams.redis_keys import hints_key
from streams.version import Version
from tests.redis_databases import empty_database, list_of

T = TypeVar("T")


@pytest.fixture
def url(redis_url: str) -> str:
    return empty_database(redis_url, 6)


def with_writer(url: str, work: Callable[[HintWriter, Any], Awaitable[T]]) -> T:
    async def run() -> T:
        async with redis.asyncio.Redis.from_url(url) as client:
            return await work(HintWriter(client, runs_kept=3, ttl_s=3600), client)

    return asyncio.run(run())


def erasure(user: str = "u1", as_of: int = 5_000) -> EraseRequest:
    return EraseRequest(user, Version(as_of, 0), Cause.USER_DELETE, as_of)


def test_older_lists_are_gone_and_counted_and_others_stay(url: str) -> None:
    async def work(writer: HintWriter, _client: Any) -> list[int]:
        await writer.publish([list_of("u1", "milk", as_of=at) for at in (1_000, 2_000)])
        await writer.publish([list_of("u2", "bread")])
        return await writer.erase([erasure("u1"), erasure("nobody")])

    assert with_writer(url, work) == [2, 0]
    with HintReader.from_url(url) as reader:
        assert [one.hints for one in reader.lists("u1")] == [()]
        assert reader.get("u1", limit=5).hints == ()
        assert reader.get("u2", limit=5).queries == ("bread",)


def test_work_that_comes_late_is_outdated(url: str) -> None:
    async def work(writer: HintWriter, _client: Any) -> list[PublishOutcome]:
        await writer.erase([erasure(as_of=5_000)])
        return await writer.publish([list_of("u1", "milk", as_of=at) for at in (4_999, 5_001)])

    assert with_writer(url, work) == [PublishOutcome.OUTDATED, PublishOutcome.PUBLISHED]


def test_an_erasure_read_again_leaves_newer_lists_alone(url: str) -> None:
    async def work(writer: HintWriter, _client: Any) -> list[int]:
        await writer.erase([erasure()])
        await writer.publish([list_of("u1", "soap", as_of=9_000)])
        return await writer.erase([erasure()])

    assert with_writer(url, work) == [0]
    with HintReader.from_url(url) as reader:
        assert reader.get("u1").queries == ("soap",)


def test_the_mark_goes_by_itself_and_holds_nothing_of_the_lists(url: str) -> None:
    async def work(writer: HintWriter, client: Any) -> tuple[int, bytes]:
        await writer.publish([list_of("u1", "milk")])
        await writer.erase([erasure()])
        return await client.pttl(hints_key("u1")), b"".join(await client.lrange(hints_key("u1"), 0, -1))

    life_ms, value = with_writer(url, work)
    assert 0 < life_ms <= MARK_TTL_MS
    assert b"milk" not in value


def test_a_key_with_a_strangers_value_is_erased_too(url: str) -> None:
    async def work(writer: HintWriter, client: Any) -> list[Any]:
        await client.set(hints_key("u1"), "milk")
        await client.rpush(hints_key("u2"), "milk", "{}")
        await writer.erase([erasure("u1"), erasure("u2")])
        return [await client.lrange(hints_key(user), 0, -1) for user in ("u1", "u2")]

    for values in with_writer(url, work):
        assert len(values) == 1 and b"milk" not in values[0]
