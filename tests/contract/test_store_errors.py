"""Redis away, unwilling, read-only or restarted: typed errors that say what to do, and life afterwards."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
import redis.asyncio
from redis import exceptions

from agents.think.mapping import load_mapping
from streams.embedded.servers import EmbeddedRedis
from streams.errors import SettingsError, StoreError, StoreRefusedError, StoreUnavailableError
from streams.hint_store import AsyncHintReader, HintReader
from streams.hint_writer import HintWriter, PublishOutcome
from streams.redis_client import connect_redis, connect_redis_sync
from streams.redis_errors import translate
from streams.settings import load_settings
from tests.mapping_folders import write_version
from tests.redis_databases import list_of

# Whatever may pass by itself; all else in redis-py is a refusal.
MAY_PASS = {
    "BusyLoadingError",
    "ClusterDownError",
    "ConnectionError",
    "ExternalAuthProviderError",
    "LockError",
    "LockNotOwnedError",
    "MasterDownError",
    "MaxConnectionsError",
    "TimeoutError",
    "TryAgainError",
}
REFUSALS = {
    "AskError",
    "AuthenticationError",
    "AuthenticationWrongNumberOfArgsError",
    "AuthorizationError",
    "ClusterCrossSlotError",
    "ClusterError",
    "DataError",
    "ExecAbortError",
    "InvalidResponse",
    "ModuleError",
    "MovedError",
    "NoPermissionError",
    "NoScriptError",
    "NoSuchFieldsetError",
    "OutOfMemoryError",
    "PubSubError",
    "ReadOnlyError",
    "RedisError",
    "ResponseError",
    "WatchError",
}
KINDS = {
    name: kind
    for name, kind in vars(exceptions).items()
    if isinstance(kind, type) and issubclass(kind, exceptions.RedisError)
}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[EmbeddedRedis]:
    """A Redis of the test's own, since it will not be well afterwards."""
    with EmbeddedRedis(tmp_path / "redis") as server:
        yield server


def settings_for(url: str, **more: Any) -> Any:
    return load_settings({}, redis_url=url, **({"redis_timeout_s": 0.2} | more))


def publish(url: str, *, as_of: int = 1, **more: Any) -> list[PublishOutcome]:
    async def run() -> list[PublishOutcome]:
        async with connect_redis(settings_for(url, **more)) as client:
            writer = HintWriter(client, runs_kept=3, ttl_s=60)
            return await writer.publish([list_of("u", "milk", as_of=as_of)])

    return asyncio.run(run())


def read(url: str, **more: Any) -> tuple[str, ...]:
    with HintReader(connect_redis_sync(settings_for(url, **more))) as reader:
        return reader.get("u").queries


def read_async(url: str, **more: Any) -> tuple[str, ...]:
    async def run() -> tuple[str, ...]:
        async with AsyncHintReader(connect_redis(settings_for(url, **more))) as reader:
            return (await reader.get("u")).queries

    return asyncio.run(run())


def load(url: str, folder: Path) -> None:
    async def run() -> None:
        async with connect_redis(settings_for(url)) as client:
            await load_mapping(client, folder)

    asyncio.run(run())


USES = [publish, read, read_async]
Use = Callable[..., Any]


def test_every_error_of_redis_py_has_been_judged() -> None:
    """Fails when redis-py adds an error: decide whether it may pass by itself."""
    assert KINDS.keys() <= MAY_PASS | REFUSALS


@pytest.mark.parametrize("name", sorted(KINDS))
def test_every_error_of_redis_py_has_ours_with_an_action(name: str) -> None:
    arguments = ("0 127.0.0.1:1",) if name in {"AskError", "MovedError"} else ("what happened",)
    ours = translate(KINDS[name](*arguments), "Nothing was read")
    assert type(ours) is (StoreUnavailableError if name in MAY_PASS else StoreRefusedError)
    assert ours.message.startswith("Nothing was read: ")
    assert ours.action


@pytest.mark.parametrize("word", ["NOAUTH", "WRONGPASS", "MISCONF"])
def test_a_refusal_without_a_class_of_its_own_is_known_by_its_word(word: str) -> None:
    ours = translate(exceptions.ResponseError(f"{word} no."), "Nothing was read")
    assert isinstance(ours, StoreRefusedError)
    assert "log" in ours.action or "PASSWORD" in ours.action


@pytest.mark.parametrize("use", USES)
def test_no_server_is_unavailable_with_the_cause(use: Use) -> None:
    with pytest.raises(StoreUnavailableError, match="AIGQ_REDIS_URL") as caught:
        use("redis://127.0.0.1:1/0")
    assert isinstance(caught.value.__cause__, exceptions.ConnectionError)


@pytest.mark.parametrize("use", USES)
def test_a_silent_server_is_unavailable(server: EmbeddedRedis, use: Use) -> None:
    with redis.Redis.from_url(server.url) as client:
        client.client_pause(2_000)
    with pytest.raises(StoreUnavailableError, match="AIGQ_REDIS_TIMEOUT_S"):
        use(server.url, redis_timeout_s=0.05)


@pytest.mark.parametrize("use", USES)
def test_a_wrong_password_is_refused(server: EmbeddedRedis, use: Use) -> None:
    with redis.Redis.from_url(server.url) as client:
        client.config_set("requirepass", "right")
    with pytest.raises(StoreRefusedError, match="AIGQ_REDIS_PASSWORD"):
        use(server.url)
    with pytest.raises(StoreRefusedError, match="AIGQ_REDIS_PASSWORD"):
        use(server.url, redis_password="wrong")  # noqa: S106  # a password of the test's own server
    use(server.url, redis_password="right")  # noqa: S106  # a password of the test's own server


@pytest.mark.parametrize("use", USES)
def test_a_user_without_rights_is_refused(server: EmbeddedRedis, use: Use) -> None:
    with redis.Redis.from_url(server.url) as client:
        client.acl_setuser("poor", enabled=True, nopass=True, commands=["+ping", "+client", "+hello"])
    with pytest.raises(StoreRefusedError, match=r"docs/operations\.md"):
        use(server.url, redis_username="poor", redis_password="any")  # noqa: S106  # a password of the test's own server


def test_a_full_server_refuses_lists_and_keeps_what_it_has(server: EmbeddedRedis) -> None:
    publish(server.url)
    with redis.Redis.from_url(server.url) as client:
        client.config_set("maxmemory", 1)
        with pytest.raises(StoreRefusedError, match="maxmemory"):
            publish(server.url, as_of=2)
        assert read(server.url) == ("milk",)
        client.config_set("maxmemory", 0)
    assert publish(server.url, as_of=2) == [PublishOutcome.PUBLISHED]


def test_a_primary_that_became_a_replica_refuses_lists_until_it_is_primary_again(
    server: EmbeddedRedis,
) -> None:
    async def run() -> None:
        async with connect_redis(settings_for(server.url)) as client:
            writer = HintWriter(client, runs_kept=3, ttl_s=60)
            await writer.publish([list_of("u", "milk", as_of=1)])
            await client.replicaof("127.0.0.1", "1")
            with pytest.raises(StoreRefusedError, match="primary"):
                await writer.publish([list_of("u", "bread", as_of=2)])
            await client.replicaof("NO", "ONE")
            assert await writer.publish([list_of("u", "bread", as_of=2)]) == [PublishOutcome.PUBLISHED]

    asyncio.run(run())


def test_writer_and_reader_go_on_after_a_killed_server_is_back(server: EmbeddedRedis) -> None:
    async def run() -> None:
        async with connect_redis(settings_for(server.url)) as client:
            writer, reader = HintWriter(client, runs_kept=3, ttl_s=60), AsyncHintReader(client)
            await writer.publish([list_of("u", "milk", as_of=1), list_of("v", as_of=1)])
            server.kill()
            with pytest.raises(StoreUnavailableError):
                await writer.publish([list_of("u", "bread", as_of=2)])
            with pytest.raises(StoreUnavailableError):
                await reader.get("u")
            server.restart()
            batch = [list_of("v", "bread", as_of=2), list_of("u", "bread", as_of=2)]
            assert await writer.publish(batch) == [PublishOutcome.PUBLISHED] * 2
            assert (await reader.get("u")).queries == ("bread", "milk")

    asyncio.run(run())


def test_a_mapping_load_without_a_server_or_rights_is_a_store_error(
    server: EmbeddedRedis, tmp_path: Path
) -> None:
    folder = tmp_path / "think"
    write_version(folder, {"milk": ["oats"]})
    with pytest.raises(StoreUnavailableError, match="the version that is served stays"):
        load("redis://127.0.0.1:1/0", folder)
    with redis.Redis.from_url(server.url) as client:
        client.config_set("maxmemory", 1)
    with pytest.raises(StoreRefusedError):
        load(server.url, folder)


def test_an_error_never_tells_the_user_it_was_about() -> None:
    with pytest.raises(StoreError) as caught:
        read("redis://127.0.0.1:1/0")
    assert "aigq:1:hints" not in str(caught.value)


@pytest.mark.parametrize("url", ["http://127.0.0.1", "127.0.0.1:6379", "redis://h:port/0", ""])
def test_a_url_that_is_none_is_a_settings_error(url: str) -> None:
    with pytest.raises(SettingsError, match="AIGQ_REDIS_URL"):
        connect_redis_sync(settings_for(url))
    with pytest.raises(SettingsError, match="AIGQ_REDIS_URL"):
        connect_redis(settings_for(url))


def test_a_certificate_file_without_tls_is_a_settings_error(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="rediss://"):
        connect_redis_sync(settings_for("redis://127.0.0.1:6379/0", redis_ca_file=tmp_path / "ca.pem"))
