"""Kafka behind TLS and logins: every client comes in, and whoever does not is told why."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiokafka
import confluent_kafka
import pytest
from faust.transport.drivers.aiokafka import credentials_to_aiokafka_auth
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.errors import KafkaTimeoutError

from aigq.findings import examine
from streams.embedded.servers import EmbeddedKafka
from streams.errors import SettingsError
from streams.kafka_auth import client_options, faust_credentials
from streams.settings import Settings, load_settings
from streams.topics import Topics, broker_away, ensure_topics
from tests.certificates import Authority
from tests.integration.doors import MECHANISMS, PASSWORD, Door, opened_door, tls_options, users_file
from tests.shop import Shop, wait_until
from tests.support import NOON_MS, event_json

# kafka-python 3.0 leaves the sockets of failed connection attempts to the garbage collector.
pytestmark = [
    pytest.mark.embedded_only,
    pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"),
]


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    with opened_door(tmp_path_factory.mktemp("door")) as opened:
        yield opened


@pytest.fixture(params=MECHANISMS)
def settings(request: pytest.FixtureRequest, door: Door) -> Settings:
    """Settings that open the door with one of the logins, and topics of their own."""
    mine: dict[str, Any] = {"kafka_sasl_mechanism": request.param, "topic_prefix": f"{uuid.uuid4().hex[:8]}."}
    made = load_settings({}, **door.settings, **mine)
    ensure_topics(made)
    return made


def confluent_options(settings: Settings) -> dict[str, Any]:
    return {
        "bootstrap.servers": ",".join(settings.kafka_bootstrap),
        "security.protocol": settings.kafka_security,
        "sasl.mechanism": settings.kafka_sasl_mechanism,
        "sasl.username": settings.kafka_username,
        "sasl.password": settings.kafka_password.get_secret_value(),
        "ssl.ca.location": str(settings.kafka_ca_file),
        "log_level": 0,
    }


def read_with_kafka_python(settings: Settings, topic: str) -> list[bytes]:
    consumer: Any = KafkaConsumer(**client_options(settings), group_id=None)
    try:
        place = TopicPartition(topic, 0)
        consumer.assign([place])
        consumer.seek_to_beginning(place)
        end, found = consumer.end_offsets([place])[place], []
        while consumer.position(place) < end:
            found += [m.value for some in consumer.poll(timeout_ms=200).values() for m in some]
        return found
    finally:
        consumer.close()


def test_each_client_writes_through_tls_and_a_login(settings: Settings) -> None:
    topic = Topics.of(settings).events
    producer: Any = KafkaProducer(**client_options(settings), acks="all")
    producer.send(topic, b"kafka-python", partition=0).get(30)
    producer.close()

    async def through_faust() -> None:
        auth = credentials_to_aiokafka_auth(faust_credentials(settings))
        async with aiokafka.AIOKafkaProducer(
            bootstrap_servers=settings.kafka_bootstrap, acks="all", **auth
        ) as faust:
            await faust.send_and_wait(topic, b"faust", partition=0)

    asyncio.run(through_faust())
    confluent = confluent_kafka.Producer(confluent_options(settings))
    confluent.produce(topic, b"confluent", partition=0)
    assert confluent.flush(30) == 0
    assert read_with_kafka_python(settings, topic) == [b"kafka-python", b"faust", b"confluent"]


def test_a_client_without_a_login_gets_nothing(settings: Settings) -> None:
    options = confluent_options(settings) | {"security.protocol": "SSL"}
    for name in ("sasl.mechanism", "sasl.username", "sasl.password"):
        del options[name]
    with pytest.raises(confluent_kafka.KafkaException):
        confluent_kafka.Producer(options).list_topics(timeout=2)


@pytest.mark.parametrize(
    ("changed", "said", "advice"),
    [
        ({"kafka_password": "not this one"}, "refuses user and password", "AIGQ_KAFKA_PASSWORD"),
        ({"kafka_username": "nobody"}, "refuses user and password", "AIGQ_KAFKA_USERNAME"),
        (
            {"kafka_password": "not this one", "kafka_sasl_mechanism": "PLAIN"},
            "refuses user and password",
            "AIGQ_KAFKA_PASSWORD",
        ),
        ({"kafka_ca_file": None}, "nobody here vouches for", "AIGQ_KAFKA_CA_FILE"),
        ({"kafka_security": "PLAINTEXT", "kafka_ca_file": None}, "closes the connection", "TLS or a login"),
        ({"kafka_security": "SASL_PLAINTEXT", "kafka_ca_file": None}, "closes the connection", "want TLS"),
        ({"kafka_security": "SSL"}, "closes the connection", "want a login"),
    ],
)
def test_who_does_not_come_in_is_told_why(
    door: Door, changed: dict[str, Any], said: str, advice: str
) -> None:
    settings = load_settings({}, **{name: v for name, v in (door.settings | changed).items() if v})
    error = broker_away(settings, KafkaTimeoutError())
    assert said in error.message
    assert advice in error.action
    assert PASSWORD not in str(error)
    assert "not this one" not in str(error)


@pytest.mark.parametrize(
    ("host", "expired", "said"),
    [("elsewhere.example", False, "another host name"), ("127.0.0.1", True, "not valid today")],
)
def test_a_certificate_that_does_not_fit_is_named(
    tmp_path: Path, host: str, expired: bool, said: str
) -> None:
    authority = Authority(tmp_path / "ca")
    options = tls_options(authority.certificate("kafka", host, expired=expired))
    with EmbeddedKafka(tmp_path / "kafka", options=options) as kafka:
        settings = load_settings({}, kafka_url=kafka.url, kafka_security="SSL", kafka_ca_file=authority.cert)
        assert said in broker_away(settings, KafkaTimeoutError()).message


def test_tls_or_a_login_at_a_plain_door_is_named(kafka_url: str, tmp_path: Path) -> None:
    tls = load_settings({}, kafka_url=kafka_url, kafka_security="SSL", kafka_ca_file=Authority(tmp_path).cert)
    assert "TLS handshake" in broker_away(tls, KafkaTimeoutError()).message
    login = load_settings({}, kafka_url=kafka_url, kafka_security="SASL_PLAINTEXT", kafka_username="aigq")
    assert "no logins" in broker_away(login, KafkaTimeoutError()).message


def test_a_client_certificate_opens_a_door_that_asks_for_one(tmp_path: Path) -> None:
    authority, stranger = Authority(tmp_path / "ca"), Authority(tmp_path / "other")
    options = (*tls_options(authority.certificate("kafka")), "--client-ca", str(authority.cert))
    with EmbeddedKafka(tmp_path / "kafka", options=options) as kafka:

        def with_certificate_of(issuer: Authority | None) -> Settings:
            mine = issuer.certificate("client") if issuer else None
            return load_settings(
                {},
                kafka_url=kafka.url,
                kafka_security="SSL",
                kafka_ca_file=authority.cert,
                kafka_cert_file=mine.cert if mine else None,
                kafka_key_file=mine.key if mine else None,
            )

        assert ensure_topics(with_certificate_of(authority))
        for wrong in (None, stranger):
            error = broker_away(with_certificate_of(wrong), KafkaTimeoutError())
            assert "AIGQ_KAFKA_CERT_FILE" in error.action or "TLS" in error.message


def test_the_doctor_says_how_it_came_in_and_warns_of_a_login_without_tls(door: Door, tmp_path: Path) -> None:
    found = [one for one in examine(load_settings({}, **door.settings)) if one.part == "kafka"]
    assert [one.level for one in found] == ["ok"]
    assert found[0].found.endswith("TLS, SCRAM-SHA-512")
    with EmbeddedKafka(tmp_path / "kafka", options=("--users", str(users_file(tmp_path)))) as kafka:
        bare: dict[str, Any] = {"kafka_url": kafka.url, "kafka_security": "SASL_PLAINTEXT"}
        login = {"kafka_username": "aigq", "kafka_password": PASSWORD, "kafka_sasl_mechanism": "PLAIN"}
        found = [one for one in examine(load_settings({}, **bare, **login)) if one.part == "kafka"]
    assert [one.level for one in found] == ["ok", "warning"]
    assert "in the clear" in found[1].found


def test_a_wrong_password_ends_within_a_bound_and_the_doctor_says_why(door: Door) -> None:
    settings = load_settings({}, **door.settings | {"kafka_password": "not this one"})
    (problem,) = [one for one in examine(settings) if one.part == "kafka"]
    assert problem.level == "problem"
    assert "refuses user and password" in problem.found


@pytest.mark.parametrize("name", ["kafka_ca_file", "kafka_cert_file"])
def test_a_file_that_is_no_certificate_is_a_settings_error(tmp_path: Path, name: str) -> None:
    (tmp_path / "no.pem").write_text("no certificate")
    settings = load_settings({}, kafka_security="SSL", **{name: tmp_path / "no.pem"})
    with pytest.raises(SettingsError, match=f"AIGQ_{name.upper()}"):
        ensure_topics(settings)


def test_a_broker_without_options_asks_for_nothing_and_offers_no_login(kafka_url: str) -> None:
    async def offered() -> set[int]:
        from aiokafka.conn import create_conn

        host, _, port = kafka_url.removeprefix("kafka://").rpartition(":")
        connection = await create_conn(host, int(port))
        connection.close()
        return set(connection._versions)

    assert not {17, 36} & asyncio.run(offered())


def test_a_users_file_that_is_none_is_refused_without_its_content(tmp_path: Path) -> None:
    (tmp_path / "users.json").write_text('{"aigq": {"password": 1, "pass": "hunter2"}}')
    kafka = EmbeddedKafka(tmp_path / "kafka", options=("--users", str(tmp_path / "users.json")))
    with pytest.raises(Exception, match="no file of users") as caught:
        kafka.start()
    assert "hunter2" not in str(caught.value)


def test_a_whole_worker_runs_behind_tls_and_a_login(door: Door, redis_url: str, tmp_path: Path) -> None:
    options = {name: value for name, value in door.environ.items() if name != "AIGQ_KAFKA_URL"}
    shop = Shop(door.kafka.url, redis_url, tmp_path, options=options)
    try:
        shop.worker()
        user = shop.user(1)
        shop.produce([event_json("search", "milk", NOON_MS, user=user)])
        wait_until(lambda: shop.newest(user) is not None, "a list, through TLS")
    finally:
        shop.close()
    for process in shop.workers:
        assert PASSWORD not in process.log_path.read_text()
