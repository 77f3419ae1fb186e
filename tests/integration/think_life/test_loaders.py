"""Loaders beside loaders and readers, on a real Redis: one works at a time, readers see whole versions."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
import redis
import redis.asyncio

from agents.think.entries import Pace
from agents.think.mapping import LoadOptions, LoadOutcome, LoadReport, load_mapping
from benchmarks.mapping_load import measure
from streams.errors import StoreError
from streams.hint_store import AsyncHintReader
from streams.redis_keys import THINK_LOCK, THINK_VERSIONS, think_index_key
from tests.think_life import (
    TRIGGERS,
    keys_of,
    load,
    load_new,
    loader_process,
    pointer_of,
    shown,
    snapshot,
    until_written,
    with_client,
    write_named,
)

LOADED, BUSY = LoadOutcome.LOADED, LoadOutcome.BUSY


def paced(batch: int) -> LoadOptions:
    return LoadOptions(Pace(batch, rest=0.1))


def test_an_interrupted_load_serves_the_old_version_and_is_cleaned_up_by_the_next(
    url: str, client: redis.Redis, tmp_path: Path
) -> None:
    load_new(url, tmp_path, "v1")
    write_named(tmp_path, "v2")

    async def cut_off(other: redis.asyncio.Redis) -> None:
        task = asyncio.create_task(load_mapping(other, tmp_path, paced(1)))
        await until_written(other, "v2")
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    with_client(url, cut_off)
    assert 0 < keys_of(client, "v2") < 251
    assert shown(url) == ("v1 Trigger 7", "v1 beer")
    assert load_new(url, tmp_path, "v3").removed == ("v2",)
    assert keys_of(client, "v2") == 0
    assert shown(url) == ("v3 Trigger 7", "v3 beer")


def test_while_another_loads_a_load_reports_busy_and_changes_nothing(
    url: str, client: redis.Redis, tmp_path: Path
) -> None:
    load_new(url, tmp_path, "v1")
    client.set(THINK_LOCK, "another", px=60_000)
    before = snapshot(client)
    report = load_new(url, tmp_path, "v2")
    assert (report.outcome, report.loaded) == (BUSY, False)
    assert snapshot(client).keys() == before.keys()
    client.delete(THINK_LOCK)
    assert load(url, tmp_path).outcome is LOADED


def test_a_loader_that_lost_its_lock_swaps_nothing(url: str, client: redis.Redis, tmp_path: Path) -> None:
    load_new(url, tmp_path, "v1")
    write_named(tmp_path, "v2")

    async def robbed(other: redis.asyncio.Redis) -> None:
        task = asyncio.create_task(load_mapping(other, tmp_path, paced(1)))
        await until_written(other, "v2")
        await other.set(THINK_LOCK, "another", px=60_000)
        await task

    with pytest.raises(StoreError, match="the version that is served stays"):
        with_client(url, robbed)
    assert shown(url) == ("v1 Trigger 7", "v1 beer")
    assert client.get(THINK_LOCK) == b"another"


def test_of_many_loaders_at_once_each_ends_well(url: str, client: redis.Redis, tmp_path: Path) -> None:
    for number in range(4):
        write_named(tmp_path / str(number), f"v{number}")

    async def all_at_once(_: redis.asyncio.Redis) -> list[LoadReport]:
        async def one(number: int) -> LoadReport:
            async with redis.asyncio.Redis.from_url(url) as other:
                while True:
                    report = await load_mapping(other, tmp_path / str(number), paced(50))
                    if report.outcome is not BUSY:
                        return report
                    await asyncio.sleep(0.005)

        return await asyncio.gather(*(one(number) for number in range(4)))

    reports = with_client(url, all_at_once)
    assert {report.outcome for report in reports} == {LOADED}
    kept = set(client.hkeys(THINK_VERSIONS))
    assert len(kept) == 2
    assert [keys_of(client, f"v{number}") for number in range(4)] == [
        251 if f"v{number}".encode() in kept else 0 for number in range(4)
    ]


def test_of_two_processes_that_load_at_once_one_loads_and_the_other_lets_it(
    url: str, client: redis.Redis, tmp_path: Path
) -> None:
    write_named(tmp_path, "v1", triggers=800)
    with loader_process(url, tmp_path) as one, loader_process(url, tmp_path) as another:
        outcomes = sorted(child.communicate()[0].decode().strip() for child in (one, another))
    assert outcomes in (["busy", "loaded"], ["loaded", "unchanged"])
    assert keys_of(client, "v1") == 801
    assert client.scard(think_index_key("v1")) == pointer_of(client).triggers == 800


def test_readers_never_see_half_a_version(url: str, tmp_path: Path) -> None:
    """Readers ask all the while for triggers that every version has, as versions come and go."""
    versions = [f"v{number}" for number in range(6)]
    load_new(url, tmp_path, versions[0])

    async def read_all_the_while(client: redis.asyncio.Redis) -> set[str]:
        loading = True
        seen: set[str] = set()

        async def read(first: int) -> None:
            async with AsyncHintReader.from_url(url, timeout_s=5.0) as reader:
                place = first
                while loading:
                    place = (place + 37) % len(TRIGGERS)
                    answer = await reader.get("nobody", trigger=TRIGGERS[place], limit=1)
                    assert answer.queries == (f"{answer.mapping} {TRIGGERS[place]}",)
                    seen.add(answer.mapping)

        readers = [asyncio.create_task(read(first)) for first in range(4)]
        for version in versions[1:]:
            write_named(tmp_path, version)
            assert (await load_mapping(client, tmp_path, paced(20))).outcome is LOADED
        loading = False
        await asyncio.gather(*readers)
        return seen

    assert len(with_client(url, read_all_the_while)) >= 3


def test_a_reader_meets_no_error_and_no_mixed_version_while_a_version_is_loaded(tmp_path: Path) -> None:
    """The benchmark in small: what is right; how fast it is depends on the machine."""
    report = measure(5_000, 100.0, Pace(batch=200, rest=0.5), 0.5, tmp_path, rounds=2)
    for one in report.more["rounds"]:
        assert one["loaded"]["outcome"] == "loaded"
        for phase in (one["quiet"], one["load"]):
            assert (phase["errors"], phase["mixed"]) == (0, 0)
            assert phase["requests"] > 0
