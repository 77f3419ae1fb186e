"""Records go in and come out as they were, with each client."""

from __future__ import annotations

import gzip
import importlib.util
import os
import time
from collections.abc import Callable

import aiokafka
import confluent_kafka
import kafka
import pytest
from kafka.errors import KafkaError

from tests.integration.embedded.kafka_clients import AioKafka, Client, Confluent, KafkaPython, Row

REFUSALS = (KafkaError, aiokafka.errors.KafkaError, confluent_kafka.KafkaException)


def test_records_come_back_in_order_with_key_value_headers_and_timestamp(
    client: Client, new_topic: Callable[..., str]
) -> None:
    topic = new_topic()
    sent = [
        Row(b"k%d" % i, b"v%d" % i, (("a", b"1"), ("a", b"\xff")), 1_600_000_000_000 + i) for i in range(50)
    ]
    offsets = client.send(topic, sent)
    assert offsets == list(range(50))
    assert client.read(topic) == [row._replace(offset=i) for i, row in enumerate(sent)]


def test_tombstones_empty_values_and_unicode_keys_are_kept_apart(
    client: Client, new_topic: Callable[..., str]
) -> None:
    topic = new_topic()
    client.send(topic, [Row(b"a", None), Row(b"b", b""), Row("ключ".encode(), b"\0"), Row(b"", b"x")])
    assert [(row.key, row.value) for row in client.read(topic)] == [
        (b"a", None),
        (b"b", b""),
        ("ключ".encode(), b"\0"),
        (b"", b"x"),
    ]


def test_a_record_without_a_key_is_read_without_one(client: Client, new_topic: Callable[..., str]) -> None:
    topic = new_topic()
    client.send(topic, [Row(None, b"v")])
    assert client.read(topic)[0].key is None


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_compressed_batches_are_read_by_every_client(
    client: Client, new_topic: Callable[..., str], bootstrap: str, compression: str
) -> None:
    topic = new_topic(2)
    if compression == "zstd" and isinstance(client, AioKafka) and not importlib.util.find_spec("cramjam"):
        pytest.skip("aiokafka's zstd needs cramjam")
    sent = [Row(b"k", b"value " * 100, partition=i % 2) for i in range(200)]
    client.send(topic, sent, compression_type=compression)
    for reader in (KafkaPython(bootstrap), Confluent(bootstrap)):
        rows = reader.read(topic, 2)
        assert len(rows) == 200
        assert {row.value for row in rows} == {b"value " * 100}


def test_a_5_mb_message_needs_a_raised_limit(client: Client, new_topic: Callable[..., str]) -> None:
    large = Row(b"k", os.urandom(5 * 1024 * 1024))
    limit = (
        {"message_max_bytes": 8_000_000} if isinstance(client, Confluent) else {"max_request_size": 8_000_000}
    )
    with pytest.raises(REFUSALS):
        client.send(new_topic(), [large], **limit)
    topic = new_topic(max_message_bytes="8000000")
    client.send(topic, [large, Row(b"small", b"v")], **limit)
    assert [row.value for row in client.read(topic)] == [large.value, b"v"]


def test_an_idempotent_producer_writes_each_record_once(
    client: Client, new_topic: Callable[..., str]
) -> None:
    topic = new_topic()
    rows = [Row(b"k", b"%d" % i) for i in range(1000)]
    assert client.send(topic, rows, enable_idempotence=True) == list(range(1000))
    assert [row.value for row in client.read(topic)] == [row.value for row in rows]


def test_log_append_time_replaces_the_producers_timestamp(
    client: Client, new_topic: Callable[..., str]
) -> None:
    topic = new_topic(message_timestamp_type="LogAppendTime")
    before_ms = time.time_ns() // 1_000_000
    client.send(topic, [Row(b"k", b"v", timestamp_ms=1_000)])
    stamped_ms = client.read(topic)[0].timestamp_ms
    assert stamped_ms is not None
    assert before_ms <= stamped_ms <= time.time_ns() // 1_000_000


def test_a_compacted_topic_refuses_a_record_without_a_key(
    client: Client, new_topic: Callable[..., str]
) -> None:
    topic = new_topic(cleanup_policy="compact")
    with pytest.raises(REFUSALS):
        client.send(topic, [Row(None, b"v")])
    client.send(topic, [Row(b"k", b"v")])
    assert [row.key for row in client.read(topic)] == [b"k"]


def test_offsets_are_found_by_time(new_topic: Callable[..., str], bootstrap: str) -> None:
    topic = new_topic()
    KafkaPython(bootstrap).send(topic, [Row(b"k", b"%d" % i, timestamp_ms=1_000 * i) for i in range(1, 11)])
    consumer = kafka.KafkaConsumer(bootstrap_servers=bootstrap)
    place = kafka.TopicPartition(topic, 0)
    found = consumer.offsets_for_times({place: 4_500})[place]
    assert (found.offset, found.timestamp) == (4, 5_000)
    assert consumer.offsets_for_times({place: 99_000})[place] is None
    assert consumer.beginning_offsets([place])[place] == 0
    assert consumer.end_offsets([place])[place] == 10
    consumer.close()


def test_a_gzip_batch_is_stored_as_it_was_sent(new_topic: Callable[..., str], bootstrap: str) -> None:
    topic = new_topic(cleanup_policy="compact")
    value = gzip.compress(b"already packed")
    KafkaPython(bootstrap).send(topic, [Row(b"k", value)] * 20, compression_type="gzip")
    assert {row.value for row in KafkaPython(bootstrap).read(topic)} == {value}
