"""What several tests of logs and replay build: log files, and what stands in a topic."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import orjson
from kafka import KafkaConsumer, TopicPartition

from streams.settings import Settings
from streams.topics import Topics
from tests.support import NOON_MS, event_json

LOGS = Path(__file__).parent / "fixtures" / "logs"
FOREIGN = LOGS / "foreign-shop.jsonl"
CLEAN = LOGS / "clean-shop.jsonl"


def shop_events(count: int, users: int = 7, gap_ms: int = 1000) -> list[dict[str, Any]]:
    """Events of several users in turn, `gap_ms` apart; the odd ones are searches. Each has an id."""
    return [
        event_json(
            action="search" if number % 2 else "purchase",
            text=f"thing {number % 50}",
            at_ms=NOON_MS + number * gap_ms,
            user=f"u{number % users}",
            event_id=f"e{number:05}",
        )
        for number in range(count)
    ]


def write_jsonl(path: Path, rows: Iterable[dict[str, Any] | bytes]) -> Path:
    """One row a line; bytes stand as they are."""
    path.write_bytes(b"".join((r if isinstance(r, bytes) else orjson.dumps(r)) + b"\n" for r in rows))
    return path


def topic_records(settings: Settings) -> list[Any]:
    """All records of the events topic, in order of partition and offset."""
    topic = Topics.of(settings).events
    consumer = KafkaConsumer(bootstrap_servers=settings.kafka_bootstrap, auto_offset_reset="earliest")
    places = [TopicPartition(topic, partition) for partition in range(settings.partitions)]
    try:
        consumer.assign(places)
        consumer.seek_to_beginning(*places)
        ends = consumer.end_offsets(places)
        found: list[Any] = []
        while any(consumer.position(place) < ends[place] for place in places):
            for batch in consumer.poll(timeout_ms=500).values():
                found += batch
    finally:
        consumer.close()
    return sorted(found, key=lambda record: (record.partition, record.offset))
