"""What `aigq doctor` looks at in Redis. Changes nothing, apart from a key that is written and deleted."""

from __future__ import annotations

import time
from typing import Any, cast

import redis

from aigq.finding import Finding, Level
from streams.redis_client import connect_redis_sync, is_cluster
from streams.redis_errors import store_errors
from streams.redis_keys import PREFIX as KEY_PREFIX
from streams.settings import Settings

CLOCK_TOLERANCE_S = 2.0
SLOW_REDIS_S = 0.05
OLDEST_REDIS = (6, 0)


def look_at_redis(settings: Settings) -> list[Finding]:
    """How it is reached, whether it answers, its version and clock, what may be done. Raises StoreError."""
    client = connect_redis_sync(settings)
    try:
        with store_errors("Redis was looked at"):
            way = [*_cluster(client), *_sentinels(client)]
            return [*way, _answer_time(client), _version(client), _clock(client), _may_write(client)]
    finally:
        client.close()


def _answer_time(client: redis.Redis) -> Finding:
    started = time.perf_counter()
    client.ping()
    client.ping()
    seconds = (time.perf_counter() - started) / 2
    level: Level = "ok" if seconds < SLOW_REDIS_S else "warning"
    action = "" if level == "ok" else "Put Redis nearer to the workers."
    return Finding("redis", level, f"answers in {seconds * 1000:.1f} ms", action)


def _version(client: redis.Redis) -> Finding:
    text = str(client.info("server").get("redis_version", "0"))
    version = tuple(int(part) for part in text.split(".")[:2])
    if version < OLDEST_REDIS:
        return Finding("redis", "problem", f"version {text}", "Upgrade to 6.0 or newer.")
    return Finding("redis", "ok", f"version {text}")


def _clock(client: redis.Redis) -> Finding:
    seconds, micros = client.time()
    apart = abs(time.time() - (seconds + micros / 1e6))
    if apart > CLOCK_TOLERANCE_S:
        action = "Let NTP set both clocks: freshness and expiry are measured by them."
        return Finding("clock", "warning", f"{apart:.1f} s apart from Redis", action)
    return Finding("clock", "ok", f"{apart * 1000:.0f} ms apart from Redis")


def _may_write(client: redis.Redis) -> Finding:
    key = f"{KEY_PREFIX}doctor"
    client.eval("redis.call('SET', KEYS[1], '1', 'PX', 1000) redis.call('DEL', KEYS[1])", 1, key)
    return Finding("redis", "ok", "may write keys and run scripts")


def _cluster(client: redis.Redis) -> list[Finding]:
    if not is_cluster(client):
        return []
    nodes = cast("Any", client).get_primaries()  # redis-py gives it no types
    found = f"a Cluster of {len(nodes)} primaries: lists and readers work with it, Think does not"
    return [Finding("redis", "warning", found, "Run the workers without the think role (--only …).")]


def _sentinels(client: redis.Redis) -> list[Finding]:
    """Which primary the Sentinels name, and how many of those in the URL answer."""
    manager: Any = getattr(getattr(client, "connection_pool", None), "sentinel_manager", None)
    if manager is None:
        return []
    host, port = client.connection_pool.get_master_address()  # type: ignore[attr-defined] # of Sentinels' pool
    answering = sum(map(_answers, manager.sentinels))
    found = f"primary {host}:{port}, by {answering} of {len(manager.sentinels)} Sentinels"
    if answering < len(manager.sentinels):
        return [Finding("redis", "warning", found, "Start the others: a fail-over needs a majority.")]
    return [Finding("redis", "ok", found)]


def _answers(sentinel: redis.Redis) -> bool:
    try:
        return bool(sentinel.ping())
    except redis.RedisError:
        return False
