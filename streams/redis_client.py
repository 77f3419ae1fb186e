"""Redis clients: TLS, user and password, Sentinel and Cluster, short timeouts, few retries.

A command waits at most (1 + RETRIES) · timeout and a little back-off; then it is a
StoreUnavailableError. What stands in the URL (user, password, database) wins over the other settings.

With Sentinels every new connection asks them for the primary, and one that turns out to lead to a replica is
closed: after a fail-over the next try finds the new primary. A Cluster's client follows its nodes' answers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any, Final, cast

import redis
import redis.asyncio
from redis.asyncio.cluster import ClusterNode as AsyncClusterNode
from redis.asyncio.retry import Retry as AsyncRetry
from redis.asyncio.sentinel import Sentinel as AsyncSentinel
from redis.asyncio.sentinel import SentinelConnectionPool as AsyncSentinelPool
from redis.backoff import ExponentialBackoff, NoBackoff
from redis.cluster import ClusterNode
from redis.exceptions import RedisClusterException
from redis.retry import Retry
from redis.sentinel import Sentinel, SentinelConnectionPool

from streams.errors import SettingsError, StoreUnavailableError
from streams.redaction import hide_login, without_secrets
from streams.redis_url import RedisPlace, parse_redis_url
from streams.settings import Settings

RETRIES: Final = 2
BACKOFF_S: Final = 0.02
BACKOFF_CAP_S: Final = 0.2
# A connection that was silent for so long is asked for a sign of life before it is used again.
HEALTH_CHECK_S: Final = 30


class _Cancellable(redis.asyncio.Connection):
    """Put before a connection class, it gives back the cancellations that Python 3.11 swallows.

    redis-py sends with `asyncio.wait_for`, which before Python 3.12 returns as if nothing had happened
    when its task is cancelled just as the sending is done: a worker could then not be stopped.
    """

    async def send_packed_command(
        self, command: bytes | str | Iterable[bytes], check_health: bool = True
    ) -> None:
        task = asyncio.current_task()
        before = task.cancelling() if task else 0
        await super().send_packed_command(command, check_health)
        if task and task.cancelling() > before:
            await self.disconnect(nowait=True)  # the reply will not be read
            raise asyncio.CancelledError


class _AsyncPrimaryPool(AsyncSentinelPool):
    """Closes the connections to the Sentinels with its own, which redis-py leaves open."""

    async def disconnect(self, inuse_connections: bool = True) -> None:
        await super().disconnect(inuse_connections)
        if inuse_connections:
            await asyncio.gather(*(one.aclose() for one in self.sentinel_manager.sentinels))


class _PrimaryPool(SentinelConnectionPool):
    """The same for threads."""

    def disconnect(self, inuse_connections: bool = True) -> None:
        super().disconnect(inuse_connections)
        if inuse_connections:
            for one in self.sentinel_manager.sentinels:
                one.close()


class _LazyCluster(redis.asyncio.RedisCluster):
    """Connects at its first command, as the client of one server does, and not where it is entered."""

    async def __aenter__(self) -> _LazyCluster:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()


def connect_redis(settings: Settings) -> redis.asyncio.Redis:
    """Asynchronous client; it connects at its first command. Raises SettingsError.

    Of a Cluster it is a RedisCluster, which is no Redis by its type, but has the commands that we use.
    """
    place, options = _place(settings), _options(settings)
    retry = AsyncRetry(ExponentialBackoff(BACKOFF_CAP_S, BACKOFF_S), RETRIES)
    if place.kind == "cluster":
        return cast("redis.asyncio.Redis", _async_cluster(place, options, retry))
    client = _async_primary(settings, place, options, retry)
    pool = client.connection_pool
    pool.connection_class = _cancellable(pool.connection_class)
    return client


def connect_redis_sync(settings: Settings) -> redis.Redis:
    """Like `connect_redis`, for threads.

    A Cluster is asked for its nodes at once. Raises StoreUnavailableError then, else SettingsError alone.
    """
    place, options = _place(settings), _options(settings)
    retry = Retry(ExponentialBackoff(BACKOFF_CAP_S, BACKOFF_S), RETRIES)
    if place.kind == "cluster":
        return cast("redis.Redis", _cluster(place, options, retry))
    if place.kind == "sentinel":
        sentinels: Any = cast("Any", Sentinel)(
            place.hosts,
            sentinel_kwargs=_sentinel_options(settings, options) | {"retry": Retry(NoBackoff(), 0)},
            **options,
        )
        client: redis.Redis = sentinels.master_for(
            place.service, db=place.db, retry=retry, connection_pool_class=_PrimaryPool
        )
        return client
    try:
        return redis.Redis.from_url(settings.redis_url, retry=retry, **options)
    except ValueError as error:
        raise _bad_url(error) from None  # redis-py's words may quote the URL


def forget_connections(client: redis.asyncio.Redis) -> Any:
    """Awaitable: close what is not in use, so that the next try looks anew for the primary."""
    if is_cluster(client):
        return cast("redis.asyncio.RedisCluster", client).nodes_manager.initialize()
    return client.connection_pool.disconnect(inuse_connections=False)


def is_cluster(client: object) -> bool:
    """Whether the client is of a Cluster, where no transaction and no command spans two keys."""
    return isinstance(client, redis.RedisCluster | redis.asyncio.RedisCluster)


def reader_settings(url: str, timeout_s: float) -> Settings:
    """Settings of a reader that is given a URL and none of the environment."""
    hide_login(url)
    return Settings(redis_url=url, redis_timeout_s=timeout_s)


def _async_primary(
    settings: Settings, place: RedisPlace, options: dict[str, Any], retry: AsyncRetry
) -> redis.asyncio.Redis:
    if place.kind == "sentinel":
        sentinels: Any = cast("Any", AsyncSentinel)(  # redis-py gives it no types
            list(place.hosts),
            sentinel_kwargs=_sentinel_options(settings, options) | {"retry": AsyncRetry(NoBackoff(), 0)},
            **options,
        )
        client: redis.asyncio.Redis = sentinels.master_for(
            place.service, db=place.db, retry=retry, connection_pool_class=_AsyncPrimaryPool
        )
        return client
    try:
        return redis.asyncio.Redis.from_url(settings.redis_url, retry=retry, **options)
    except ValueError as error:
        raise _bad_url(error) from None


def _async_cluster(
    place: RedisPlace, options: dict[str, Any], retry: AsyncRetry
) -> redis.asyncio.RedisCluster:
    nodes = [AsyncClusterNode(host, port) for host, port in place.hosts]
    client = _LazyCluster(startup_nodes=nodes, require_full_coverage=False, retry=retry, **options)
    kind = _cancellable(client.connection_kwargs["connection_class"])
    client.connection_kwargs["connection_class"] = kind
    for node in client.nodes_manager.startup_nodes.values():
        node.connection_class = kind
    return client


def _cluster(place: RedisPlace, options: dict[str, Any], retry: Retry) -> redis.RedisCluster:
    nodes = [cast("Any", ClusterNode)(host, port) for host, port in place.hosts]
    try:
        return redis.RedisCluster(startup_nodes=nodes, require_full_coverage=False, retry=retry, **options)
    except (RedisClusterException, redis.RedisError) as error:
        raise StoreUnavailableError(
            "No node of the Redis Cluster tells its nodes. Nothing was read or written.",
            action="Check AIGQ_REDIS_URL, user and password, and that the nodes run as a Cluster.",
        ) from error


def _cancellable(kind: type) -> Any:
    return type("Connection", (_Cancellable, kind), {})


def _options(settings: Settings) -> dict[str, Any]:
    """What every client is given; of many hosts also what stands in the URL, which redis-py cannot read."""
    place = _place(settings)
    options: dict[str, Any] = {
        "socket_timeout": settings.redis_timeout_s,
        "socket_connect_timeout": settings.redis_timeout_s,
        "health_check_interval": HEALTH_CHECK_S,
        "username": place.username or settings.redis_username or None,
        "password": place.password or settings.redis_password.get_secret_value() or None,
    }
    files = _tls_files(settings)
    if files and not place.tls:
        raise SettingsError(
            f"{' and '.join(_TLS_FILES[name] for name in files)} is set, but AIGQ_REDIS_URL asks for no TLS.",
            action="Write rediss:// in the URL, or drop the file.",
        )
    if place.kind != "single" and place.tls:
        options |= {"ssl": True, **dict(place.tls_options)}
    return options | files


_TLS_FILES: Final = {
    "ssl_ca_certs": "AIGQ_REDIS_CA_FILE",
    "ssl_certfile": "AIGQ_REDIS_CERT_FILE",
    "ssl_keyfile": "AIGQ_REDIS_KEY_FILE",
}


def _tls_files(settings: Settings) -> dict[str, str]:
    given = (settings.redis_ca_file, settings.redis_cert_file, settings.redis_key_file)
    return {name: str(path) for name, path in zip(_TLS_FILES, given, strict=True) if path is not None}


def _sentinel_options(settings: Settings, options: dict[str, Any]) -> dict[str, Any]:
    """Sentinels have users of their own, and the same TLS. When one is away, the next is asked."""
    own = {
        "username": settings.redis_sentinel_username or None,
        "password": settings.redis_sentinel_password.get_secret_value() or None,
    }
    return {k: v for k, v in options.items() if k != "health_check_interval"} | own


def _place(settings: Settings) -> RedisPlace:
    try:
        return parse_redis_url(settings.redis_url)
    except ValueError as error:
        raise _bad_url(error) from None


def _bad_url(error: ValueError) -> SettingsError:
    return SettingsError(
        f"AIGQ_REDIS_URL is no Redis URL: {without_secrets(str(error))}.",
        action="Write redis://, rediss://, unix://, redis+sentinel://host:port,…/service/db or "
        "redis+cluster://host:port,…",
    )
