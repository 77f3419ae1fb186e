"""Mapping versions on a real Redis: whole or not at all, kept for a rollback, healed, and cleaned away."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest
import redis
import redis.asyncio

from agents.think.entries import Pace
from agents.think.mapping import LoadOptions, LoadOutcome, LoadReport, load_mapping
from streams.errors import MappingError, StoreError
from streams.hint_store import AsyncHintReader, HintReader
from streams.redis_client import connect_redis
from streams.redis_keys import (
    THINK_CURRENT,
    THINK_LOCK,
    THINK_VERSIONS,
    popular_key,
    think_index_key,
    think_key,
)
from streams.settings import load_settings
from tests.mapping_folders import Queries, write_version
from tests.redis_databases import empty_database

T = TypeVar("T")
LOADED, UNCHANGED, BUSY = LoadOutcome.LOADED, LoadOutcome.UNCHANGED, LoadOutcome.BUSY
TRIGGERS = [f"Trigger {number}" for number in range(250)]


def mapping_of(version: str) -> Queries:
    return {trigger: [f"{version} {trigger}"] for trigger in TRIGGERS}


@pytest.fixture
def url(redis_url: str) -> str:
    return empty_database(redis_url, 6)


@pytest.fixture
def client(url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(url) as client:
        yield client


def with_client(url: str, act: Callable[[redis.asyncio.Redis], Awaitable[T]]) -> T:
    async def run() -> T:
        async with connect_redis(load_settings({}, redis_url=url)) as client:
            return await act(client)

    return asyncio.run(run())


def paced(batch: int) -> LoadOptions:
    return LoadOptions(Pace(batch, rest=0.1))


def load(url: str, root: Path, version: str | None = None) -> LoadReport:
    """Load what current.json names, after writing `version` with a mapping of its own."""
    if version is not None:
        write_version(root, mapping_of(version), [f"{version} beer"], version=version)
    return with_client(url, lambda client: load_mapping(client, root, paced(100)))


def shown(url: str, trigger: str = "trigger 7") -> tuple[str, ...]:
    with HintReader.from_url(url) as reader:
        return reader.get("nobody", trigger=trigger).queries


def keys_of(client: redis.Redis, version: str) -> int:
    return len(client.keys(think_key(version, "*"))) + client.exists(think_index_key(version))


async def until_entries_of_v2(client: redis.asyncio.Redis) -> None:
    while not await client.scard(think_index_key("v2")):
        pass


def snapshot(client: redis.Redis) -> dict[object, object]:
    return {key: client.dump(key) for key in client.keys("aigq:1:*")}


def test_a_loaded_version_is_what_readers_see(url: str, tmp_path: Path) -> None:
    report = load(url, tmp_path, "v1")
    assert report == LoadReport(LOADED, "v1", triggers=250, popular=1)
    assert shown(url) == ("v1 Trigger 7", "v1 beer")


def test_the_same_version_again_changes_nothing(url: str, client: redis.Redis, tmp_path: Path) -> None:
    load(url, tmp_path, "v1")
    before = snapshot(client)
    assert load(url, tmp_path) == LoadReport(UNCHANGED, "v1", triggers=250)
    assert snapshot(client) == before


def test_the_version_before_stays_and_older_ones_go(url: str, client: redis.Redis, tmp_path: Path) -> None:
    load(url, tmp_path, "v1")
    assert load(url, tmp_path, "v2").previous == "v1"
    assert (keys_of(client, "v1"), keys_of(client, "v2")) == (251, 251)
    report = load(url, tmp_path, "v3")
    assert (report.previous, report.removed) == ("v2", ("v1",))
    assert [keys_of(client, version) for version in ("v1", "v2", "v3")] == [0, 251, 251]
    assert set(client.hkeys(THINK_VERSIONS)) == {b"v2", b"v3"}


def test_a_rollback_names_the_version_before(url: str, tmp_path: Path) -> None:
    load(url, tmp_path, "v1")
    load(url, tmp_path, "v2")
    assert shown(url) == ("v2 Trigger 7", "v2 beer")
    report = load(url, tmp_path, "v1")
    assert (report.outcome, report.previous) == (LOADED, "v2")
    assert shown(url) == ("v1 Trigger 7", "v1 beer")


LOSSES: dict[str, Callable[[redis.Redis], object]] = {
    "everything": lambda client: [client.delete(key) for key in client.keys("aigq:1:*")],
    "the pointer": lambda client: client.delete(THINK_CURRENT),
    "the popular list": lambda client: client.delete(popular_key()),
    "the index": lambda client: client.delete(think_index_key("v1")),
    "part of the index": lambda client: client.spop(think_index_key("v1"), 9),
    "half of the entries": lambda client: client.delete(*(think_key("v1", one) for one in TRIGGERS[::2])),
    "the list of versions and an entry's index": lambda client: (
        client.delete(THINK_VERSIONS),
        client.spop(think_index_key("v1")),
    ),
    "the pointer, to a stranger": lambda client: client.set(THINK_CURRENT, "x"),
}


@pytest.mark.parametrize("loss", LOSSES)
def test_what_redis_lost_is_filled_in(url: str, client: redis.Redis, tmp_path: Path, loss: str) -> None:
    load(url, tmp_path, "v1")
    LOSSES[loss](client)
    assert load(url, tmp_path).outcome is LOADED
    assert keys_of(client, "v1") == 251
    assert shown(url, TRIGGERS[0]) == ("v1 Trigger 0", "v1 beer")
    assert load(url, tmp_path).outcome is UNCHANGED


def test_a_look_at_an_unchanged_version_prolongs_the_popular_list(
    url: str, client: redis.Redis, tmp_path: Path
) -> None:
    load(url, tmp_path, "v1")
    client.expire(popular_key(), 5)
    assert load(url, tmp_path).outcome is UNCHANGED
    assert client.ttl(popular_key()) > 3600


def test_a_faulty_version_changes_nothing(url: str, client: redis.Redis, tmp_path: Path) -> None:
    load(url, tmp_path, "v1")
    before = snapshot(client)
    folder = write_version(tmp_path, mapping_of("v2"), version="v2")
    lines = (folder / "mapping.jsonl").read_bytes()
    (folder / "mapping.jsonl").write_bytes(lines[:-9])
    with pytest.raises(MappingError, match=r"v2/mapping\.jsonl is not the file"):
        load(url, tmp_path)
    assert snapshot(client) == before


def test_other_content_under_the_served_name_is_refused(
    url: str, client: redis.Redis, tmp_path: Path
) -> None:
    load(url, tmp_path, "v1")
    before = snapshot(client)
    write_version(tmp_path, {"milk": ["oats"]}, version="v1")
    with pytest.raises(MappingError, match="other content"):
        load(url, tmp_path)
    assert snapshot(client) == before


def test_other_content_under_a_name_not_served_replaces_it_whole(
    url: str, client: redis.Redis, tmp_path: Path
) -> None:
    load(url, tmp_path, "v1")
    load(url, tmp_path, "v2")
    write_version(tmp_path, {"milk": ["oats"]}, [], version="v1")
    assert load(url, tmp_path).outcome is LOADED
    assert keys_of(client, "v1") == 2
    assert shown(url, "MILK") == ("oats",)


def test_an_interrupted_load_serves_the_old_version_and_is_cleaned_up_by_the_next(
    url: str, client: redis.Redis, tmp_path: Path
) -> None:
    load(url, tmp_path, "v1")
    write_version(tmp_path, mapping_of("v2"), version="v2")

    async def cut_off(other: redis.asyncio.Redis) -> None:
        task = asyncio.create_task(load_mapping(other, tmp_path, paced(1)))
        await until_entries_of_v2(other)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    with_client(url, cut_off)
    assert 0 < keys_of(client, "v2") < 251
    assert shown(url) == ("v1 Trigger 7", "v1 beer")
    assert load(url, tmp_path, "v3").removed == ("v2",)
    assert keys_of(client, "v2") == 0
    assert shown(url) == ("v3 Trigger 7", "v3 beer")


def test_while_another_loads_a_load_reports_busy_and_changes_nothing(
    url: str, client: redis.Redis, tmp_path: Path
) -> None:
    load(url, tmp_path, "v1")
    client.set(THINK_LOCK, "another", px=60_000)
    before = snapshot(client)
    report = load(url, tmp_path, "v2")
    assert (report.outcome, report.loaded) == (BUSY, False)
    assert snapshot(client).keys() == before.keys()
    client.delete(THINK_LOCK)
    assert load(url, tmp_path).outcome is LOADED


def test_a_loader_that_lost_its_lock_swaps_nothing(url: str, client: redis.Redis, tmp_path: Path) -> None:
    load(url, tmp_path, "v1")
    write_version(tmp_path, mapping_of("v2"), version="v2")

    async def robbed(other: redis.asyncio.Redis) -> None:
        task = asyncio.create_task(load_mapping(other, tmp_path, paced(1)))
        await until_entries_of_v2(other)
        await other.set(THINK_LOCK, "another", px=60_000)
        await task

    with pytest.raises(StoreError, match="the version that is served stays"):
        with_client(url, robbed)
    assert shown(url) == ("v1 Trigger 7", "v1 beer")
    assert client.get(THINK_LOCK) == b"another"


def test_of_many_loaders_at_once_each_ends_well(url: str, client: redis.Redis, tmp_path: Path) -> None:
    for number in range(4):
        write_version(tmp_path / str(number), mapping_of(f"v{number}"), version=f"v{number}")

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


def test_readers_never_see_half_a_version(url: str, tmp_path: Path) -> None:
    """Readers ask all the while for triggers that every version has, as versions come and go."""
    versions = [f"v{number}" for number in range(6)]
    load(url, tmp_path, versions[0])

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
            write_version(tmp_path, mapping_of(version), version=version)
            assert (await load_mapping(client, tmp_path, paced(20))).outcome is LOADED
        loading = False
        await asyncio.gather(*readers)
        return seen

    assert len(with_client(url, read_all_the_while)) >= 3
