"""Tried, promoted, rolled back, deleted: mapping versions on a real Redis, with loaders that come and die."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import orjson
import pytest
import redis
import redis.asyncio
from typer.testing import CliRunner

from agents.think.entries import Pace
from agents.think.lifecycle import promote_version, roll_back_version, start_canary
from agents.think.mapping import LoadOptions, LoadOutcome, LoadReport, load_mapping
from agents.think.mapping_files import read_current
from agents.think.stored import read_pointer
from aigq.main import app
from aigq.think_serving import served_entry
from benchmarks.mapping_load import measure
from streams.errors import MappingError
from streams.hint_store import HintReader
from streams.redis_client import connect_redis
from streams.redis_keys import (
    THINK_CURRENT,
    THINK_LOCK,
    THINK_VERSIONS,
    popular_key,
    think_index_key,
    think_key,
    think_progress_key,
)
from streams.settings import load_settings
from streams.think_entry import ThinkPointer, mapping_for
from tests.mapping_folders import Queries, write_version
from tests.redis_databases import empty_database
from tests.shop import wait_until

T = TypeVar("T")
TRIGGERS = [f"trigger {number}" for number in range(250)]
USERS = [f"household-{number}" for number in range(200)]
FAST = LoadOptions(Pace(batch=100, rest=0.0))
LOAD_IN_CHILD = """
import asyncio, sys
from pathlib import Path
from agents.think.entries import Pace
from agents.think.mapping import LoadOptions, load_mapping
from streams.redis_client import connect_redis
from streams.settings import load_settings
async def main():
    async with connect_redis(load_settings({}, redis_url=sys.argv[1])) as client:
        options = LoadOptions(Pace(batch=10, rest=20.0), lock_s=1.0)
        print((await load_mapping(client, Path(sys.argv[2]), options)).outcome)
asyncio.run(main())
"""


def mapping_of(version: str) -> Queries:
    return {trigger: [f"{version} {trigger}"] for trigger in TRIGGERS}


@pytest.fixture
def url(redis_url: str) -> str:
    return empty_database(redis_url, 11)


@pytest.fixture
def client(url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(url) as client:
        yield client


@pytest.fixture
def root(url: str, tmp_path: Path) -> Path:
    """A folder with v1, which is served, and v2, which is not yet."""
    folder = tmp_path / "think"
    write_version(folder, mapping_of("v2"), ["v2 beer"], version="v2")
    write_version(folder, mapping_of("v1"), ["v1 beer"], version="v1")
    assert load(url, folder).outcome is LoadOutcome.LOADED
    return folder


def with_client(url: str, act: Callable[[redis.asyncio.Redis], Awaitable[T]]) -> T:
    async def run() -> T:
        async with connect_redis(load_settings({}, redis_url=url)) as client:
            return await act(client)

    return asyncio.run(run())


def load(url: str, root: Path) -> LoadReport:
    return with_client(url, lambda client: load_mapping(client, root, FAST))


def pointer_of(client: redis.Redis) -> ThinkPointer:
    return ThinkPointer.model_validate_json(client.get(THINK_CURRENT))


def aigq(url: str, root: Path, *arguments: str) -> Any:
    """Run a command of ``aigq think`` that ends well; what it prints as JSON."""
    environ = {"AIGQ_REDIS_URL": url, "AIGQ_THINK_DIR": str(root)}
    done = CliRunner().invoke(app, ["think", *arguments, "--json"], env=environ, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return orjson.loads(done.stdout.splitlines()[-1])


def shown(url: str, user: str = "nobody") -> tuple[str, ...]:
    with HintReader.from_url(url) as reader:
        return reader.get(user, trigger="trigger 7").queries


def elsewhere(tmp_path: Path, version: str) -> Path:
    """The folder of another worker, which names `version` still."""
    folder = tmp_path / "elsewhere"
    write_version(folder, mapping_of(version), [f"{version} beer"], version=version)
    return folder


def entries_of(client: redis.Redis, version: str) -> int:
    return len(client.keys(think_key(version, "*")))


def test_a_version_is_tried_promoted_and_rolled_back(url: str, root: Path, client: redis.Redis) -> None:
    change = aigq(url, root, "canary", "v2", "--share", "0.5")
    assert (change["version"], change["canary"], change["share"]) == ("v1", "v2", 0.5)
    assert entries_of(client, "v1") == entries_of(client, "v2") == 250
    assert client.get(popular_key()) and shown(url, "")[1:] == ("v1 beer",)

    assert aigq(url, root, "promote")["previous"] == "v1"
    assert shown(url) == ("v2 trigger 7", "v2 beer")
    assert read_current(root) == "v2"

    change = aigq(url, root, "rollback")
    assert (change["version"], change["before"], change["held"]) == ("v1", "v2", ["v2"])
    assert shown(url) == ("v1 trigger 7", "v1 beer")
    assert read_current(root) == "v1"


def test_a_canary_is_seen_by_the_same_users_until_it_is_stopped(
    url: str, root: Path, client: redis.Redis
) -> None:
    aigq(url, root, "canary", "v2", "--share", "0.5")
    pointer = pointer_of(client)
    settings = load_settings({}, redis_url=url, think_dir=root)
    for user in USERS[:20]:
        entry = served_entry(settings, "Trigger 7", user=user)
        assert entry.version == mapping_for(pointer, user)
        assert [one.query for one in entry.queries] == [f"{entry.version} trigger 7"]
    assert 60 < sum(mapping_for(pointer, user) == "v2" for user in USERS) < 140
    assert aigq(url, root, "canary", "--stop")["canary"] is None
    assert {mapping_for(pointer_of(client), user) for user in USERS} == {"v1"}


def test_the_periodic_loader_does_not_undo_a_rollback(url: str, root: Path, tmp_path: Path) -> None:
    with_client(url, lambda client: promote_version(client, root, "v2", FAST))
    other = elsewhere(tmp_path, "v2")
    with_client(url, lambda client: roll_back_version(client, root))
    for folder in (root, other, root, other):  # here current.json names v1 again, there still v2
        assert load(url, folder).outcome in {LoadOutcome.UNCHANGED, LoadOutcome.HELD}
        assert shown(url) == ("v1 trigger 7", "v1 beer")
    assert load(url, other).outcome is LoadOutcome.HELD


def test_the_periodic_loader_does_not_undo_a_promotion(url: str, root: Path, tmp_path: Path) -> None:
    other = elsewhere(tmp_path, "v1")
    with_client(url, lambda client: promote_version(client, root, "v2", FAST))
    for folder in (other, root, other):
        load(url, folder)
        assert shown(url) == ("v2 trigger 7", "v2 beer")


def test_tomorrows_version_comes_after_todays_rollback(url: str, root: Path, tmp_path: Path) -> None:
    aigq(url, root, "promote", "v2")
    aigq(url, root, "rollback")
    other = elsewhere(tmp_path, "v2")
    write_version(root, mapping_of("v3"), version="v3")
    assert load(url, root).outcome is LoadOutcome.LOADED
    assert load(url, other).outcome is LoadOutcome.HELD
    assert shown(url)[0] == "v3 trigger 7"


def test_a_redis_that_lost_everything_comes_back_with_what_people_chose(
    url: str, root: Path, client: redis.Redis
) -> None:
    aigq(url, root, "promote", "v2")
    for key in client.keys("aigq:1:*"):
        client.delete(key)
    load(url, root)
    assert shown(url) == ("v2 trigger 7", "v2 beer")


def test_the_loader_fills_in_what_redis_lost_of_a_canary_and_of_a_version_chosen_by_people(
    url: str, root: Path, client: redis.Redis
) -> None:
    aigq(url, root, "promote", "v2")
    aigq(url, root, "canary", "v1", "--share", "0.5")
    (root / "current.json").write_text('{"version":"v1"}')  # somebody else's folder: held
    for version in ("v1", "v2"):
        client.delete(*(think_key(version, trigger) for trigger in TRIGGERS[::2]))
    assert load(url, root).outcome is LoadOutcome.LOADED
    assert load(url, root).outcome is LoadOutcome.HELD
    assert entries_of(client, "v1") == entries_of(client, "v2") == 250
    assert (pointer_of(client).version, pointer_of(client).held) == ("v2", ("v1",))


def test_what_is_not_there_as_a_whole_is_not_pointed_to(url: str, root: Path, client: redis.Redis) -> None:
    aigq(url, root, "promote", "v2")
    client.hset(THINK_VERSIONS, "v1", "")  # it is being deleted
    with pytest.raises(MappingError, match="nothing to go back to"):
        with_client(url, lambda other: roll_back_version(other, root))
    with pytest.raises(MappingError, match="cannot be read"):
        with_client(url, lambda other: promote_version(other, root, "v9", FAST))
    assert shown(url)[0] == "v2 trigger 7"


def test_a_rollback_does_not_wait_for_a_load(url: str, root: Path, client: redis.Redis) -> None:
    aigq(url, root, "promote", "v2")
    write_version(root, mapping_of("v3"), version="v3")

    async def meanwhile(other: redis.asyncio.Redis) -> None:
        slow = LoadOptions(Pace(batch=5, rest=5.0))
        task = asyncio.create_task(load_mapping(other, root, slow))
        while not await other.scard(think_index_key("v3")):
            await asyncio.sleep(0)
        change = await roll_back_version(other, root)
        assert (change.version, task.done()) == ("v1", False)
        assert (await task).outcome is LoadOutcome.LOADED

    with_client(url, meanwhile)
    assert (pointer_of(client).version, pointer_of(client).previous) == ("v3", "v1")


def test_of_many_who_decide_at_once_nobody_overwrites_another(url: str, root: Path) -> None:
    """Each promotion notes what it replaced; if none got lost, the notes make one chain."""

    async def all_at_once(client: redis.asyncio.Redis) -> ThinkPointer | None:
        names = [f"w{number}" for number in range(8)]
        for name in names:
            write_version(root, mapping_of(name), version=name)
            await start_canary(client, root, name, 0.1, FAST)  # brings it to Redis
        await asyncio.gather(*(promote_version(client, root, name, FAST) for name in names))
        return await read_pointer(client)

    pointer = with_client(url, all_at_once)
    assert pointer is not None
    assert sorted([pointer.version, *pointer.held]) == sorted(["v1", *(f"w{number}" for number in range(8))])
    assert pointer.held[0] == pointer.previous


def test_gc_lists_what_nobody_needs_and_deletes_it_only_when_told(
    url: str, root: Path, client: redis.Redis
) -> None:
    for version in ("v3", "v4", "v5"):
        write_version(root, mapping_of(version), version=version)
    (root / "current.json").write_text('{"version":"v5"}')
    aigq(url, root, "load", "--version", "v3")
    aigq(url, root, "promote", "v2")
    aigq(url, root, "canary", "v4")
    (root / "current.json").write_text('{"version":"v5"}')
    listed = aigq(url, root, "gc", "--keep", "0")
    assert (listed["deleted"], listed["stored"], listed["folders"]) == (False, ["v3"], ["v3"])
    assert (entries_of(client, "v3"), (root / "v3").is_dir()) == (250, True)
    assert aigq(url, root, "gc", "--keep", "9")["folders"] == []
    assert aigq(url, root, "gc", "--keep", "0", "--yes")["stored"] == ["v3"]
    assert [entries_of(client, f"v{number}") for number in (1, 2, 3, 4)] == [250, 250, 0, 250]
    assert sorted(path.name for path in root.iterdir() if path.is_dir()) == ["v1", "v2", "v4", "v5"]
    assert shown(url)[0] == "v2 trigger 7"


def test_show_tells_what_is_served_and_a_missing_trigger(url: str, root: Path) -> None:
    aigq(url, root, "promote", "v2")
    state = aigq(url, root, "show")
    assert (state["pointer"]["version"], state["named"]) == ("v2", "v2")
    assert state["stored"] == {"v1": "whole", "v2": "whole"}
    entry = aigq(url, root, "show", "TRIGGER 7")
    assert (entry["version"], entry["queries"][0]["query"]) == ("v2", "v2 trigger 7")
    assert aigq(url, root, "show", "trigger 7", "--version", "v1")["queries"][0]["query"] == "v1 trigger 7"
    environ = {"AIGQ_REDIS_URL": url, "AIGQ_THINK_DIR": str(root)}
    assert CliRunner().invoke(app, ["think", "show", "no such"], env=environ).exit_code == 1


def test_a_loader_that_is_killed_is_followed_by_one_that_goes_on(
    url: str, root: Path, client: redis.Redis
) -> None:
    write_version(root, {f"trigger {number}": [f"v2 {number}"] for number in range(6_000)}, version="v4")
    command = [sys.executable, "-c", LOAD_IN_CHILD, url, str(root)]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, env=os.environ | {"PYTHONPATH": "."})
    with child:
        wait_until(lambda: _written(client) >= 500, what="the loader to write")
        child.send_signal(signal.SIGKILL)
    assert child.returncode == -signal.SIGKILL
    done = _written(client)
    assert 500 <= done < 6_000
    assert shown(url) == ("v1 trigger 7", "v1 beer")
    assert client.exists(THINK_LOCK)

    steps: list[int] = []
    options = LoadOptions(Pace(batch=100, rest=0.0), report=lambda line, _: steps.append(line))
    deadline_s = time.monotonic() + 10
    while with_client(url, lambda other: load_mapping(other, root, options)).outcome is LoadOutcome.BUSY:
        assert time.monotonic() < deadline_s  # the dead one's lock ends by itself
        time.sleep(0.1)
    assert steps[0] > done  # not from the beginning
    assert steps[-1] == 6_000
    assert entries_of(client, "v4") == client.scard(think_index_key("v4")) == 6_000
    assert shown(url)[0] == "v2 7"
    assert not client.exists(think_progress_key("v4"))


def _written(client: redis.Redis) -> int:
    return int((client.get(think_progress_key("v4")) or b":0").partition(b":")[2])


def test_a_load_of_other_content_does_not_go_on_with_what_was_left(
    url: str, root: Path, client: redis.Redis
) -> None:
    client.hset(THINK_VERSIONS, "v2", "")
    client.sadd(think_index_key("v2"), "left over")
    client.set(think_key("v2", "left over"), "x")
    client.set(think_progress_key("v2"), "another digest:200")
    aigq(url, root, "promote", "v2")
    assert entries_of(client, "v2") == 250
    assert not client.exists(think_key("v2", "left over"))


def test_what_redis_did_not_keep_is_written_again_before_it_is_served(
    url: str, root: Path, client: redis.Redis
) -> None:
    aigq(url, root, "load", "--version", "v2")
    digest = client.hget(THINK_VERSIONS, "v2")
    client.hset(THINK_VERSIONS, "v2", "")  # as a killed loader leaves it that had written 200 lines
    client.set(think_progress_key("v2"), digest + b":200")
    client.delete(*(think_key("v2", trigger) for trigger in TRIGGERS))  # and Redis forgot them
    aigq(url, root, "promote", "v2")
    assert entries_of(client, "v2") == 250


def test_a_reader_meets_no_error_and_no_mixed_version_while_a_version_is_loaded(tmp_path: Path) -> None:
    """The benchmark in small: what is right; how fast it is depends on the machine."""
    figures = measure(20_000, 300.0, Pace(batch=200, rest=0.5), 0.5, tmp_path)
    assert figures["loaded"]["outcome"] == "loaded"
    for phase in figures["phases"].values():
        assert (phase["errors"], phase["mixed"]) == (0, 0)
        assert phase["requests"] > 0
