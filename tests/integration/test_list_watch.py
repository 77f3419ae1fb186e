"""The benchmark's watch sees every list that the writer publishes, with its version and when."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from benchmarks.list_watch import ListWatch
from streams.embedded.servers import EmbeddedRedis
from streams.hint_list import HintList
from streams.hint_writer import HintWriter
from streams.redis_client import connect_redis
from streams.settings import load_settings
from streams.version import Version
from tests.redis_databases import list_of


def newer(one: HintList, at_ms: int) -> HintList:
    return one.model_copy(update={"version": str(Version(at_ms, 1))})


def test_each_list_is_seen_once_and_after_it_was_written(tmp_path: Path) -> None:
    async def publish(url: str, lists: list[HintList]) -> None:
        async with connect_redis(load_settings({}, redis_url=url)) as client:
            await HintWriter(client, runs_kept=2, ttl_s=60).publish(lists)

    users = [list_of(f"household:{n} ü", "milk", "bread") for n in range(20)]
    with EmbeddedRedis(tmp_path) as server:
        watch = ListWatch(server.url)
        began_ms = 1000 * time.time()
        asyncio.run(publish(server.url, [newer(one, 1_000) for one in users]))
        time.sleep(0.3)
        asyncio.run(publish(server.url, [newer(one, 2_000) for one in users]))
        asyncio.run(publish(server.url, [newer(one, 1_500) for one in users]))  # outdated: nothing new to see
        time.sleep(0.3)
        seen = watch.stop()
    assert sorted((one.user, one.version) for one in seen) == sorted(
        (one.user, Version(at_ms, 1)) for one in users for at_ms in (1_000, 2_000)
    )
    assert all(began_ms <= one.at_ms <= 1000 * time.time() for one in seen)
