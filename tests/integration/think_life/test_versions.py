"""Tried, promoted, rolled back: what people decide about mapping versions stands, on a real Redis."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
import redis
import redis.asyncio

from agents.think.lifecycle import promote_version, roll_back_version, start_canary
from agents.think.mapping import LoadOutcome, load_mapping
from agents.think.stored import read_pointer
from agents.think.version_folder import read_current
from aigq.think_serving import served_entry
from streams.errors import MappingError
from streams.redis_keys import THINK_VERSIONS, popular_key, think_key
from streams.settings import load_settings
from streams.think_entry import ThinkPointer, mapping_for
from tests.think_life import (
    FAST,
    SLOW,
    TRIGGERS,
    aigq,
    entries_of,
    load,
    pointer_of,
    shown,
    until_written,
    with_client,
    write_named,
)

USERS = [f"household-{number}" for number in range(200)]


def elsewhere(tmp_path: Path, version: str) -> Path:
    """The folder of another worker, which names `version` still."""
    return write_named(tmp_path / "elsewhere", version).parent


def test_a_version_is_tried_promoted_and_rolled_back(url: str, served: Path, client: redis.Redis) -> None:
    change = aigq(url, served, "canary", "v2", "--share", "0.5")
    assert (change["version"], change["canary"], change["share"]) == ("v1", "v2", 0.5)
    assert entries_of(client, "v1") == entries_of(client, "v2") == 250
    assert client.get(popular_key()) and shown(url, user="")[1:] == ("v1 beer",)

    assert aigq(url, served, "promote")["previous"] == "v1"
    assert shown(url) == ("v2 Trigger 7", "v2 beer")
    assert read_current(served) == "v2"

    change = aigq(url, served, "rollback")
    assert (change["version"], change["before"], change["held"]) == ("v1", "v2", ["v2"])
    assert shown(url) == ("v1 Trigger 7", "v1 beer")
    assert read_current(served) == "v1"


def test_a_canary_is_seen_by_the_same_users_until_it_is_stopped(
    url: str, served: Path, client: redis.Redis
) -> None:
    aigq(url, served, "canary", "v2", "--share", "0.5")
    pointer = pointer_of(client)
    settings = load_settings({}, redis_url=url, think_dir=served)
    for user in USERS[:20]:
        entry = served_entry(settings, "Trigger 7", user=user)
        assert entry.version == mapping_for(pointer, user)
        assert [one.query for one in entry.queries] == [f"{entry.version} Trigger 7"]
    assert 60 < sum(mapping_for(pointer, user) == "v2" for user in USERS) < 140
    assert aigq(url, served, "canary", "--stop")["canary"] is None
    assert {mapping_for(pointer_of(client), user) for user in USERS} == {"v1"}


def test_the_periodic_loader_does_not_undo_a_rollback(url: str, served: Path, tmp_path: Path) -> None:
    with_client(url, lambda client: promote_version(client, served, "v2", FAST))
    other = elsewhere(tmp_path, "v2")
    with_client(url, lambda client: roll_back_version(client, served))
    for folder in (served, other, served, other):  # here current.json names v1 again, there still v2
        assert load(url, folder).outcome in {LoadOutcome.UNCHANGED, LoadOutcome.HELD}
        assert shown(url) == ("v1 Trigger 7", "v1 beer")
    assert load(url, other).outcome is LoadOutcome.HELD


def test_the_periodic_loader_does_not_undo_a_promotion(url: str, served: Path, tmp_path: Path) -> None:
    other = elsewhere(tmp_path, "v1")
    with_client(url, lambda client: promote_version(client, served, "v2", FAST))
    for folder in (other, served, other):
        load(url, folder)
        assert shown(url) == ("v2 Trigger 7", "v2 beer")


def test_tomorrows_version_comes_after_todays_rollback(url: str, served: Path, tmp_path: Path) -> None:
    aigq(url, served, "promote", "v2")
    aigq(url, served, "rollback")
    other = elsewhere(tmp_path, "v2")
    write_named(served, "v3")
    assert load(url, served).outcome is LoadOutcome.LOADED
    assert load(url, other).outcome is LoadOutcome.HELD
    assert shown(url)[0] == "v3 Trigger 7"


def test_a_redis_that_lost_everything_comes_back_with_what_people_chose(
    url: str, served: Path, client: redis.Redis
) -> None:
    aigq(url, served, "promote", "v2")
    for key in client.keys("aigq:1:*"):
        client.delete(key)
    load(url, served)
    assert shown(url) == ("v2 Trigger 7", "v2 beer")


def test_the_loader_fills_in_what_redis_lost_of_a_canary_and_of_a_version_chosen_by_people(
    url: str, served: Path, client: redis.Redis
) -> None:
    aigq(url, served, "promote", "v2")
    aigq(url, served, "canary", "v1", "--share", "0.5")
    (served / "current.json").write_text('{"version":"v1"}')  # somebody else's folder: held
    for version in ("v1", "v2"):
        client.delete(*(think_key(version, trigger) for trigger in TRIGGERS[::2]))
    assert load(url, served).outcome is LoadOutcome.LOADED
    assert load(url, served).outcome is LoadOutcome.HELD
    assert entries_of(client, "v1") == entries_of(client, "v2") == 250
    assert (pointer_of(client).version, pointer_of(client).held) == ("v2", ("v1",))


def test_what_is_not_there_as_a_whole_is_not_pointed_to(url: str, served: Path, client: redis.Redis) -> None:
    aigq(url, served, "promote", "v2")
    client.hset(THINK_VERSIONS, "v1", "")  # it is being deleted
    with pytest.raises(MappingError, match="nothing to go back to"):
        with_client(url, lambda other: roll_back_version(other, served))
    with pytest.raises(MappingError, match=r"no version v9 in .* it has v1, v2"):
        with_client(url, lambda other: promote_version(other, served, "v9", FAST))
    assert shown(url)[0] == "v2 Trigger 7"


def test_a_rollback_does_not_wait_for_a_load_and_stands_when_it_ends(
    url: str, served: Path, client: redis.Redis
) -> None:
    aigq(url, served, "promote", "v2")
    write_named(served, "v3")

    async def meanwhile(other: redis.asyncio.Redis) -> None:
        task = asyncio.create_task(load_mapping(other, served, SLOW))
        await until_written(other, "v3")
        change = await roll_back_version(other, served)
        assert (change.version, task.done()) == ("v1", False)
        assert (await task).outcome is LoadOutcome.STAGED

    with_client(url, meanwhile)
    assert load(url, served).outcome is LoadOutcome.UNCHANGED
    assert (pointer_of(client).version, entries_of(client, "v3")) == ("v1", 250)
    assert aigq(url, served, "promote", "v3")["version"] == "v3"


def test_a_promotion_while_another_version_is_loaded_stands_when_the_load_ends(
    url: str, served: Path
) -> None:
    aigq(url, served, "load", "--version", "v2")
    write_named(served, "v3")

    async def meanwhile(other: redis.asyncio.Redis) -> None:
        task = asyncio.create_task(load_mapping(other, served, SLOW))
        await until_written(other, "v3")
        change = await promote_version(other, served, "v2", FAST)
        assert (change.version, task.done()) == ("v2", False)
        assert (await task).outcome is LoadOutcome.STAGED

    with_client(url, meanwhile)
    assert read_current(served) == "v2"
    assert load(url, served).outcome is LoadOutcome.UNCHANGED
    assert shown(url)[0] == "v2 Trigger 7"


def test_what_must_be_written_first_waits_for_the_loader_that_is_at_work(url: str, served: Path) -> None:
    write_named(served, "v3")

    async def meanwhile(other: redis.asyncio.Redis) -> None:
        task = asyncio.create_task(load_mapping(other, served, SLOW))
        await until_written(other, "v3")
        with pytest.raises(MappingError, match="Another loader is at work"):
            await promote_version(other, served, "v2", FAST)
        assert (await task).outcome is LoadOutcome.LOADED

    with_client(url, meanwhile)
    assert shown(url)[0] == "v3 Trigger 7"


def test_of_many_who_decide_at_once_nobody_overwrites_another(url: str, served: Path) -> None:
    """Each promotion notes what it replaced; if none got lost, the notes make one chain."""

    async def all_at_once(client: redis.asyncio.Redis) -> ThinkPointer | None:
        names = [f"w{number}" for number in range(8)]
        for name in names:
            write_named(served, name)
            await start_canary(client, served, name, 0.1, FAST)  # brings it to Redis
        await asyncio.gather(*(promote_version(client, served, name, FAST) for name in names))
        return await read_pointer(client)

    pointer = with_client(url, all_at_once)
    assert pointer is not None
    assert sorted([pointer.version, *pointer.held]) == sorted(["v1", *(f"w{number}" for number in range(8))])
    assert pointer.held[0] == pointer.previous
