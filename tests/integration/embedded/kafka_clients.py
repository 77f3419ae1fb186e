"""The three Python clients of Kafka behind one small interface, so that a test of the broker runs with
each.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Coroutine, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

import aiokafka
import confluent_kafka
import kafka

T = TypeVar("T")
SESSION_MS = 6000  # the least that Apache Kafka allows by default
DEADLINE_S = 30.0


class Row(NamedTuple):
    """A record to send, or as it was read."""

    key: bytes | None = None
    value: bytes | None = None
    headers: tuple[tuple[str, bytes], ...] = ()
    timestamp_ms: int | None = None
    partition: int = 0
    offset: int = -1


class GroupMember(Protocol):
    """A consumer in a group; `assigned` are its partitions by what the client says now."""

    def poll(self) -> list[Row]: ...
    def assigned(self) -> set[int]: ...
    def commit(self) -> None: ...
    def close(self) -> None: ...


class Client(Protocol):
    """What a test does with a client; `settings` are the client's own names."""

    def send(self, topic: str, rows: Sequence[Row], **settings: Any) -> list[int]: ...
    def read(self, topic: str, partitions: int = 1, *, committed: bool = False) -> list[Row]: ...
    def send_in_transaction(self, topic: str, rows: Sequence[Row], name: str, *, commit: bool) -> None: ...
    def join(self, topic: str, group: str, *, instance: str | None = None) -> GroupMember: ...


class KafkaPython:
    """kafka-python."""

    def __init__(self, bootstrap: str) -> None:
        self._bootstrap = bootstrap

    def send(self, topic: str, rows: Sequence[Row], **settings: Any) -> list[int]:
        producer = kafka.KafkaProducer(bootstrap_servers=self._bootstrap, acks="all", **settings)
        try:
            return [future.get(DEADLINE_S).offset for future in _kafka_python_sent(producer, topic, rows)]
        finally:
            producer.close()

    def read(self, topic: str, partitions: int = 1, *, committed: bool = False) -> list[Row]:
        level = "read_committed" if committed else "read_uncommitted"
        consumer = kafka.KafkaConsumer(bootstrap_servers=self._bootstrap, isolation_level=level)
        try:
            wanted = [kafka.TopicPartition(topic, index) for index in range(partitions)]
            consumer.assign(wanted)
            consumer.seek_to_beginning(*wanted)
            ends, rows, deadline_s = consumer.end_offsets(wanted), [], time.monotonic() + DEADLINE_S
            while any(consumer.position(place) < ends[place] for place in wanted):
                rows += _kafka_python_rows(consumer.poll(timeout_ms=200))
                assert time.monotonic() < deadline_s, "the end was not reached"
            return rows
        finally:
            consumer.close()

    def send_in_transaction(self, topic: str, rows: Sequence[Row], name: str, *, commit: bool) -> None:
        producer = kafka.KafkaProducer(bootstrap_servers=self._bootstrap, transactional_id=name)
        try:
            producer.init_transactions()
            producer.begin_transaction()
            for future in _kafka_python_sent(producer, topic, rows):
                future.get(DEADLINE_S)
            (producer.commit_transaction if commit else producer.abort_transaction)()
        finally:
            producer.close()

    def join(self, topic: str, group: str, *, instance: str | None = None) -> GroupMember:
        return KafkaPythonMember(self._bootstrap, topic, group, instance)


class KafkaPythonMember:
    def __init__(self, bootstrap: str, topic: str, group: str, instance: str | None) -> None:
        self._consumer = kafka.KafkaConsumer(
            topic,
            bootstrap_servers=bootstrap,
            group_id=group,
            group_instance_id=instance,
            auto_offset_reset="earliest",
            enable_auto_commit=False,
            session_timeout_ms=SESSION_MS,
            heartbeat_interval_ms=300,
            metadata_max_age_ms=1000,
        )

    def poll(self) -> list[Row]:
        return _kafka_python_rows(self._consumer.poll(timeout_ms=100))

    def assigned(self) -> set[int]:
        return {place.partition for place in self._consumer.assignment()}

    def commit(self) -> None:
        self._consumer.commit()

    def close(self) -> None:
        self._consumer.close(autocommit=False)


def _kafka_python_sent(producer: Any, topic: str, rows: Sequence[Row]) -> list[Any]:
    return [
        producer.send(
            topic,
            key=row.key,
            value=row.value,
            headers=list(row.headers),
            partition=row.partition,
            timestamp_ms=row.timestamp_ms,
        )
        for row in rows
    ]


def _kafka_python_rows(polled: dict[Any, list[Any]]) -> list[Row]:
    return [
        Row(m.key, m.value, tuple(m.headers), m.timestamp, m.partition, m.offset)
        for messages in polled.values()
        for m in messages
    ]


class AioKafka:
    """aiokafka, on an event loop in a thread of its own, so that heartbeats go on between calls."""

    def __init__(self, bootstrap: str) -> None:
        self._bootstrap = bootstrap
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(DEADLINE_S)

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def send(self, topic: str, rows: Sequence[Row], **settings: Any) -> list[int]:
        return self.run(self._send(topic, rows, settings))

    async def _send(self, topic: str, rows: Sequence[Row], settings: dict[str, Any]) -> list[int]:
        async with aiokafka.AIOKafkaProducer(
            bootstrap_servers=self._bootstrap, acks="all", **settings
        ) as producer:
            return [(await future).offset for future in await _aiokafka_sent(producer, topic, rows)]

    def read(self, topic: str, partitions: int = 1, *, committed: bool = False) -> list[Row]:
        return self.run(self._read(topic, partitions, committed=committed))

    async def _read(self, topic: str, partitions: int, *, committed: bool) -> list[Row]:
        level = "read_committed" if committed else "read_uncommitted"
        async with aiokafka.AIOKafkaConsumer(
            bootstrap_servers=self._bootstrap, isolation_level=level
        ) as consumer:
            wanted = [aiokafka.TopicPartition(topic, index) for index in range(partitions)]
            consumer.assign(wanted)
            await consumer.seek_to_beginning(*wanted)
            ends, rows = await consumer.end_offsets(wanted), []
            while any([await consumer.position(place) < ends[place] for place in wanted]):
                rows += _kafka_python_rows(await consumer.getmany(timeout_ms=200))
            return rows

    def send_in_transaction(self, topic: str, rows: Sequence[Row], name: str, *, commit: bool) -> None:
        self.run(self._send_in_transaction(topic, rows, name, commit=commit))

    async def _send_in_transaction(self, topic: str, rows: Sequence[Row], name: str, *, commit: bool) -> None:
        async with aiokafka.AIOKafkaProducer(
            bootstrap_servers=self._bootstrap, transactional_id=name
        ) as producer:
            await producer.begin_transaction()
            for future in await _aiokafka_sent(producer, topic, rows):
                await future
            await (producer.commit_transaction() if commit else producer.abort_transaction())

    def join(self, topic: str, group: str, *, instance: str | None = None) -> GroupMember:
        return AioKafkaMember(self, self._bootstrap, topic, group, instance)


class AioKafkaMember:
    def __init__(
        self, client: AioKafka, bootstrap: str, topic: str, group: str, instance: str | None
    ) -> None:
        self._run = client.run
        self._consumer = client.run(self._started(bootstrap, topic, group, instance))

    async def _started(
        self, bootstrap: str, topic: str, group: str, instance: str | None
    ) -> aiokafka.AIOKafkaConsumer:
        consumer = aiokafka.AIOKafkaConsumer(
            topic,
            bootstrap_servers=bootstrap,
            group_id=group,
            group_instance_id=instance,
            auto_offset_reset="earliest",
            enable_auto_commit=False,
            session_timeout_ms=SESSION_MS,
            heartbeat_interval_ms=300,
            metadata_max_age_ms=1000,
        )
        await consumer.start()
        return consumer

    def poll(self) -> list[Row]:
        return _kafka_python_rows(self._run(self._consumer.getmany(timeout_ms=100)))

    def assigned(self) -> set[int]:
        return {place.partition for place in self._consumer.assignment()}

    def commit(self) -> None:
        self._run(self._consumer.commit())

    def close(self) -> None:
        self._run(self._consumer.stop())


async def _aiokafka_sent(producer: Any, topic: str, rows: Sequence[Row]) -> list[Any]:
    return [
        await producer.send(
            topic,
            key=row.key,
            value=row.value,
            headers=list(row.headers),
            partition=row.partition,
            timestamp_ms=row.timestamp_ms,
        )
        for row in rows
    ]


class Confluent:
    """confluent-kafka, which is librdkafka."""

    def __init__(self, bootstrap: str) -> None:
        self._bootstrap = bootstrap

    def _settings(self, settings: dict[str, Any]) -> dict[str, Any]:
        return {"bootstrap.servers": self._bootstrap, "log_level": 0} | settings

    def send(self, topic: str, rows: Sequence[Row], **settings: Any) -> list[int]:
        names = {name.replace("_", "."): value for name, value in settings.items()}
        producer = confluent_kafka.Producer(self._settings({"acks": "all"} | names))
        return _confluent_sent(producer, topic, rows)

    def read(self, topic: str, partitions: int = 1, *, committed: bool = False) -> list[Row]:
        level = "read_committed" if committed else "read_uncommitted"
        settings = {
            "group.id": "unused",
            "isolation.level": level,
            "enable.partition.eof": True,
            "auto.offset.reset": "earliest",  # a look-up that timed out begins anew, and not at the end
            "fetch.wait.max.ms": 20,
        }
        consumer = confluent_kafka.Consumer(self._settings(settings | {"enable.auto.commit": False}))
        try:
            first = confluent_kafka.OFFSET_BEGINNING
            consumer.assign(
                [confluent_kafka.TopicPartition(topic, index, first) for index in range(partitions)]
            )
            rows, ended = [], set()
            while len(ended) < partitions:
                message = consumer.poll(DEADLINE_S)
                assert message is not None, "the end was not reached"
                if message.error() is None:
                    rows.append(_confluent_row(message))
                elif message.error().code() == confluent_kafka.KafkaError._PARTITION_EOF:
                    ended.add(message.partition())
                else:
                    raise confluent_kafka.KafkaException(message.error())
            return rows
        finally:
            consumer.close()

    def send_in_transaction(self, topic: str, rows: Sequence[Row], name: str, *, commit: bool) -> None:
        producer = confluent_kafka.Producer(self._settings({"transactional.id": name}))
        producer.init_transactions(DEADLINE_S)
        producer.begin_transaction()
        _confluent_sent(producer, topic, rows)
        (producer.commit_transaction if commit else producer.abort_transaction)(DEADLINE_S)

    def join(self, topic: str, group: str, *, instance: str | None = None) -> GroupMember:
        settings = {"group.instance.id": instance} if instance is not None else {}
        return ConfluentMember(topic, self._settings(settings | {"group.id": group}))


class ConfluentMember:
    def __init__(self, topic: str, settings: dict[str, Any]) -> None:
        self._consumer = confluent_kafka.Consumer(
            settings
            | {
                "auto.offset.reset": "earliest",
                "enable.auto.commit": False,
                "session.timeout.ms": SESSION_MS,
                "heartbeat.interval.ms": 300,
                "topic.metadata.refresh.interval.ms": 1000,
            }
        )
        self._consumer.subscribe([topic])

    def poll(self) -> list[Row]:
        message = self._consumer.poll(0.1)
        if message is None:
            return []
        if message.error() is not None:
            raise confluent_kafka.KafkaException(message.error())
        return [_confluent_row(message)]

    def assigned(self) -> set[int]:
        return {place.partition for place in self._consumer.assignment()}

    def commit(self) -> None:
        self._consumer.commit(asynchronous=False)

    def close(self) -> None:
        self._consumer.close()


def _confluent_sent(producer: Any, topic: str, rows: Sequence[Row]) -> list[int]:
    reports: dict[int, Any] = {}
    for number, row in enumerate(rows):
        stamp = {} if row.timestamp_ms is None else {"timestamp": row.timestamp_ms}
        producer.produce(
            topic,
            row.value,
            row.key,
            row.partition,
            headers=list(row.headers),
            on_delivery=lambda error, message, number=number: reports.update({number: (error, message)}),
            **stamp,
        )
    assert producer.flush(DEADLINE_S) == 0, "not everything was acknowledged"
    for error, _ in reports.values():
        if error is not None:
            raise confluent_kafka.KafkaException(error)
    return [reports[number][1].offset() for number in range(len(rows))]


def _confluent_row(message: Any) -> Row:
    headers = tuple(message.headers() or ())
    return Row(
        message.key(), message.value(), headers, message.timestamp()[1], message.partition(), message.offset()
    )
