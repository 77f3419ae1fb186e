"""Many workers on many machines: histories in one Kafka topic, answers in another, no scheduler of ours.

    enqueue ─► think-histories ─► workers, one consumer group a model ─► think-answers ─► collect

A worker commits a history when its answer is produced and acknowledged, so a worker that dies loses nothing.
Another one may answer that history again; `collect` takes one answer for each. A question that failed is
answered with a mark: it counts as missing, and enqueuing what is missing asks it again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson
from kafka import KafkaAdminClient, KafkaConsumer, TopicPartition
from kafka.admin import NewTopic
from kafka.errors import KafkaError, TopicAlreadyExistsError
from pydantic import BaseModel, ConfigDict, ValidationError

from streams.kafka_auth import client_options
from streams.log_delivery import open_producer
from streams.settings import Settings
from streams.topics import DAY_MS, broker_away
from training.think.points import History, Reasoned

PATIENCE_S: Final = 120.0
KEPT_DAYS: Final = 30
UNSENT_MAX: Final = 1_000  # sent and not yet acknowledged
_POLL_MS: Final = 500


class Answered(BaseModel):
    """A record of the answers' topic. failed: the question got no answer, and may get one later."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    maker: str
    failed: bool
    answer: Reasoned

    def as_bytes(self) -> bytes:
        """As JSON."""
        return orjson.dumps(self.model_dump())


@dataclass(frozen=True, slots=True)
class Collected:
    """answers: for the asked histories, several for one if it was answered twice. failed: histories whose
    question failed and that nobody answered since. unreadable: records that are no answer."""

    answers: list[Reasoned]
    failed: int
    unreadable: int


def histories_topic(settings: Settings) -> str:
    """What workers read; keyed by history name."""
    return f"{settings.topic_prefix}think-histories"


def answers_topic(settings: Settings) -> str:
    """What workers write; keyed by history name."""
    return f"{settings.topic_prefix}think-answers"


def ensure_work_topics(settings: Settings) -> None:
    """Create the two topics where they are missing. Raises BrokerError."""
    try:
        admin = KafkaAdminClient(**client_options(settings), client_id=f"{settings.worker_name}-admin")
        try:
            for name in (histories_topic(settings), answers_topic(settings)):
                _create(admin, name, settings)
        finally:
            admin.close()
    except KafkaError as error:
        raise broker_away(settings, error) from error


def enqueue(histories: Iterable[History], settings: Settings) -> int:
    """Put the histories into their topic; returns how many, when Kafka has them all. Raises BrokerError."""
    ensure_work_topics(settings)
    topic, count = histories_topic(settings), 0
    try:
        with open_producer(settings, PATIENCE_S) as producer:
            sent: list[Any] = []
            for history in histories:
                value = orjson.dumps(history.model_dump())
                sent.append(producer.send(topic, key=history.name.encode(), value=value))
                count += 1
                if len(sent) >= UNSENT_MAX:
                    acknowledged(sent)
                    sent.clear()
            acknowledged(sent)
    except KafkaError as error:
        raise broker_away(settings, error) from error
    return count


def acknowledged(sent: Sequence[Any]) -> None:
    """Wait until Kafka has what was sent. Raises KafkaError."""
    for future in sent:
        future.get(timeout=PATIENCE_S)


def collect(histories: Iterable[History], maker: str, settings: Settings) -> Collected:
    """All answers of the maker for these histories, so far. Raises BrokerError."""
    names = {history.name for history in histories}
    answers: list[Reasoned] = []
    failed: set[str] = set()
    unreadable = 0
    for value in _records(settings):
        found = _read(value)
        if found is None:
            unreadable += 1
        elif found.maker == maker and found.answer.history in names:
            if found.failed:
                failed.add(found.answer.history)
            else:
                answers.append(found.answer)
    return Collected(answers, len(failed - {answer.history for answer in answers}), unreadable)


def _read(value: bytes | None) -> Answered | None:
    try:
        return Answered.model_validate_json(value or b"")
    except ValidationError:
        return None


def _records(settings: Settings) -> Iterator[bytes | None]:
    """Values of the answers' topic, up to its present end."""
    ensure_work_topics(settings)
    topic = answers_topic(settings)
    try:
        consumer: Any = KafkaConsumer(
            **client_options(settings),
            client_id=f"{settings.worker_name}-think-collect",
            group_id=None,
            auto_offset_reset="earliest",
        )
        try:
            places = [TopicPartition(topic, number) for number in consumer.partitions_for_topic(topic) or ()]
            consumer.assign(places)
            ends = consumer.end_offsets(places)
            while any(consumer.position(place) < end for place, end in ends.items()):
                for batch in consumer.poll(timeout_ms=_POLL_MS).values():
                    yield from (record.value for record in batch)
        finally:
            consumer.close()
    except KafkaError as error:
        raise broker_away(settings, error) from error


def _create(admin: KafkaAdminClient, name: str, settings: Settings) -> None:
    config = {"cleanup.policy": "delete", "retention.ms": str(KEPT_DAYS * DAY_MS)}
    try:
        admin.create_topics([NewTopic(name, settings.partitions, settings.replication, topic_configs=config)])
    except TopicAlreadyExistsError:
        return
