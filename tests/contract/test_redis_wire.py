"""Several commands in one round trip: the same replies whatever the client, and a connection fit for use."""

from __future__ import annotations

import asyncio
import os
import threading
from pathlib import Path
from typing import Any

import pytest
import redis
import redis.asyncio

from streams.embedded.servers import EmbeddedRedis
from streams.redis_wire import Command, ask_redis, ask_redis_async, packed
from tests.redis_databases import empty_database

LIST, WORD = b"aigq:1:wire-list", "aigq:1:wire-ü"
COMMANDS: list[Command] = [
    ("GET", WORD),
    ("LRANGE", LIST, 0, -1),
    ("GET", LIST),  # of another kind
    ("GET", b"aigq:1:nothing"),
    ("SMEMBERS", b"aigq:1:nothing"),
]


@pytest.fixture
def url(redis_url: str) -> str:
    url = empty_database(redis_url, 13)
    with redis.Redis.from_url(url) as client:
        client.set(WORD, b"\xff\r\nx")
        client.rpush(LIST, b"", b"a" * 100_000)
    return url


def is_as_expected(replies: list[Any]) -> bool:
    word, values, wrong, nothing, members = replies
    assert (word, values, nothing) == (b"\xff\r\nx", [b"", b"a" * 100_000], None)
    assert isinstance(wrong, redis.ResponseError)
    return not members and str(wrong).startswith("WRONGTYPE")


class OwnRedis(redis.Redis):
    """A client that a backend has changed."""


class OwnAsyncRedis(redis.asyncio.Redis):
    """The same for asyncio."""


@pytest.mark.parametrize("kind", [redis.Redis, OwnRedis])
@pytest.mark.parametrize(
    "options", [{}, {"decode_responses": True}, {"protocol": 3}, {"single_connection_client": True}]
)
def test_every_client_gives_the_same_replies(url: str, kind: Any, options: dict[str, Any]) -> None:
    with kind.from_url(url, **options) as client:
        for _ in range(3):
            assert is_as_expected(ask_redis(client, COMMANDS))
        assert client.ping()


@pytest.mark.parametrize("kind", [redis.asyncio.Redis, OwnAsyncRedis])
@pytest.mark.parametrize(
    "options", [{}, {"decode_responses": True}, {"protocol": 3}, {"single_connection_client": True}]
)
def test_every_asynchronous_client_gives_the_same_replies(
    url: str, kind: Any, options: dict[str, Any]
) -> None:
    async def run() -> None:
        async with kind.from_url(url, **options) as client:
            for _ in range(3):
                assert is_as_expected(await ask_redis_async(client, COMMANDS))
            assert await client.ping()

    asyncio.run(run())


def test_threads_share_a_client(url: str) -> None:
    wrong: list[BaseException] = []

    def work(client: redis.Redis, number: int) -> None:
        try:
            for _ in range(50):
                assert ask_redis(client, [("ECHO", f"{number}"), ("ECHO", b"x")]) == [b"%d" % number, b"x"]
        except BaseException as error:
            wrong.append(error)

    with redis.Redis.from_url(url) as client:
        threads = [threading.Thread(target=work, args=(client, number)) for number in range(8)]
        for one in threads:
            one.start()
        for one in threads:
            one.join()
    assert wrong == []


def test_a_process_that_forks_reads_with_a_connection_of_its_own(url: str) -> None:
    with redis.Redis.from_url(url) as client:
        assert ask_redis(client, [("ECHO", "a")]) == [b"a"]
        child = os.fork()
        if not child:
            os._exit(0 if ask_redis(client, [("ECHO", "b")]) == [b"b"] else 1)
        assert ask_redis(client, [("ECHO", "c")] * 100) == [b"c"] * 100
        assert os.waitpid(child, 0)[1] == 0


def test_tasks_that_are_cancelled_anywhere_leave_no_reply_to_others(url: str) -> None:
    async def run() -> None:
        async with redis.asyncio.Redis.from_url(url, socket_timeout=5.0) as client:
            for turns in range(60):
                task = asyncio.ensure_future(ask_redis_async(client, [("ECHO", "wrong")] * 20))
                for _ in range(turns % 20):
                    await asyncio.sleep(0)
                task.cancel()
                await asyncio.wait([task])
                assert await ask_redis_async(client, [("ECHO", f"{turns}")]) == [b"%d" % turns]

    asyncio.run(run())


def test_a_connection_that_the_server_closed_is_made_anew(tmp_path: Path) -> None:
    with EmbeddedRedis(tmp_path / "redis") as server:
        with redis.Redis.from_url(server.url) as client:
            assert ask_redis(client, [("ECHO", "a")]) == [b"a"]
            server.kill()
            with pytest.raises(redis.ConnectionError):
                ask_redis(client, [("ECHO", "b")])
            server.restart()
            assert ask_redis(client, [("ECHO", "c")]) == [b"c"]

        async def run() -> None:
            async with redis.asyncio.Redis.from_url(server.url) as client:
                assert await ask_redis_async(client, [("ECHO", "a")]) == [b"a"]
                server.kill()
                with pytest.raises(redis.ConnectionError):
                    await ask_redis_async(client, [("ECHO", "b")])
                server.restart()
                assert await ask_redis_async(client, [("ECHO", "c")]) == [b"c"]

        asyncio.run(run())


def test_texts_are_packed_as_redis_reads_them() -> None:
    assert packed([("SET", "ü", 5)]) == "*3\r\n$3\r\nSET\r\n$2\r\nü\r\n$1\r\n5\r\n".encode()
