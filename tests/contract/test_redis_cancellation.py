"""A task that talks to Redis can be stopped at any moment, and its client is fit for use afterwards."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
import redis.asyncio

from streams.redis_client import connect_redis
from streams.settings import load_settings
from tests.redis_databases import empty_database

MOMENTS = 60
LONG = 500  # far more than are done in that many turns
Talk = Callable[[redis.asyncio.Redis], Awaitable[object]]


async def commands(client: redis.asyncio.Redis) -> None:
    for _ in range(LONG):
        assert await client.echo("a") == b"a"


async def pipelines(client: redis.asyncio.Redis) -> None:
    for _ in range(LONG):
        async with client.pipeline(transaction=False) as pipe:
            pipe.echo("a")
            pipe.echo("b")
            assert await pipe.execute() == [b"a", b"b"]


async def stop_after(client: redis.asyncio.Redis, talk: Talk, turns: int) -> None:
    task = asyncio.ensure_future(talk(client))
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize("talk", [commands, pipelines])
def test_a_cancelled_task_ends_wherever_it_was(redis_url: str, talk: Talk) -> None:
    settings = load_settings({}, redis_url=empty_database(redis_url, 7))

    async def run() -> None:
        async with connect_redis(settings) as client:
            for turns in range(MOMENTS):
                await stop_after(client, talk, turns)
                assert await client.echo("still") == b"still"

    asyncio.run(run())


def test_cleaning_up_after_a_cancellation_may_use_redis(redis_url: str) -> None:
    settings = load_settings({}, redis_url=empty_database(redis_url, 7))

    async def work(client: redis.asyncio.Redis) -> None:
        try:
            await commands(client)
        finally:
            await client.set("aigq:1:cleaned", "up")

    async def run() -> bytes | str | None:
        async with connect_redis(settings) as client:
            await stop_after(client, work, 20)
            return await client.get("aigq:1:cleaned")

    assert asyncio.run(run()) == b"up"
