"""What is left of a load when its process, its Redis or its file goes in the middle, and what comes after."""

from __future__ import annotations

import shutil
import signal
from pathlib import Path

import pytest
import redis
import redis.asyncio

from agents.think.entries import Pace
from agents.think.mapping import LoadOptions, LoadOutcome
from streams.embedded.servers import EmbeddedRedis
from streams.errors import MappingError, StoreUnavailableError
from streams.redis_keys import (
    THINK_LOCK,
    THINK_VERSIONS,
    think_index_key,
    think_key,
    think_popular_key,
    think_progress_key,
)
from tests.shop import wait_until
from tests.think_cuts import (
    LINES,
    NEW,
    OLD,
    assert_whole,
    cut_in_the_middle,
    name,
    serve_v1,
)
from tests.think_life import (
    SLOW,
    TRIGGERS,
    aigq,
    keys_of,
    load,
    loader_process,
    shown,
    written,
)


def first_line_of_next_load(url: str, root: Path) -> int:
    """Load until it is done; where it began to tell."""
    steps: list[int] = []
    options = LoadOptions(Pace(batch=100, rest=0.0), report=lambda line, _: steps.append(line))
    wait_until(lambda: load(url, root, options).outcome is LoadOutcome.LOADED, "the dead one's lock to end")
    assert steps[-1] == LINES
    return steps[0]


def test_a_loader_that_is_killed_is_followed_by_one_that_goes_on(
    url: str, larger: Path, client: redis.Redis
) -> None:
    serve_v1(url, larger)
    with loader_process(url, larger) as child:
        wait_until(lambda: written(client, "v2") >= 300, "the loader to write")
        child.send_signal(signal.SIGKILL)
    assert child.returncode == -signal.SIGKILL
    done = written(client, "v2")
    assert 300 <= done < LINES
    assert shown(url) == OLD
    assert client.exists(THINK_LOCK)
    assert first_line_of_next_load(url, larger) > done  # not from the beginning
    assert_whole(client, "v2")
    assert shown(url) == NEW


def test_a_redis_that_is_killed_and_comes_back_is_loaded_on(own_redis: EmbeddedRedis, larger: Path) -> None:
    serve_v1(own_redis.url, larger)
    cut_in_the_middle(own_redis.url, larger, own_redis.kill, StoreUnavailableError)
    own_redis.restart()
    assert shown(own_redis.url) == OLD
    assert first_line_of_next_load(own_redis.url, larger) > 100
    with redis.Redis.from_url(own_redis.url) as client:
        assert_whole(client, "v2")
    assert shown(own_redis.url) == NEW


def test_a_redis_that_is_killed_and_comes_back_empty_is_loaded_anew(
    own_redis: EmbeddedRedis, larger: Path
) -> None:
    serve_v1(own_redis.url, larger)
    cut_in_the_middle(own_redis.url, larger, own_redis.kill, StoreUnavailableError)
    own_redis.stop()
    shutil.rmtree(own_redis.data_dir / "appendonlydir")
    own_redis.start()
    assert shown(own_redis.url) == ()  # no mapping is no error
    assert first_line_of_next_load(own_redis.url, larger) == 100
    with redis.Redis.from_url(own_redis.url) as client:
        assert_whole(client, "v2")
    assert shown(own_redis.url) == NEW


def test_a_redis_that_forgets_everything_while_a_loader_writes_on_keeps_no_half_version(
    url: str, larger: Path, client: redis.Redis
) -> None:
    """As if it came back empty so fast that the loader's client noticed nothing."""
    serve_v1(url, larger)
    unaware = LoadOptions(SLOW.pace, lock_s=60.0)  # it looks after its lock at the end alone
    cut_in_the_middle(
        url,
        larger,
        lambda: [client.delete(key) for key in client.keys("aigq:1:*")],
        MappingError,
        unaware,
    )
    assert shown(url) == ()
    assert client.hget(THINK_VERSIONS, "v2") == b""
    name(larger, "v1")
    assert load(url, larger).removed == ("v2",)
    assert keys_of(client, "v2") == 0
    assert shown(url) == OLD


def test_a_file_that_is_exchanged_while_it_is_loaded_is_not_served_and_leaves_nothing_behind(
    url: str, larger: Path, client: redis.Redis
) -> None:
    serve_v1(url, larger)
    path = larger / "v2" / "mapping.jsonl"
    content = path.read_bytes()
    for other in (content.replace(b"v2 Trigger", b"xx Trigger"), content[: len(content) // 2]):
        cut_in_the_middle(url, larger, lambda other=other: path.write_bytes(other), MappingError)
        assert shown(url) == OLD
        path.write_bytes(content)
        load(url, larger)
        assert_whole(client, "v2")
        assert shown(url) == NEW
        aigq(url, larger, "rollback")
        aigq(url, larger, "gc", "--yes")
        client.delete("aigq:1:think:current")
        serve_v1(url, larger)


def test_a_loader_that_died_over_another_file_is_not_followed_on(
    url: str, larger: Path, client: redis.Redis
) -> None:
    """The mark says as many lines of the same version, but their hash is another."""
    serve_v1(url, larger)
    path = larger / "v2" / "mapping.jsonl"
    content = path.read_bytes()
    cut_in_the_middle(
        url, larger, lambda: path.write_bytes(content.replace(b"v2 Trigger", b"xx Trigger")), MappingError
    )
    assert written(client, "v2") >= 300
    path.write_bytes(content)
    assert first_line_of_next_load(url, larger) == 100
    assert_whole(client, "v2")


def test_what_redis_forgot_of_a_cut_load_is_written_again(
    url: str, larger: Path, client: redis.Redis
) -> None:
    serve_v1(url, larger)
    with loader_process(url, larger) as child:
        wait_until(lambda: written(client, "v2") >= 300, "the loader to write")
        child.kill()
    client.delete(*(think_key("v2", trigger) for trigger in TRIGGERS))
    first_line_of_next_load(url, larger)
    assert_whole(client, "v2")


def test_a_load_of_other_content_does_not_go_on_with_what_was_left(
    url: str, larger: Path, client: redis.Redis
) -> None:
    client.hset(THINK_VERSIONS, "v2", "")
    client.sadd(think_index_key("v2"), "left over")
    client.set(think_key("v2", "left over"), "x")
    client.set(think_progress_key("v2"), "another digest:200:abc")
    assert load(url, larger).outcome is LoadOutcome.LOADED
    assert_whole(client, "v2")


@pytest.mark.parametrize("mark", ["", "x", "{digest}:many:abc", "{digest}:2", "{digest}:9999999:abc"])
def test_a_mark_that_says_nothing_is_a_load_from_the_beginning(
    url: str, larger: Path, client: redis.Redis, mark: str
) -> None:
    aigq(url, larger, "load")
    digest = client.hget(THINK_VERSIONS, "v2").decode()
    client.hset(THINK_VERSIONS, "v2", "")
    client.delete("aigq:1:think:current", think_popular_key("v2"), think_key("v2", TRIGGERS[3]))
    client.set(think_progress_key("v2"), mark.format(digest=digest))
    assert load(url, larger).outcome is LoadOutcome.LOADED
    assert_whole(client, "v2")
