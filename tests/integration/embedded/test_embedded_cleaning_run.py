"""Compaction and retention of a running broker, as clients see them, and a broker killed in the middle of a
run.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kafka
import pytest
from kafka.admin import NewTopic

from streams.embedded.servers import EmbeddedKafka
from tests.integration.embedded.kafka_clients import DEADLINE_S, AioKafka, Client, KafkaPython, Row

pytestmark = pytest.mark.embedded_only

COMPACTED = {"cleanup.policy": "compact", "segment.bytes": "300000", "min.cleanable.dirty.ratio": "0.1"}


@pytest.fixture
def cleaning_kafka(tmp_path: Path) -> Iterator[EmbeddedKafka]:
    with EmbeddedKafka(tmp_path / "kafka", partitions=1, options=("--clean-every-s", "0.2")) as made:
        yield made


def create(server: EmbeddedKafka, name: str, configs: dict[str, str]) -> None:
    admin = kafka.KafkaAdminClient(bootstrap_servers=server.bootstrap)
    admin.create_topics([NewTopic(name, 1, 1, topic_configs=configs)])
    admin.close()


def bytes_of(server: EmbeddedKafka, topic: str) -> int:
    folder = server.data_dir / "topics" / f"{topic}-0"
    return sum(path.stat().st_size for path in folder.glob("*.log") if path.exists())


def wait_for_bytes(server: EmbeddedKafka, topic: str, at_most: int) -> None:
    deadline_s = time.monotonic() + DEADLINE_S
    while bytes_of(server, topic) > at_most:
        assert time.monotonic() < deadline_s, f"still {bytes_of(server, topic)} bytes"
        time.sleep(0.05)


def rows(numbers: range) -> list[Row]:
    return [Row(b"k%d" % (number % 50), b"%d " % number * 100) for number in numbers]


def test_a_reader_finds_the_newest_value_of_each_key_through_the_gaps(
    client: Client, cleaning_kafka: EmbeddedKafka
) -> None:
    own: Any = type(client)(cleaning_kafka.bootstrap)
    try:
        create(cleaning_kafka, "table", COMPACTED)
        own.send("table", rows(range(4000)))
        wait_for_bytes(cleaning_kafka, "table", 1_300_000)
        read = own.read("table")
        assert len(read) < 4000
        assert {row.key: row.value for row in read} == {row.key: row.value for row in rows(range(3950, 4000))}
        assert [row.offset for row in read] == sorted({row.offset for row in read})
        assert own.send("table", rows(range(4000, 4001))) == [4000]
    finally:
        if isinstance(own, AioKafka):
            own.close()


def test_a_broker_killed_again_and_again_while_it_cleans_keeps_the_table(
    cleaning_kafka: EmbeddedKafka,
) -> None:
    create(cleaning_kafka, "table", COMPACTED)
    chance, written = random.Random(3), 0
    client = KafkaPython(cleaning_kafka.bootstrap)
    for _ in range(3):
        client.send("table", rows(range(written, written + 3000)))
        written += 3000
        time.sleep(chance.uniform(0.0, 0.3))
        cleaning_kafka.kill()
        cleaning_kafka.restart()
        read = client.read("table")
        assert {row.key: row.value for row in read} == {
            row.key: row.value for row in rows(range(written - 50, written))
        }
    wait_for_bytes(cleaning_kafka, "table", 1_300_000)
    assert client.send("table", rows(range(1))) == [written]


def test_retention_by_bytes_and_by_time_moves_the_start_of_the_log(cleaning_kafka: EmbeddedKafka) -> None:
    client = KafkaPython(cleaning_kafka.bootstrap)
    create(cleaning_kafka, "large", {"segment.bytes": "100000", "retention.bytes": "200000"})
    create(cleaning_kafka, "old", {"segment.bytes": "100000", "retention.ms": "3600000"})
    client.send("large", rows(range(2000)))
    client.send("old", [row._replace(timestamp_ms=1_000) for row in rows(range(500))] + rows(range(500, 600)))
    wait_for_bytes(cleaning_kafka, "large", 400_000)
    kept = client.read("large")
    assert 0 < kept[0].offset < 2000
    assert kept[-1].offset == 1999
    wait_for_bytes(cleaning_kafka, "old", 200_000)
    assert client.read("old")[-1].offset == 599
    cleaning_kafka.kill()
    cleaning_kafka.restart()
    assert client.read("large") == kept
