"""Sending a log's records to Kafka in order, and knowing how many of the first are confirmed."""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import structlog
from kafka import KafkaProducer
from kafka.errors import KafkaError, KafkaTimeoutError

from streams.errors import BrokerError
from streams.kafka_auth import client_options
from streams.replay_order import ReplayRecord
from streams.replay_progress import AlreadySent, ResumePoint, save_point
from streams.settings import Settings
from streams.topics import broker_away

log = structlog.get_logger("replay")

WINDOW: Final = 5_000  # records sent and not confirmed: the backpressure, since the client has none
TURN_S: Final = 0.1  # between looks at confirmations while there is nothing else to do
SAVE_EVERY_S: Final = 1.0
TELL_AFTER_S: Final = 2.0
WARN_EVERY_S: Final = 10.0
CLOSE_WITHIN_S: Final = 2.0


@dataclass(frozen=True, slots=True)
class ReplayProgress:
    """How far a replay is. at_ms: event time. waiting_s: for so long Kafka has confirmed nothing."""

    done: int
    total: int
    at_ms: int
    waiting_s: float


Progress = Callable[[ReplayProgress], None]


@dataclass(slots=True)
class ReplayJob:
    """A replay that is ready to begin, or to go on. records: all of its target, in replay order."""

    records: Iterator[ReplayRecord]
    total: int
    skipped: int
    reordered: bool
    point: ResumePoint
    resume_file: Path | None
    already: AlreadySent


@contextlib.contextmanager
def open_producer(settings: Settings, patience_s: float) -> Iterator[Any]:
    """An idempotent producer that tries for `patience_s`: within a run nothing doubles or overtakes."""
    try:
        producer = KafkaProducer(
            **client_options(settings),
            client_id=f"{settings.worker_name}-replay",
            acks="all",
            enable_idempotence=True,
            linger_ms=5,
            batch_size=131_072,
            delivery_timeout_ms=round(patience_s * 1000),
            request_timeout_ms=round(min(30.0, patience_s / 2) * 1000),
            max_block_ms=round(patience_s * 1000),
            reconnect_backoff_max_ms=1_000,
        )
    except KafkaError as error:
        raise broker_away(settings, error) from error
    try:
        yield producer
    finally:
        _close(producer)


def _close(producer: Any) -> None:
    try:
        producer.close(timeout=CLOSE_WITHIN_S)
    except KafkaTimeoutError:
        # Raised with the client's thread still at work: it would go on sending after the replay has ended.
        producer._sender.force_close()
        with contextlib.suppress(KafkaTimeoutError):
            producer.close(timeout=CLOSE_WITHIN_S)


@dataclass(frozen=True, slots=True)
class _There:
    """An earlier run's send, in the place of a future."""

    partition: int
    offset: int

    is_done = True
    exception = None

    def get(self, timeout: float) -> _There:  # noqa: ARG002 - a future's signature
        return self


@dataclass(slots=True)
class Delivery:
    """One run of a job. `job.point` says at any time what Kafka has confirmed."""

    job: ReplayJob
    producer: Any
    progress: Progress | None
    speed: float | None
    patience_s: float
    sent: int = 0
    bad: int = 0
    at_ms: int = 0
    _window: deque[tuple[ReplayRecord, Any]] = field(default_factory=deque)  # in replay order
    _moved_s: float = field(default_factory=time.monotonic)
    _saved_s: float = field(default_factory=time.monotonic)
    _told_s: float = 0.0
    _warned_s: float = 0.0

    def run(self) -> None:
        """Send what is not there yet and wait until it is confirmed. Raises BrokerError."""
        records = iter(self.job.records)
        for _ in range(self.job.point.confirmed):
            next(records, None)
        try:
            self._send_all(records)
            self._settle(0)
        except KafkaError as error:
            raise self._gave_up(error) from error
        finally:
            self._leave()

    def _send_all(self, records: Iterator[ReplayRecord]) -> None:
        begun: tuple[float, int] | None = None
        for record in records:
            outcome: Any = self.job.already.take(record)
            if outcome is None:
                begun = begun or (time.monotonic(), record.at_ms)
                self._wait_for(record.at_ms, *begun)
                outcome = self._send(record)
            else:
                outcome = _There(*outcome)
            self._window.append((record, outcome))
            self.at_ms = record.at_ms
            self._collect()
            self._settle(WINDOW)

    def _send(self, record: ReplayRecord) -> Any:
        if not self._window:
            self._moved_s = time.monotonic()
        topic = self.job.point.target.topic
        return self.producer.send(topic, value=record.value, key=record.key, headers=record.headers)

    def _wait_for(self, at_ms: int, begun_s: float, begun_ms: int) -> None:
        """Sleep until the record's time has come."""
        if self.speed is None:
            return
        due_s = begun_s + (at_ms - begun_ms) / 1000 / self.speed
        while (left_s := due_s - time.monotonic()) > 0:
            time.sleep(min(left_s, TURN_S))
            self._collect()

    def _settle(self, most: int) -> None:
        """Wait until at most `most` records are unconfirmed."""
        while len(self._window) > most:
            oldest = self._window[0][1]
            with contextlib.suppress(KafkaTimeoutError):  # not yet, or for good: `_collect` tells
                oldest.get(timeout=TURN_S)
            self._collect()

    def _collect(self) -> None:
        """Count what is confirmed, from the oldest on. Raises the error of what failed."""
        while self._window and self._window[0][1].is_done:
            self._collect_one()
        self._tell()

    def _collect_one(self) -> None:
        record, outcome = self._window[0]
        place = outcome.get(timeout=0)
        self._window.popleft()
        self.job.point.confirmed += 1
        self.job.point.offsets[place.partition] = place.offset + 1
        if not isinstance(outcome, _There):
            self.sent += 1
            self.bad += record.error is not None
        self._moved_s = time.monotonic()

    def _leave(self) -> None:
        """At the end, also after Ctrl-C or an error: the file as exact as can be had at once."""
        while self._window and self._window[0][1].is_done and self._window[0][1].exception is None:
            self._collect_one()
        self._save()
        self._report(time.monotonic())

    def _tell(self) -> None:
        now_s = time.monotonic()
        if now_s - self._saved_s >= SAVE_EVERY_S:
            self._save()
            self._saved_s = now_s
        if now_s - self._told_s >= TURN_S:
            self._told_s = now_s
            self._report(now_s)

    def _save(self) -> None:
        if self.job.resume_file is not None:
            save_point(self.job.resume_file, self.job.point)

    def _report(self, now_s: float) -> None:
        waiting_s = now_s - self._moved_s if self._window else 0.0
        if waiting_s >= TELL_AFTER_S and now_s - self._warned_s >= WARN_EVERY_S:
            self._warned_s = now_s
            log.warning("kafka_confirms_nothing", for_s=round(waiting_s, 1), unconfirmed=len(self._window))
        if self.progress is not None:
            shown_s = waiting_s if waiting_s >= TELL_AFTER_S else 0.0
            self.progress(ReplayProgress(self.job.point.confirmed, self.job.total, self.at_ms, shown_s))

    def _gave_up(self, error: KafkaError) -> BrokerError:
        point, file = self.job.point, self.job.resume_file
        kept = f" Their number is kept in {file}." if file else ""
        return BrokerError(
            f"Kafka did not take a record within {self.patience_s:.0f} s: {error!r}. "
            f"The first {point.confirmed} of {self.job.total} records are confirmed.{kept}",
            action="Check the broker, then replay again with the same resume file."
            if file
            else "Check the broker; a replay with a resume file can go on where it ended.",
        )
