"""Transactions, with each client: all or nothing, one producer at a time."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from typing import Any

import aiokafka
import confluent_kafka
import kafka
import pytest
from kafka.errors import KafkaError

from streams.embedded.servers import EmbeddedKafka
from tests.integration.embedded.kafka_clients import DEADLINE_S, AioKafka, Client, KafkaPython, Row


def values(rows: list[Row]) -> list[bytes | None]:
    return [row.value for row in rows]


def test_committed_records_are_read_and_aborted_ones_are_not(
    client: Client, new_topic: Callable[..., str]
) -> None:
    topic, name = new_topic(), uuid.uuid4().hex
    client.send_in_transaction(topic, [Row(b"k", b"yes%d" % i) for i in range(10)], name, commit=True)
    client.send_in_transaction(topic, [Row(b"k", b"no%d" % i) for i in range(10)], name, commit=False)
    client.send(topic, [Row(b"k", b"plain")])
    expected = [b"yes%d" % i for i in range(10)] + [b"plain"]
    assert values(client.read(topic, committed=True)) == expected
    assert len(client.read(topic)) == 21


def test_an_open_transaction_hides_what_comes_after_it(
    client: Client, new_topic: Callable[..., str], bootstrap: str
) -> None:
    topic = new_topic()
    producer = kafka.KafkaProducer(bootstrap_servers=bootstrap, transactional_id=uuid.uuid4().hex)
    producer.init_transactions()
    producer.begin_transaction()
    producer.send(topic, b"open", partition=0).get(DEADLINE_S)
    client.send(topic, [Row(b"k", b"after")])
    assert values(client.read(topic, committed=True)) == []
    assert values(client.read(topic)) == [b"open", b"after"]
    producer.commit_transaction()
    producer.close()
    assert values(client.read(topic, committed=True)) == [b"open", b"after"]


def test_a_second_producer_of_the_same_name_fences_the_first(
    new_topic: Callable[..., str], bootstrap: str
) -> None:
    topic, name = new_topic(), uuid.uuid4().hex
    first = confluent_kafka.Producer(
        {"bootstrap.servers": bootstrap, "transactional.id": name, "log_level": 0}
    )
    first.init_transactions(DEADLINE_S)
    first.begin_transaction()
    first.produce(topic, b"of the first", partition=0)
    first.flush(DEADLINE_S)
    KafkaPython(bootstrap).send_in_transaction(topic, [Row(b"k", b"of the second")], name, commit=True)
    with pytest.raises(confluent_kafka.KafkaException) as refused:
        first.commit_transaction(DEADLINE_S)
    assert refused.value.args[0].fatal()
    assert values(KafkaPython(bootstrap).read(topic, committed=True)) == [b"of the second"]


def test_offsets_commit_with_the_transaction_or_not_at_all(
    new_topic: Callable[..., str], bootstrap: str
) -> None:
    topic, group = new_topic(), f"group-{uuid.uuid4().hex[:8]}"
    place = aiokafka.TopicPartition(topic, 0)
    client = AioKafka(bootstrap)

    async def work() -> list[Any]:
        seen = []
        async with (
            aiokafka.AIOKafkaProducer(bootstrap_servers=bootstrap, transactional_id=group) as producer,
            aiokafka.AIOKafkaConsumer(
                bootstrap_servers=bootstrap, group_id=group, enable_auto_commit=False
            ) as consumer,
        ):
            consumer.assign([place])
            for offset, commit in ((5, False), (7, True)):
                await producer.begin_transaction()
                await producer.send_and_wait(topic, b"v", partition=0)
                await producer.send_offsets_to_transaction({place: offset}, group)
                await (producer.commit_transaction() if commit else producer.abort_transaction())
                seen.append(await consumer.committed(place))
        return seen

    assert client.run(work()) == [None, 7]
    client.close()


def test_an_overdue_transaction_is_aborted(new_topic: Callable[..., str], bootstrap: str) -> None:
    topic = new_topic()
    producer = kafka.KafkaProducer(
        bootstrap_servers=bootstrap, transactional_id=uuid.uuid4().hex, transaction_timeout_ms=1000
    )
    producer.init_transactions()
    producer.begin_transaction()
    producer.send(topic, b"too late", partition=0).get(DEADLINE_S)
    reader = KafkaPython(bootstrap)
    reader.send(topic, [Row(b"k", b"after")])
    deadline_s = time.monotonic() + DEADLINE_S
    while not (found := values(reader.read(topic, committed=True))):
        assert time.monotonic() < deadline_s, "it was never aborted"
        time.sleep(0.2)
    assert found == [b"after"]
    with pytest.raises(KafkaError):
        producer.commit_transaction()
    producer.close(timeout=1)


@pytest.mark.embedded_only
def test_a_transaction_goes_on_after_the_broker_was_killed(own_kafka: EmbeddedKafka) -> None:
    producer = confluent_kafka.Producer(
        {"bootstrap.servers": own_kafka.bootstrap, "transactional.id": "mine", "log_level": 0}
    )
    producer.init_transactions(DEADLINE_S)
    producer.begin_transaction()
    producer.produce("topic", b"before", partition=0)
    assert producer.flush(DEADLINE_S) == 0
    own_kafka.kill()
    own_kafka.restart()
    reader = KafkaPython(own_kafka.bootstrap)
    assert values(reader.read("topic", committed=True)) == []
    producer.produce("topic", b"after", partition=0)
    producer.commit_transaction(DEADLINE_S)
    assert values(reader.read("topic", committed=True)) == [b"before", b"after"]


@pytest.mark.embedded_only
def test_a_killed_broker_remembers_the_epochs_of_transactional_producers(own_kafka: EmbeddedKafka) -> None:
    reader = KafkaPython(own_kafka.bootstrap)
    first = confluent_kafka.Producer(
        {"bootstrap.servers": own_kafka.bootstrap, "transactional.id": "mine", "log_level": 0}
    )
    first.init_transactions(DEADLINE_S)
    reader.send_in_transaction("topic", [Row(b"k", b"of the second")], "mine", commit=True)
    own_kafka.kill()
    own_kafka.restart()
    first.begin_transaction()
    with pytest.raises(confluent_kafka.KafkaException):
        first.produce("topic", b"of the first", partition=0)
        first.flush(DEADLINE_S)
        first.commit_transaction(DEADLINE_S)
    assert values(reader.read("topic", committed=True)) == [b"of the second"]
