"""Bytes that are no Kafka close the connection they came on, and nothing else."""

from __future__ import annotations

import os
import random
import socket
import struct
import time
from collections.abc import Iterator

import pytest

from streams.embedded.servers import EmbeddedKafka
from tests.integration.embedded.kafka_clients import KafkaPython, Row

pytestmark = pytest.mark.embedded_only

METADATA_OF_ONE_TOPIC = struct.pack(">hhih", 3, 4, 1, -1) + struct.pack(">ih", 1, 4) + b"made\x00"
STRANGERS = {
    "http": b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "tls": bytes.fromhex("16030100f8010000f40303") + b"\1" * 200,
    "negative length": struct.pack(">i", -5) + b"x" * 20,
    "zero length": struct.pack(">i", 0) + b"x" * 20,
    "huge length": struct.pack(">i", 2**31 - 1) + b"x" * 20,
    "unknown request": struct.pack(">ihhih", 10, 999, 0, 1, -1),
    "future version": struct.pack(">ihhih", 10, 3, 99, 1, -1),
    "client id beyond the end": struct.pack(">ihhih", 10, 3, 0, 1, 500),
    "body cut short": struct.pack(">ihhih", 10, 0, 3, 1, -1),
    "body too long": struct.pack(">i", len(METADATA_OF_ONE_TOPIC) + 9) + METADATA_OF_ONE_TOPIC + b"\0" * 9,
    "array of two thousand million": struct.pack(">ihhih", 14, 3, 1, 1, -1) + struct.pack(">i", 2**31 - 1),
}


@pytest.fixture(scope="module")
def visited_kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedKafka]:
    with EmbeddedKafka(tmp_path_factory.mktemp("visited"), options=("--verbose",)) as made:
        yield made


def closes(kafka: EmbeddedKafka, content: bytes) -> bool:
    """Whether the broker hangs up after these bytes."""
    with socket.create_connection(("127.0.0.1", kafka.port), timeout=10) as connection:
        connection.sendall(content)
        try:
            return connection.recv(1024) == b""
        except ConnectionResetError:
            return True


@pytest.mark.parametrize("name", STRANGERS)
def test_a_stranger_is_hung_up_on(visited_kafka: EmbeddedKafka, name: str) -> None:
    assert closes(visited_kafka, STRANGERS[name])


def test_half_a_request_is_waited_for_without_disturbing_others(visited_kafka: EmbeddedKafka) -> None:
    with socket.create_connection(("127.0.0.1", visited_kafka.port)) as half:
        half.sendall(struct.pack(">i", 5000) + b"half")
        client = KafkaPython(visited_kafka.bootstrap)
        client.send("beside", [Row(b"k", b"v")])
        assert len(client.read("beside", 4)) >= 1


def test_a_refused_body_creates_no_topic(visited_kafka: EmbeddedKafka) -> None:
    closes(visited_kafka, STRANGERS["body too long"])
    assert not (visited_kafka.data_dir / "topics" / "made-0").exists()


def test_random_bytes_under_every_request_leave_the_broker_as_it_was(visited_kafka: EmbeddedKafka) -> None:
    chance = random.Random(7)
    for api_key in range(50):
        for version in (0, 1, 3):
            body = chance.randbytes(chance.randrange(60))
            frame = struct.pack(">hhih", api_key, version, 1, -1) + body
            with socket.create_connection(("127.0.0.1", visited_kafka.port)) as connection:
                connection.sendall(struct.pack(">i", len(frame)) + frame)
    with socket.create_connection(("127.0.0.1", visited_kafka.port)) as connection:
        connection.sendall(os.urandom(100_000))
    client = KafkaPython(visited_kafka.bootstrap)
    client.send("after", [Row(b"k", b"v")])
    assert [row.value for row in client.read("after", 4)] == [b"v"]
    assert visited_kafka.is_running
    log = visited_kafka.log_path.read_text()
    assert "Traceback" not in log, log
    assert "closed the connection from 127.0.0.1" in log


def test_many_connections_come_and_go(visited_kafka: EmbeddedKafka) -> None:
    connections = [socket.create_connection(("127.0.0.1", visited_kafka.port)) for _ in range(300)]
    for connection in connections:
        connection.close()
    time.sleep(0.2)
    client = KafkaPython(visited_kafka.bootstrap)
    client.send("later", [Row(b"k", b"v")])
    assert [row.value for row in client.read("later", 4)] == [b"v"]
