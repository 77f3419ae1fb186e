"""One of many workers: takes histories off their topic, asks, and puts the answers into theirs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Event
from typing import Any, Final

import structlog
from kafka import ConsumerRebalanceListener, KafkaConsumer
from kafka.errors import CommitFailedError, IllegalGenerationError, KafkaError, RebalanceInProgressError
from pydantic import ValidationError

from streams.kafka_auth import client_options
from streams.log_delivery import open_producer
from streams.settings import Settings
from streams.topics import broker_away
from training.think.language_model.reasoner import LanguageModelReasoner
from training.think.language_model.work_topics import (
    PATIENCE_S,
    Answered,
    acknowledged,
    answers_topic,
    ensure_work_topics,
    histories_topic,
)
from training.think.points import History, Reasoned

log = structlog.get_logger("think")

POLL_MS: Final = 500
# A batch may wait for a slow endpoint; a worker that died is told by its heartbeats, long before that.
BATCH_WITHIN_MS: Final = 60 * 60_000
LOST: Final = (CommitFailedError, IllegalGenerationError, RebalanceInProgressError)

Told = Callable[[int], None]


class _Joined(ConsumerRebalanceListener):  # type: ignore[misc] # the client ships no types
    """Tells that the group has given out its partitions, be it none to this worker."""

    def __init__(self, tell: Callable[[], None]) -> None:
        self._tell = tell

    def on_partitions_revoked(self, revoked: Any) -> None:
        """Nothing to do: what is not committed is read again."""

    def on_partitions_assigned(self, assigned: Any) -> None:  # noqa: ARG002 - the client's signature
        """Tell."""
        self._tell()


@dataclass(slots=True)
class Worker:
    """done: answers produced and committed. unreadable: records that are no history; they are answered as
    failed, under their place in the topic."""

    reasoner: LanguageModelReasoner
    settings: Settings
    stopped: Event
    told: Told
    done: int = 0
    unreadable: int = 0
    _moved_s: float | None = None  # when it joined the group, or last answered something

    def run(self, idle_s: float | None = None) -> None:
        """Until `stopped`, or nothing came for `idle_s` since it joined the group, or a limit is reached
        (`reasoner.tally.stopped`).

        Raises BrokerError, TrainingError; what was not committed is another worker's, or this one's later.
        """
        ensure_work_topics(self.settings)
        try:
            with self._consumer() as consumer, open_producer(self.settings, PATIENCE_S) as producer:
                while not self._is_over(idle_s) and self._batch(consumer, producer):
                    pass
        except KafkaError as error:
            raise broker_away(self.settings, error) from error

    def _is_over(self, idle_s: float | None) -> bool:
        if self.stopped.is_set():
            return True
        if idle_s is None or self._moved_s is None:
            return False
        return time.monotonic() - self._moved_s > idle_s

    def _batch(self, consumer: Any, producer: Any) -> bool:
        """Whether it may go on. Nothing of a batch is committed unless all of it is answered."""
        found = consumer.poll(timeout_ms=POLL_MS, max_records=4 * self.reasoner.concurrency)
        records = [record for batch in found.values() for record in batch]
        if not records:
            return True
        answers = list(self._answers(records))
        topic = answers_topic(self.settings)
        sent = [
            producer.send(topic, key=one.answer.history.encode(), value=one.as_bytes()) for one in answers
        ]
        acknowledged(sent)
        if self.reasoner.tally.stopped:
            return False
        self._commit(consumer, len(answers))
        return True

    def _answers(self, records: Sequence[Any]) -> Iterator[Answered]:
        histories: list[History] = []
        for record in records:
            try:
                histories.append(History.model_validate_json(record.value or b""))
            except ValidationError:
                self.unreadable += 1
                place = f"{record.topic}:{record.partition}:{record.offset}"
                broken = Reasoned(history=place, problem="The record is no history.")
                yield Answered(maker=self.reasoner.name, failed=True, answer=broken)
        for outcome in self.reasoner.outcomes(histories):
            if outcome.source != "left":
                failed = outcome.source == "failed"
                yield Answered(maker=self.reasoner.name, failed=failed, answer=outcome.reasoned)

    def _commit(self, consumer: Any, count: int) -> None:
        try:
            consumer.commit()
        except LOST as error:
            log.info("committed too late: another worker answers these again", error=type(error).__name__)
        self.done += count
        self._moved()
        self.told(self.done)

    def _moved(self) -> None:
        self._moved_s = time.monotonic()

    @contextmanager
    def _consumer(self) -> Iterator[Any]:
        consumer: Any = KafkaConsumer(
            **client_options(self.settings),
            client_id=f"{self.settings.worker_name}-think",
            group_id=f"{self.settings.topic_prefix}aigq-think-{self.reasoner.name}",
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            session_timeout_ms=round(self.settings.session_timeout_s * 1000),
            heartbeat_interval_ms=round(self.settings.session_timeout_s * 1000 / 4),
            max_poll_interval_ms=BATCH_WITHIN_MS,
        )
        try:
            consumer.subscribe([histories_topic(self.settings)], listener=_Joined(self._moved))
            yield consumer
        finally:
            consumer.close(autocommit=False)
