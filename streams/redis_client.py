"""Redis clients: TLS, user and password, short timeouts, few retries.

A command waits at most (1 + RETRIES) · timeout and a little back-off; then it is a
StoreUnavailableError. What stands in the URL (user, password, database) wins over the other settings.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any, Final

import redis
import redis.asyncio
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import ExponentialBackoff
from redis.retry import Retry

from streams.errors import SettingsError
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


def connect_redis(settings: Settings) -> redis.asyncio.Redis:
    """Asynchronous client; it connects at its first command. Raises SettingsError."""
    retry = AsyncRetry(ExponentialBackoff(BACKOFF_CAP_S, BACKOFF_S), RETRIES)
    try:
        client = redis.asyncio.Redis.from_url(settings.redis_url, retry=retry, **_options(settings))
    except ValueError as error:
        raise _bad_url(error) from error
    pool = client.connection_pool
    pool.connection_class = type("Connection", (_Cancellable, pool.connection_class), {})
    return client


def connect_redis_sync(settings: Settings) -> redis.Redis:
    """Like `connect_redis`, for threads."""
    retry = Retry(ExponentialBackoff(BACKOFF_CAP_S, BACKOFF_S), RETRIES)
    try:
        return redis.Redis.from_url(settings.redis_url, retry=retry, **_options(settings))
    except ValueError as error:
        raise _bad_url(error) from error


def reader_settings(url: str, timeout_s: float) -> Settings:
    """Settings of a reader that is given a URL and none of the environment."""
    return Settings(redis_url=url, redis_timeout_s=timeout_s)


def _options(settings: Settings) -> dict[str, Any]:
    options: dict[str, Any] = {
        "socket_timeout": settings.redis_timeout_s,
        "socket_connect_timeout": settings.redis_timeout_s,
        "health_check_interval": HEALTH_CHECK_S,
        "username": settings.redis_username or None,
        "password": settings.redis_password.get_secret_value() or None,
    }
    if settings.redis_ca_file is None:
        return options
    if not settings.redis_url.startswith("rediss://"):
        raise SettingsError(
            "AIGQ_REDIS_CA_FILE is set, but AIGQ_REDIS_URL asks for no TLS.",
            action="Write rediss:// in the URL, or drop the file.",
        )
    return options | {"ssl_ca_certs": str(settings.redis_ca_file)}


def _bad_url(error: ValueError) -> SettingsError:
    return SettingsError(
        f"AIGQ_REDIS_URL is no Redis URL: {error}.", action="Write redis://, rediss:// or unix://."
    )
