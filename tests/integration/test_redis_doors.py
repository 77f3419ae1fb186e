"""Redis by Sentinels, as a Cluster, and behind TLS with client certificates: written, read, failed over."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import redis

from agents.hints.think_source import ThinkSource
from agents.think.mapping import load_mapping
from aigq.redis_findings import look_at_redis
from streams.errors import SettingsError, StoreRefusedError, StoreUnavailableError
from streams.hint_store import AsyncHintReader, HintReader
from streams.hint_writer import HintWriter, PublishOutcome
from streams.redis_client import connect_redis, forget_connections
from streams.redis_keys import hints_key
from streams.settings import Settings, load_settings
from tests.certificates import Authority, Certificate
from tests.docs.test_redis_rights import KEYS, RIGHTS
from tests.mapping_folders import write_version
from tests.redis_databases import empty_database, list_of
from tests.redis_servers import SENTINEL_PASSWORD, SERVICE, Valkey, cluster_of_three, watched_pair
from tests.shop import Shop, wait_until
from tests.support import NOON_MS, event_json

pytestmark = pytest.mark.embedded_only
USERS = [f"u{number}" for number in range(30)]
Pair = tuple[Valkey, Valkey, str]


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    with watched_pair(tmp_path / "redis") as started:
        yield started


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with cluster_of_three(tmp_path_factory.mktemp("cluster") / "nodes") as (_, url):
        yield url


async def published(settings: Settings, *, as_of: int = 1_000) -> list[PublishOutcome]:
    async with connect_redis(settings) as client:
        writer = HintWriter(client, runs_kept=2, ttl_s=60)
        return await writer.publish([list_of(user, "milk", as_of=as_of) for user in USERS])


def lists_in_order(shop: Shop, users: range) -> None:
    """A search of each user leads to a list that can be read."""
    wait_until(lambda: all(shop.newest(shop.user(one)) for one in users), "all lists", 90)


def test_a_fail_over_under_a_live_worker_loses_no_list(pair: Pair, kafka_url: str, tmp_path: Path) -> None:
    primary, replica, url = pair
    shop = Shop(kafka_url, url, tmp_path)
    try:
        worker = shop.worker()
        shop.produce(event_json("search", "milk", NOON_MS, user=shop.user(one)) for one in range(10))
        lists_in_order(shop, range(10))
        replica.wait(lambda client: all(client.exists(hints_key(shop.user(one))) for one in range(10)))
        first = worker.pid
        primary.kill()
        shop.produce(event_json("search", "eggs", NOON_MS, user=shop.user(one)) for one in range(10, 20))
        wait_until(lambda: _read(shop, 0), "a reader to find the new primary", 60)
        lists_in_order(shop, range(20))
        assert worker.is_running
        assert worker.pid == first
    finally:
        shop.close()


def _read(shop: Shop, user: int) -> bool:
    try:
        return shop.newest(shop.user(user)) is not None
    except StoreUnavailableError:
        return False


def test_connections_to_a_primary_that_became_a_replica_find_the_new_one(pair: Pair) -> None:
    primary, _, url = pair
    settings = load_settings({}, redis_url=url)
    sentinel = urlsplit(url.replace("+sentinel", "").split(",", maxsplit=1)[0])

    async def run() -> list[PublishOutcome]:
        async with connect_redis(settings) as client:
            writer = HintWriter(client, runs_kept=2, ttl_s=60)
            await writer.publish([list_of("u", "milk")])
            with redis.Redis(sentinel.hostname or "", sentinel.port or 0) as one:
                one.execute_command("SENTINEL", "FAILOVER", SERVICE)
            await asyncio.to_thread(
                primary.wait, lambda client: client.info("replication")["role"] == "slave"
            )
            for _ in range(100):
                try:
                    return await writer.publish([list_of("u", "eggs", as_of=2_000)])
                except (StoreUnavailableError, StoreRefusedError):
                    await asyncio.sleep(0.1)
            raise AssertionError("the new primary was not found")

    assert asyncio.run(run()) == [PublishOutcome.PUBLISHED]


def test_sentinels_and_servers_have_logins_of_their_own(tmp_path: Path) -> None:
    with watched_pair(tmp_path / "redis", "servers") as (primary, _, url):
        with redis.Redis.from_url(f"redis://:servers@{primary.address}") as admin:
            admin.execute_command(
                "ACL", "SETUSER", "aigq", "on", ">ours", "~aigq:1:*", "+@all", "-@dangerous"
            )
        login = {"redis_username": "aigq", "redis_password": "ours"}
        own = {"redis_sentinel_password": SENTINEL_PASSWORD}
        assert set(asyncio.run(published(load_settings({}, redis_url=url, **login, **own))))
        with pytest.raises((StoreRefusedError, StoreUnavailableError)):
            asyncio.run(published(load_settings({}, redis_url=url, **login)))
        with pytest.raises(StoreRefusedError, match="AIGQ_REDIS_PASSWORD"):
            asyncio.run(
                published(load_settings({}, redis_url=url, **own, **login | {"redis_password": "other"}))
            )


def test_the_doctor_names_the_primary_and_counts_the_sentinels(pair: Pair) -> None:
    primary, _, url = pair
    found = [one for one in look_at_redis(load_settings({}, redis_url=url)) if "Sentinels" in one.found]
    assert [(one.level, one.found) for one in found] == [
        ("ok", f"primary {primary.address}, by 3 of 3 Sentinels")
    ]
    more = url.replace("://", "://127.0.0.1:1,")
    assert {one.level for one in look_at_redis(load_settings({}, redis_url=more))} == {"warning", "ok"}


def test_a_name_that_the_sentinels_do_not_know_is_unavailable(pair: Pair) -> None:
    url = pair[2].replace(f"/{SERVICE}/", "/other/")
    with HintReader.from_url(url) as reader, pytest.raises(StoreUnavailableError, match="other"):
        reader.get("u")


def test_lists_are_written_to_a_cluster_and_read_from_it(cluster: str) -> None:
    settings = load_settings({}, redis_url=cluster)
    assert asyncio.run(published(settings)) == [PublishOutcome.PUBLISHED] * len(USERS)
    assert asyncio.run(published(settings, as_of=5)) == [PublishOutcome.OUTDATED] * len(USERS)
    with HintReader.from_url(cluster, pinned=["gift cards"]) as reader:
        for user in USERS:
            assert reader.get(user, trigger=["milk", "eggs"]).queries == ("milk", "gift cards")

    async def read() -> tuple[str, ...]:
        async with AsyncHintReader.from_url(cluster) as reader:
            return (await reader.get("u7", trigger=["milk"], application="a", locale="b")).queries

    assert asyncio.run(read()) == ("milk",)


def test_a_reader_and_a_writer_need_no_more_rights_on_a_cluster_than_are_listed(cluster: str) -> None:
    places = [place.rpartition(":") for place in cluster.partition("://")[2].split(",")]
    for role in ("reader", "writer"):
        names = (*RIGHTS["everybody"], *RIGHTS["cluster"], *RIGHTS[role])
        allowed = [f"+{name.lower().replace(' ', '|')}" for name in names]
        for host, _, port in places:
            with redis.Redis(host, int(port)) as admin:
                admin.execute_command("ACL", "SETUSER", role, "reset", "on", ">rights", *KEYS[role], *allowed)
    url = {role: cluster.replace("://", f"://{role}:rights@") for role in ("reader", "writer")}
    outcomes = asyncio.run(published(load_settings({}, redis_url=url["writer"]), as_of=5_000))
    assert outcomes == [PublishOutcome.PUBLISHED] * len(USERS)
    with HintReader.from_url(url["reader"]) as reader:
        assert all(reader.get(user, trigger=["milk"]).queries == ("milk",) for user in USERS)


def test_a_cluster_that_is_away_is_unavailable_at_the_first_command() -> None:
    async def run() -> None:
        async with AsyncHintReader.from_url("redis+cluster://127.0.0.1:1") as reader:
            await reader.get("u")

    with pytest.raises(StoreUnavailableError):
        asyncio.run(run())
    with pytest.raises(StoreUnavailableError):
        asyncio.run(published_through_a_context("redis+cluster://127.0.0.1:1"))


async def published_through_a_context(url: str) -> None:
    async with connect_redis(load_settings({}, redis_url=url)) as client:
        await HintWriter(client, runs_kept=1, ttl_s=60).publish([list_of("u", "milk")])


def test_a_whole_worker_without_think_runs_on_a_cluster(cluster: str, kafka_url: str, tmp_path: Path) -> None:
    shop = Shop(kafka_url, cluster, tmp_path)
    try:
        shop.worker("session", "hints", "feedback", "erasure")
        shop.produce(event_json("search", "milk", NOON_MS, user=shop.user(one)) for one in range(5))
        lists_in_order(shop, range(5))
    finally:
        shop.close()


def test_the_think_loader_refuses_a_cluster_and_says_what_to_do(cluster: str, tmp_path: Path) -> None:
    write_version(tmp_path, {"milk": ["bread"]}, version="v1")

    async def load() -> None:
        async with connect_redis(load_settings({}, redis_url=cluster)) as client:
            assert await ThinkSource(client).entries([]) == []
            await forget_connections(client)
            await load_mapping(client, tmp_path)

    with pytest.raises(StoreRefusedError, match="Cluster") as caught:
        asyncio.run(load())
    assert "--only" in caught.value.action


def test_the_doctor_says_what_a_cluster_cannot(cluster: str) -> None:
    found = look_at_redis(load_settings({}, redis_url=cluster))
    assert [one.level for one in found if "Cluster of 3" in one.found] == ["warning"]


def test_a_cluster_that_is_away_is_unavailable() -> None:
    with pytest.raises(StoreUnavailableError):
        HintReader.from_url("redis+cluster://127.0.0.1:1")


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"))


def read_over_mutual_tls(redis_url: str, authority: Authority, client: Certificate | None) -> tuple[str, ...]:
    """The server of the wheel speaks no TLS: a door in front of it does, as stunnel would."""
    url = empty_database(redis_url, 6)
    place = urlsplit(url)
    server = authority.certificate("redis")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(server.cert, server.key)
    context.load_verify_locations(authority.cert)
    context.verify_mode = ssl.CERT_REQUIRED

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner = await asyncio.open_connection(place.hostname, place.port or 6379)
        await asyncio.gather(copy(reader, inner[1]), copy(inner[0], writer), return_exceptions=True)

    async def run() -> tuple[str, ...]:
        async with await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context) as door:
            settings = load_settings(
                {},
                redis_url=f"rediss://127.0.0.1:{door.sockets[0].getsockname()[1]}/6",
                redis_ca_file=authority.cert,
                redis_cert_file=client.cert if client else None,
                redis_key_file=client.key if client else None,
            )
            async with connect_redis(settings) as connection:
                await HintWriter(connection, runs_kept=1, ttl_s=60).publish([list_of("u", "milk")])
                return (await AsyncHintReader(connection).get("u")).queries

    return asyncio.run(run())


def test_a_client_certificate_opens_a_door_that_asks_for_one(redis_url: str, authority: Authority) -> None:
    assert read_over_mutual_tls(redis_url, authority, authority.certificate("client")) == ("milk",)


def test_without_a_client_certificate_the_door_stays_shut(redis_url: str, authority: Authority) -> None:
    with pytest.raises((StoreUnavailableError, StoreRefusedError)):
        read_over_mutual_tls(redis_url, authority, None)


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1",
        "redis+sentinel://127.0.0.1:1",
        "redis+sentinel://127.0.0.1:1/hints/zero",
        "redis+sentinel:///hints",
        "redis+cluster://127.0.0.1:1/3",
        "redis+cluster://",
        "redis+cluster://host:port",
        "unix+cluster:///redis.sock",
        "redis+other://127.0.0.1",
    ],
)
def test_a_url_that_is_none_is_a_settings_error_without_its_password(url: str) -> None:
    marked = url.replace("://", "://user:hunter2@")
    with pytest.raises(SettingsError, match="AIGQ_REDIS_URL") as caught:
        connect_redis(load_settings({}, redis_url=marked))
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("name", ["redis_ca_file", "redis_cert_file", "redis_key_file"])
def test_a_certificate_without_tls_is_a_settings_error(name: str) -> None:
    settings = load_settings({}, **{name: "any.pem"})
    with pytest.raises(SettingsError, match=f"AIGQ_{name.upper()}"):
        connect_redis(settings)
