"""What is left of a load when its process, its Redis or its file goes in the middle, and what comes after."""

from __future__ import annotations

import asyncio
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
import redis.asyncio

from agents.think.entries import Pace
from agents.think.mapping import LoadOptions, LoadOutcome, load_mapping
from streams.embedded.servers import EmbeddedRedis
from streams.errors import MappingError, StoreRefusedError, StoreUnavailableError
from streams.hint_store import HintReader
from streams.redis_keys import (
    THINK_LOCK,
    THINK_VERSIONS,
    think_index_key,
    think_key,
    think_popular_key,
    think_progress_key,
)
from streams.think_entry import ThinkEntry
from tests.redis_databases import empty_database
from tests.shop import wait_until
from tests.think_life import (
    FAST,
    SLOW,
    TRIGGERS,
    aigq,
    entries_of,
    keys_of,
    load,
    loader_process,
    mapping_of,
    pointer_of,
    shown,
    until_written,
    with_client,
    write_named,
    written,
)

LINES = 1_200
OLD = ("v1 Trigger 7", "v1 beer")
NEW = ("v2 Trigger 7", "v2 beer")


@pytest.fixture
def url(redis_url: str) -> str:
    return empty_database(redis_url, 13)


@pytest.fixture
def client(url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(url) as client:
        yield client


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[EmbeddedRedis]:
    """A server that a test may kill or fill."""
    with EmbeddedRedis(tmp_path / "redis") as server:
        yield server


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder with v1, and v2, which is larger and which current.json names."""
    folder = tmp_path / "think"
    write_named(folder, "v1")
    write_named(folder, "v2", triggers=LINES)
    return folder


def serve_v1(url: str, root: Path) -> None:
    """v1 is served as followed, not by a decision: v2 comes next."""
    name(root, "v1")
    assert load(url, root).outcome is LoadOutcome.LOADED
    name(root, "v2")


def name(root: Path, version: str) -> None:
    (root / "current.json").write_text(f'{{"version":"{version}"}}')


def cut_in_the_middle(
    url: str,
    root: Path,
    cut: Callable[[], object],
    error: type[BaseException],
    options: LoadOptions = SLOW,
) -> None:
    """Run a slow load of v2 until it has written a part; then `cut`, and see it end with the error."""

    async def run(client: redis.asyncio.Redis) -> None:
        task = asyncio.create_task(load_mapping(client, root, options))
        await until_written(client, "v2", 300)
        cut()
        with pytest.raises(error):
            await task

    with_client(url, run)


def first_line_of_next_load(url: str, root: Path) -> int:
    """Load until it is done; where it began to tell."""
    steps: list[int] = []
    options = LoadOptions(Pace(batch=100, rest=0.0), report=lambda line, _: steps.append(line))
    wait_until(lambda: load(url, root, options).outcome is LoadOutcome.LOADED, "the dead one's lock to end")
    assert steps[-1] == LINES
    return steps[0]


def assert_whole(client: redis.Redis, version: str, triggers: int = LINES) -> None:
    """Every entry is that version's own, and nothing else is there."""
    for trigger, queries in mapping_of(version, triggers).items():
        entry = ThinkEntry.model_validate_json(client.get(think_key(version, trigger)))
        assert [one.query for one in entry.queries] == queries
    assert entries_of(client, version) == client.scard(think_index_key(version)) == triggers
    assert not client.exists(think_progress_key(version))


def test_a_loader_that_is_killed_is_followed_by_one_that_goes_on(
    url: str, root: Path, client: redis.Redis
) -> None:
    serve_v1(url, root)
    with loader_process(url, root) as child:
        wait_until(lambda: written(client, "v2") >= 300, "the loader to write")
        child.send_signal(signal.SIGKILL)
    assert child.returncode == -signal.SIGKILL
    done = written(client, "v2")
    assert 300 <= done < LINES
    assert shown(url) == OLD
    assert client.exists(THINK_LOCK)
    assert first_line_of_next_load(url, root) > done  # not from the beginning
    assert_whole(client, "v2")
    assert shown(url) == NEW


def test_a_redis_that_is_killed_and_comes_back_is_loaded_on(own_redis: EmbeddedRedis, root: Path) -> None:
    serve_v1(own_redis.url, root)
    cut_in_the_middle(own_redis.url, root, own_redis.kill, StoreUnavailableError)
    own_redis.restart()
    assert shown(own_redis.url) == OLD
    assert first_line_of_next_load(own_redis.url, root) > 100
    with redis.Redis.from_url(own_redis.url) as client:
        assert_whole(client, "v2")
    assert shown(own_redis.url) == NEW


def test_a_redis_that_is_killed_and_comes_back_empty_is_loaded_anew(
    own_redis: EmbeddedRedis, root: Path
) -> None:
    serve_v1(own_redis.url, root)
    cut_in_the_middle(own_redis.url, root, own_redis.kill, StoreUnavailableError)
    own_redis.stop()
    shutil.rmtree(own_redis.data_dir / "appendonlydir")
    own_redis.start()
    assert shown(own_redis.url) == ()  # no mapping is no error
    assert first_line_of_next_load(own_redis.url, root) == 100
    with redis.Redis.from_url(own_redis.url) as client:
        assert_whole(client, "v2")
    assert shown(own_redis.url) == NEW


def test_a_redis_that_forgets_everything_while_a_loader_writes_on_keeps_no_half_version(
    url: str, root: Path, client: redis.Redis
) -> None:
    """As if it came back empty so fast that the loader's client noticed nothing."""
    serve_v1(url, root)
    unaware = LoadOptions(SLOW.pace, lock_s=60.0)  # it looks after its lock at the end alone
    cut_in_the_middle(
        url,
        root,
        lambda: [client.delete(key) for key in client.keys("aigq:1:*")],
        MappingError,
        unaware,
    )
    assert shown(url) == ()
    assert client.hget(THINK_VERSIONS, "v2") == b""
    name(root, "v1")
    assert load(url, root).removed == ("v2",)
    assert keys_of(client, "v2") == 0
    assert shown(url) == OLD


def test_a_file_that_is_exchanged_while_it_is_loaded_is_not_served_and_leaves_nothing_behind(
    url: str, root: Path, client: redis.Redis
) -> None:
    serve_v1(url, root)
    path = root / "v2" / "mapping.jsonl"
    content = path.read_bytes()
    for other in (content.replace(b"v2 Trigger", b"xx Trigger"), content[: len(content) // 2]):
        cut_in_the_middle(url, root, lambda other=other: path.write_bytes(other), MappingError)
        assert shown(url) == OLD
        path.write_bytes(content)
        load(url, root)
        assert_whole(client, "v2")
        assert shown(url) == NEW
        aigq(url, root, "rollback")
        aigq(url, root, "gc", "--yes")
        client.delete("aigq:1:think:current")
        serve_v1(url, root)


def test_a_loader_that_died_over_another_file_is_not_followed_on(
    url: str, root: Path, client: redis.Redis
) -> None:
    """The mark says as many lines of the same version, but their hash is another."""
    serve_v1(url, root)
    path = root / "v2" / "mapping.jsonl"
    content = path.read_bytes()
    cut_in_the_middle(
        url, root, lambda: path.write_bytes(content.replace(b"v2 Trigger", b"xx Trigger")), MappingError
    )
    assert written(client, "v2") >= 300
    path.write_bytes(content)
    assert first_line_of_next_load(url, root) == 100
    assert_whole(client, "v2")


def test_what_redis_forgot_of_a_cut_load_is_written_again(url: str, root: Path, client: redis.Redis) -> None:
    serve_v1(url, root)
    with loader_process(url, root) as child:
        wait_until(lambda: written(client, "v2") >= 300, "the loader to write")
        child.kill()
    client.delete(*(think_key("v2", trigger) for trigger in TRIGGERS))
    first_line_of_next_load(url, root)
    assert_whole(client, "v2")


def test_a_load_of_other_content_does_not_go_on_with_what_was_left(
    url: str, root: Path, client: redis.Redis
) -> None:
    client.hset(THINK_VERSIONS, "v2", "")
    client.sadd(think_index_key("v2"), "left over")
    client.set(think_key("v2", "left over"), "x")
    client.set(think_progress_key("v2"), "another digest:200:abc")
    assert load(url, root).outcome is LoadOutcome.LOADED
    assert_whole(client, "v2")


@pytest.mark.parametrize("mark", ["", "x", "{digest}:many:abc", "{digest}:2", "{digest}:9999999:abc"])
def test_a_mark_that_says_nothing_is_a_load_from_the_beginning(
    url: str, root: Path, client: redis.Redis, mark: str
) -> None:
    aigq(url, root, "load")
    digest = client.hget(THINK_VERSIONS, "v2").decode()
    client.hset(THINK_VERSIONS, "v2", "")
    client.delete("aigq:1:think:current", think_popular_key("v2"), think_key("v2", TRIGGERS[3]))
    client.set(think_progress_key("v2"), mark.format(digest=digest))
    assert load(url, root).outcome is LoadOutcome.LOADED
    assert_whole(client, "v2")


def fill(server: EmbeddedRedis, room_bytes: int) -> redis.Redis:
    client: redis.Redis = redis.Redis.from_url(server.url)
    memory: dict[str, Any] = client.info("memory")
    client.config_set("maxmemory-policy", "noeviction")
    client.config_set("maxmemory", memory["used_memory"] + room_bytes)
    return client


def test_a_mapping_without_room_is_not_begun(own_redis: EmbeddedRedis, root: Path) -> None:
    serve_v1(own_redis.url, root)
    with fill(own_redis, 100_000) as client:
        with pytest.raises(StoreRefusedError, match=r"needs about 0\.2 MB of Redis, .* left of") as caught:
            load(own_redis.url, root)
        assert "maxmemory" in caught.value.action
        assert client.hkeys(THINK_VERSIONS) == [b"v1"]
        client.config_set("maxmemory", 0)
        assert load(own_redis.url, root).outcome is LoadOutcome.LOADED


def test_a_load_that_fills_redis_takes_back_what_it_wrote(own_redis: EmbeddedRedis, root: Path) -> None:
    """Others fill it while it is loaded: their writes are refused, too, until the load gives up its place."""
    serve_v1(own_redis.url, root)
    clients: list[redis.Redis] = []
    cut_in_the_middle(
        own_redis.url, root, lambda: clients.append(fill(own_redis, 120_000)), StoreRefusedError
    )
    with clients[0] as client:
        assert client.hkeys(THINK_VERSIONS) == [b"v1"]
        assert keys_of(client, "v2") == 0
        assert shown(own_redis.url) == OLD
        assert client.set("a shopper's list", "x" * 5_000)  # there is room again
        client.config_set("maxmemory", 0)
        assert load(own_redis.url, root, FAST).outcome is LoadOutcome.LOADED
        assert_whole(client, "v2")


def test_a_reader_beside_all_this_sees_the_old_version_or_the_new_one(
    own_redis: EmbeddedRedis, root: Path
) -> None:
    serve_v1(own_redis.url, root)
    with HintReader.from_url(own_redis.url, timeout_s=5.0) as reader, fill(own_redis, 0) as client:
        seen = set()

        def look(*_: object) -> None:
            seen.add(reader.get("nobody", trigger="trigger 7").queries)

        client.config_set("maxmemory", 0)
        load(own_redis.url, root, LoadOptions(Pace(batch=100, rest=0.0), report=look))
        assert seen == {OLD}
        look()
        assert seen == {OLD, NEW}
        assert pointer_of(client).previous == "v1"
