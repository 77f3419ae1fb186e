"""How far a replay got, so that the next run goes on there and sends nothing twice.

The file says how many of the log's first records Kafka has confirmed, and after which offset of each
partition to look. What was sent after that, before the replay was stopped or killed, is read back from
Kafka: records of one key stand in one partition in the order they were sent, so what is there is found by
comparing the log with the topic's end.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal

import orjson
from kafka import KafkaConsumer, TopicPartition
from pydantic import BaseModel, ConfigDict, ValidationError

from streams.errors import ReplayError
from streams.kafka_auth import client_options
from streams.replay_order import ReplayRecord, partition_of
from streams.settings import Settings

_HEAD_BYTES: Final = 65_536
_POLL_MS: Final = 500


class ReplayTarget(BaseModel):
    """Which records of which log go where. A progress file belongs to one target."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    log_bytes: int
    log_head: str
    cluster: str
    topic: str
    partitions: int
    start_ms: int | None = None
    end_ms: int | None = None


class ResumePoint(BaseModel):
    """The file's content. now_ms: the bound on the future that the first run judged events by.

    confirmed: records of the target, in replay order. offsets: partition → the offset after the last
    of them, or where the topic ended when the replay began.
    """

    model_config = ConfigDict(extra="forbid")

    format: Literal[1] = 1
    target: ReplayTarget
    now_ms: int
    confirmed: int = 0
    offsets: dict[int, int] = {}


def log_head(path: Path) -> str:
    """Digest of the log's first bytes: with its size, what tells it from other logs."""
    with path.open("rb") as stream:
        return hashlib.blake2b(stream.read(_HEAD_BYTES), digest_size=16).hexdigest()


def load_point(file: Path, target: ReplayTarget) -> ResumePoint | None:
    """Where `file` says to go on; None when there is no file.

    Raises ReplayError when it is not a progress file, or that of another log, range, cluster or topic.
    """
    try:
        point = ResumePoint.model_validate_json(file.read_bytes())
    except FileNotFoundError:
        return None
    except (ValidationError, OSError) as error:
        raise ReplayError(
            f"{file} is not the progress file of a replay. Nothing was sent.",
            action="Name another file, or delete this one to begin anew.",
        ) from error
    if point.target != target:
        raise ReplayError(
            f"{file} belongs to another replay: {_differences(point.target, target)}. Nothing was sent.",
            action="Name another file, or delete this one to begin anew.",
        )
    return point


def _differences(there: ReplayTarget, here: ReplayTarget) -> str:
    pairs = [(name, getattr(there, name), getattr(here, name)) for name in ReplayTarget.model_fields]
    return ", ".join(f"{name} was {old}, is {new}" for name, old, new in pairs if old != new)


def save_point(file: Path, point: ResumePoint) -> None:
    """Replace the file in one step, so that it is whole at any moment."""
    unfinished = file.with_name(file.name + ".part")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        unfinished.write_bytes(orjson.dumps(point.model_dump(), option=orjson.OPT_NON_STR_KEYS))
        unfinished.replace(file)
    except OSError as error:
        raise ReplayError(
            f"The progress file cannot be written: {file}: {error.strerror}.",
            action="Name another place; records already in Kafka stay there.",
        ) from error


class AlreadySent:
    """What stands in the topic after a resume point, to be matched with the log's next records."""

    def __init__(self, found: Mapping[int, deque[tuple[bytes, int]]], partitions: int) -> None:
        self._found = found
        self._partitions = partitions

    def take(self, record: ReplayRecord) -> tuple[int, int] | None:
        """Partition and offset when `record` is there already, else None. Call it in replay order.

        Records of other producers in between are passed over.
        """
        partition = partition_of(record.key, self._partitions)
        found = self._found.get(partition)
        if not found:
            return None
        wanted = _fingerprint(record.key, record.value)
        place = next((place for place, (digest, _) in enumerate(found) if digest == wanted), None)
        if place is None:
            return None
        for _ in range(place):
            found.popleft()
        return partition, found.popleft()[1]


def end_offsets(settings: Settings, topic: str) -> dict[int, int]:
    """Where each partition of `topic` ends now. Raises KafkaError."""
    consumer = _consumer(settings)
    try:
        ends = consumer.end_offsets([TopicPartition(topic, p) for p in range(settings.partitions)])
        return {place.partition: offset for place, offset in ends.items()}
    finally:
        consumer.close()


def read_back(settings: Settings, topic: str, offsets: Mapping[int, int]) -> AlreadySent:
    """Read the partitions from `offsets` to their present ends. Raises KafkaError."""
    found: dict[int, deque[tuple[bytes, int]]] = {partition: deque() for partition in offsets}
    consumer = _consumer(settings)
    try:
        places = {TopicPartition(topic, partition): offset for partition, offset in offsets.items()}
        consumer.assign(list(places))
        for place, offset in places.items():
            consumer.seek(place, offset)
        ends = consumer.end_offsets(list(places))
        while any(consumer.position(place) < ends[place] for place in places):
            for batch in consumer.poll(timeout_ms=_POLL_MS).values():
                for record in batch:
                    entry = (_fingerprint(record.key or b"", record.value or b""), record.offset)
                    found[record.partition].append(entry)
    finally:
        consumer.close()
    return AlreadySent(found, settings.partitions)


def _consumer(settings: Settings) -> Any:
    return KafkaConsumer(
        **client_options(settings),
        client_id=f"{settings.worker_name}-replay",
        group_id=None,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
    )


def _fingerprint(key: bytes, value: bytes) -> bytes:
    return hashlib.blake2b(b"%d:" % len(key) + key + value, digest_size=16).digest()
