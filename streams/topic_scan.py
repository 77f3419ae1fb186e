"""Read whole topics, as they stand now: for inspections, not for streams."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from kafka import KafkaAdminClient, KafkaConsumer, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType
from kafka.errors import KafkaError

from streams.errors import BrokerError
from streams.kafka_auth import client_options
from streams.settings import Settings
from streams.topics import broker_away

SILENT_S: Final = 30.0


@dataclass(frozen=True, slots=True)
class TopicRecord:
    """One record. headers: of a repeated name the last counts. at_ms: the record's time stamp."""

    topic: str
    partition: int
    offset: int
    at_ms: int
    key: bytes | None
    value: bytes | None
    headers: dict[str, bytes] = field(default_factory=dict)


def scan_topic(
    settings: Settings, topic: str, partitions: Collection[int] | None = None
) -> Iterator[TopicRecord]:
    """Every record from the beginning up to where the topic ends now; nothing of a topic that is not there.

    partitions: only these. Raises BrokerError when Kafka is away, refuses, or is silent for 30 s.
    """
    try:
        consumer: Any = KafkaConsumer(**client_options(settings), group_id=None, enable_auto_commit=False)
    except KafkaError as error:
        raise broker_away(settings, error) from error
    try:
        there = consumer.partitions_for_topic(topic) or set()
        places = [
            TopicPartition(topic, p) for p in sorted(there if partitions is None else there & set(partitions))
        ]
        yield from _scan(consumer, places)
    except KafkaError as error:
        raise BrokerError(
            f"{topic} could not be read: {error!r}.", action="Give the user READ and DESCRIBE on it."
        ) from error
    finally:
        consumer.close()


def _scan(consumer: Any, places: list[TopicPartition]) -> Iterator[TopicRecord]:
    if not places:
        return
    consumer.assign(places)
    consumer.seek_to_beginning(*places)
    ends = consumer.end_offsets(places)
    heard_s = time.monotonic()
    while any(consumer.position(place) < end for place, end in ends.items()):
        found = [record for some in consumer.poll(timeout_ms=500).values() for record in some]
        if found:
            heard_s = time.monotonic()
        elif time.monotonic() - heard_s > SILENT_S:
            raise BrokerError("Kafka stopped answering in the middle of a topic.", action="Try again.")
        for record in found:
            if record.offset < ends[TopicPartition(record.topic, record.partition)]:
                yield TopicRecord(
                    record.topic,
                    record.partition,
                    record.offset,
                    record.timestamp,
                    record.key,
                    record.value,
                    dict(record.headers),
                )


def topic_config(settings: Settings, topics: Collection[str]) -> dict[str, dict[str, str]]:
    """Topic → its configuration, for those that exist. Raises BrokerError."""
    try:
        admin = KafkaAdminClient(**client_options(settings))
    except KafkaError as error:
        raise broker_away(settings, error) from error
    try:
        there = [name for name in admin.list_topics() if name in topics]
        resources = [ConfigResource(ConfigResourceType.TOPIC, name) for name in there]
        described = admin.describe_configs(resources)["topic"] if resources else {}
        return {n: {k: str(v.get("value")) for k, v in found.items()} for n, found in described.items()}
    except KafkaError as error:
        raise BrokerError(
            f"The topics' configurations could not be read: {error!r}.",
            action="Give the user DESCRIBE_CONFIGS on the topics.",
        ) from error
    finally:
        admin.close()
