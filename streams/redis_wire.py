"""Several commands in one round trip, straight on a connection of the client's pool.

A pipeline of redis-py costs about as much for each command as a reader has for its whole answer (see
benchmarks/reader.py), so readers, which send three short commands a thousand times a second, write them
themselves. Pool, health check, time limits, retries and Sentinels stay the client's. What is not an exact
redis-py client of one server (a Cluster, a subclass, one connection, a client-side cache) gets its pipeline.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import redis
import redis.asyncio
from redis.client import NEVER_DECODE
from redis.exceptions import ResponseError

Command = tuple[str | bytes | int, ...]
_WORD: Final = b"$%d\r\n%b\r\n"


def ask_redis(client: redis.Redis, commands: Sequence[Command]) -> list[Any]:
    """One undecoded reply a command; a refusal is a reply. Raises redis-py's errors when there is none."""
    if type(client) is not redis.Redis or not _is_plain(client):
        return _by_pipeline(client, commands)
    pool: Any = client.connection_pool  # redis-py gives it no types
    connection = pool.get_connection()
    try:
        replies: list[Any] = connection.retry.call_with_retry(
            lambda: _exchange(connection, packed(commands), len(commands)),
            lambda _error: connection.disconnect(),
        )
        return replies
    finally:
        pool.release(connection)


async def ask_redis_async(client: redis.asyncio.Redis, commands: Sequence[Command]) -> list[Any]:
    """`ask_redis` for asyncio."""
    if type(client) is not redis.asyncio.Redis or not _is_plain(client):
        return await _by_async_pipeline(client, commands)
    pool: Any = client.connection_pool  # redis-py gives it no types
    connection: Any = await pool.get_connection()
    try:
        replies: list[Any] = await connection.retry.call_with_retry(
            lambda: _exchange_async(connection, packed(commands), len(commands)),
            lambda _error: connection.disconnect(),
        )
        return replies
    finally:
        await pool.release(connection)


def packed(commands: Sequence[Command]) -> bytes:
    r"""The commands as Redis reads them.

    >>> packed([("GET", b"k"), ("LRANGE", "k", 0, -1)])
    b'*2\r\n$3\r\nGET\r\n$1\r\nk\r\n*4\r\n$6\r\nLRANGE\r\n$1\r\nk\r\n$1\r\n0\r\n$2\r\n-1\r\n'
    """
    return b"".join([_packed(command) for command in commands])


def _packed(command: Command) -> bytes:
    words = [word if type(word) is bytes else str(word).encode() for word in command]
    told = [part for word in words for part in (len(word), word)]
    return (b"*%d\r\n" + _WORD * len(words)) % (len(words), *told)


def _is_plain(client: Any) -> bool:
    return client.connection is None and getattr(client.connection_pool, "cache", None) is None


def _exchange(connection: Any, request: bytes, count: int) -> list[Any]:
    connection.send_packed_command([request])
    replies: list[Any] = []
    for _ in range(count):
        try:
            replies.append(connection.read_response(disable_decoding=True))
        except ResponseError as error:
            replies.append(error)
    return replies


async def _exchange_async(connection: Any, request: bytes, count: int) -> list[Any]:
    await connection.send_packed_command([request])
    replies: list[Any] = []
    for _ in range(count):
        try:
            replies.append(await connection.read_response(disable_decoding=True))
        except ResponseError as error:
            replies.append(error)
    return replies


def _by_pipeline(client: redis.Redis, commands: Sequence[Command]) -> list[Any]:
    with client.pipeline(transaction=False) as pipe:
        for command in commands:
            pipe.execute_command(*command, **{NEVER_DECODE: True})  # type: ignore[no-untyped-call] # redis-py gives it no types
        replies: list[Any] = pipe.execute(raise_on_error=False)
        return replies


async def _by_async_pipeline(client: redis.asyncio.Redis, commands: Sequence[Command]) -> list[Any]:
    async with client.pipeline(transaction=False) as pipe:
        for command in commands:
            pipe.execute_command(*command, **{NEVER_DECODE: True})
        replies: list[Any] = await pipe.execute(raise_on_error=False)
        return replies
