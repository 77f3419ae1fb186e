"""A worker sees that Redis came back empty, or was emptied; a restart that keeps the data is none of that."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import redis
import structlog

from agents import redis_alive
from agents.redis_alive import RedisAlive
from streams.embedded.servers import EmbeddedRedis
from streams.redis_client import connect_redis
from streams.redis_keys import ALIVE_SINCE
from streams.settings import load_settings

WAIT_S = 20.0


@pytest.fixture
def server(tmp_path: Path) -> Iterator[EmbeddedRedis]:
    """A Redis of the test's own, which it empties."""
    with EmbeddedRedis(tmp_path / "redis") as server:
        yield server


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_alive, "EVERY_S", 0.02)


@asynccontextmanager
async def watched(server: EmbeddedRedis, *, writes: bool = True) -> AsyncIterator[RedisAlive]:
    """One that has looked once."""
    settings = load_settings({}, redis_url=server.url, redis_timeout_s=0.5)
    async with connect_redis(settings) as client:
        alive = RedisAlive(client, "w1", writes)
        task = asyncio.create_task(alive.run())
        try:
            await until(lambda: not alive.problem(0.0))
            yield alive
        finally:
            task.cancel()
            await asyncio.wait([task])


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(WAIT_S):
        while not condition():
            await asyncio.sleep(0.01)


async def looked_again(alive: RedisAlive) -> None:
    """It has looked twice since now."""
    for _ in range(2):
        before = alive._answered_s
        await until(lambda before=before: alive._answered_s > before and not alive.problem(alive._answered_s))


def emptied(server: EmbeddedRedis) -> None:
    with redis.Redis.from_url(server.url) as client:
        client.flushall()


@pytest.mark.parametrize("writes", [True, False])
def test_an_emptied_redis_is_told_with_the_recipe_and_each_time(server: EmbeddedRedis, writes: bool) -> None:
    async def run() -> None:
        async with watched(server), watched(server, writes=writes) as alive:
            await looked_again(alive)
            assert alive.lost == ""
            with structlog.testing.capture_logs() as told:
                for _ in range(2):
                    emptied(server)
                    await until(lambda: ALIVE_SINCE in keys(server))
                    await looked_again(alive)
            assert "operations.md" in alive.lost
            assert alive.problem(alive._answered_s) == ""  # it works on
            lost = [one for one in told if one["event"] == "redis_lost_data"]
            assert 2 <= len(lost) <= 4  # of two workers
            assert all("Redis lost its data" in one["action"] for one in lost)

    asyncio.run(run())


def test_a_redis_that_comes_back_empty_is_told_and_one_that_kept_its_data_is_not(
    server: EmbeddedRedis,
) -> None:
    async def run() -> None:
        async with watched(server) as alive:
            await asyncio.to_thread(server.restart)
            await looked_again(alive)
            assert alive.lost == ""
            server.stop()
            for one in server.data_dir.iterdir():
                shutil.rmtree(one) if one.is_dir() else one.unlink()
            await asyncio.to_thread(server.start)
            await until(lambda: alive.lost)

    asyncio.run(run())


def test_a_worker_that_starts_afterwards_has_nothing_to_tell(server: EmbeddedRedis) -> None:
    async def run() -> None:
        async with watched(server) as alive:
            emptied(server)
            await until(lambda: alive.lost)
        async with watched(server) as alive:
            await looked_again(alive)
            assert alive.lost == ""

    asyncio.run(run())


def keys(server: EmbeddedRedis) -> list[bytes]:
    with redis.Redis.from_url(server.url) as client:
        found: list[bytes] = client.keys("*")
        return found
