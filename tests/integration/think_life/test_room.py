"""Mapping versions and a Redis that has no room for them, or none any more."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import redis

from agents.think.entries import Pace
from agents.think.mapping import LoadOptions, LoadOutcome
from streams.embedded.servers import EmbeddedRedis
from streams.errors import StoreRefusedError
from streams.hint_store import HintReader
from streams.redis_keys import THINK_VERSIONS
from tests.think_cuts import NEW, OLD, assert_whole, cut_in_the_middle, serve_v1
from tests.think_life import FAST, keys_of, load, pointer_of, shown


def fill(server: EmbeddedRedis, room_bytes: int) -> redis.Redis:
    client: redis.Redis = redis.Redis.from_url(server.url)
    memory: dict[str, Any] = client.info("memory")
    client.config_set("maxmemory-policy", "noeviction")
    client.config_set("maxmemory", memory["used_memory"] + room_bytes)
    return client


def test_a_mapping_without_room_is_not_begun(own_redis: EmbeddedRedis, larger: Path) -> None:
    serve_v1(own_redis.url, larger)
    with fill(own_redis, 100_000) as client:
        with pytest.raises(StoreRefusedError, match=r"needs about 0\.2 MB of Redis, .* left of") as caught:
            load(own_redis.url, larger)
        assert "maxmemory" in caught.value.action
        assert client.hkeys(THINK_VERSIONS) == [b"v1"]
        client.config_set("maxmemory", 0)
        assert load(own_redis.url, larger).outcome is LoadOutcome.LOADED


def test_a_load_that_fills_redis_takes_back_what_it_wrote(own_redis: EmbeddedRedis, larger: Path) -> None:
    """Others fill it while it is loaded: their writes are refused, too, until the load gives up its place."""
    serve_v1(own_redis.url, larger)
    clients: list[redis.Redis] = []
    cut_in_the_middle(
        own_redis.url, larger, lambda: clients.append(fill(own_redis, 120_000)), StoreRefusedError
    )
    with clients[0] as client:
        assert client.hkeys(THINK_VERSIONS) == [b"v1"]
        assert keys_of(client, "v2") == 0
        assert shown(own_redis.url) == OLD
        assert client.set("a shopper's list", "x" * 5_000)  # there is room again
        client.config_set("maxmemory", 0)
        assert load(own_redis.url, larger, FAST).outcome is LoadOutcome.LOADED
        assert_whole(client, "v2")


def test_a_reader_beside_a_load_sees_the_old_version_or_the_new_one(
    own_redis: EmbeddedRedis, larger: Path
) -> None:
    serve_v1(own_redis.url, larger)
    with (
        HintReader.from_url(own_redis.url, timeout_s=5.0) as reader,
        redis.Redis.from_url(own_redis.url) as client,
    ):
        seen = set()

        def look(*_: object) -> None:
            seen.add(reader.get("nobody", trigger="trigger 7").queries)

        load(own_redis.url, larger, LoadOptions(Pace(batch=100, rest=0.0), report=look))
        assert seen == {OLD}
        look()
        assert seen == {OLD, NEW}
        assert pointer_of(client).previous == "v1"
