"""Online replay: an event log through Kafka, as if its shop were sending it now.

Records go out in event-time order, keyed by person (murmur2, as every Kafka client but librdkafka does
by default), each confirmed by all in-sync copies. What is no event goes out too, keyed by a digest, and
reaches the dead letters with its reason. Batches are not compressed: every consumer can read that.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from kafka import KafkaAdminClient
from kafka.errors import KafkaError

from streams.errors import ReplayError
from streams.kafka_auth import client_options
from streams.log_delivery import Delivery, Progress, ReplayJob, open_producer
from streams.record_log import local_log, read_log
from streams.replay_order import ordered_records, scan_log
from streams.replay_progress import (
    AlreadySent,
    ReplayTarget,
    ResumePoint,
    end_offsets,
    load_point,
    log_head,
    read_back,
    save_point,
)
from streams.settings import Settings
from streams.topics import Topics, broker_away, ensure_topics

PATIENCE_S: Final = 120.0


@dataclass(frozen=True, slots=True)
class ReplaySummary:
    """What a replay did.

    sent: now and confirmed, of these `bad` are no events. skipped: outside the asked range.
    already_sent: by an earlier run. reordered: the log was not in event-time order.
    """

    sent: int
    bad: int
    skipped: int
    already_sent: int
    reordered: bool
    seconds: float

    @property
    def events_per_s(self) -> float:
        """Records sent per second."""
        return self.sent / self.seconds if self.seconds > 0 else 0.0

    def as_dict(self) -> dict[str, Any]:
        """The summary for `--json`."""
        return {
            "sent": self.sent,
            "bad": self.bad,
            "skipped": self.skipped,
            "already_sent": self.already_sent,
            "reordered": self.reordered,
            "seconds": round(self.seconds, 3),
            "events_per_s": round(self.events_per_s, 1),
        }


def parse_time(text: str) -> int:
    """RFC 3339 with a zone as epoch ms, for `--from` and `--to`. Raises ReplayError."""
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise ReplayError(f"{text!r} is no time with a zone.", action="Write it like 2017-12-01T12:00:00Z.")
    return round(moment.timestamp() * 1000)


def replay_log(
    path: Path,
    settings: Settings,
    *,
    speed: float | None = None,
    start_ms: int | None = None,
    end_ms: int | None = None,
    resume_file: Path | None = None,
    progress: Progress | None = None,
    patience_s: float = PATIENCE_S,
) -> ReplaySummary:
    """Send a log's events with start_ms <= event time < end_ms to Kafka, at `speed` times event time.

    speed None: as fast as Kafka takes them. path ``-``: standard input. resume_file: where the confirmed
    count is kept; when it is there, the replay goes on after it. patience_s: a broker that is away longer
    ends the replay.
    Raises DatasetError, ReplayError, BrokerError; KeyboardInterrupt leaves the file valid.
    """
    if speed is not None and not 0 < speed < float("inf"):
        raise ReplayError(f"The speed {speed} is not above 0.", action="Give 1, 60 or more, or leave it out.")
    started_s = time.monotonic()
    with local_log(path) as local:
        next(read_log(local))  # a log that cannot be read is told before Kafka is looked for
        ensure_topics(settings)
        job = _plan(local, settings, start_ms, end_ms, resume_file)
        with open_producer(settings, patience_s) as producer:
            run = Delivery(job, producer, progress, speed, patience_s)
            run.run()
    return ReplaySummary(
        sent=run.sent,
        bad=run.bad,
        skipped=job.skipped,
        already_sent=job.point.confirmed - run.sent,
        reordered=job.reordered,
        seconds=time.monotonic() - started_s,
    )


def _plan(
    path: Path, settings: Settings, start_ms: int | None, end_ms: int | None, resume_file: Path | None
) -> ReplayJob:
    point, already = _resume_point(path, settings, start_ms, end_ms, resume_file)
    scan = scan_log(path, point.now_ms, start_ms, end_ms)
    return ReplayJob(
        records=ordered_records(path, scan, point.now_ms, start_ms, end_ms),
        total=scan.chosen,
        skipped=scan.records - scan.chosen,
        reordered=not scan.sorted,
        point=point,
        resume_file=resume_file,
        already=already,
    )


def _resume_point(
    path: Path, settings: Settings, start_ms: int | None, end_ms: int | None, resume_file: Path | None
) -> tuple[ResumePoint, AlreadySent]:
    now_ms, topic = time.time_ns() // 1_000_000, Topics.of(settings).events
    nothing = AlreadySent({}, settings.partitions)
    if resume_file is None:
        target = ReplayTarget(
            log_bytes=0, log_head="", cluster="", topic=topic, partitions=settings.partitions
        )
        return ResumePoint(target=target, now_ms=now_ms), nothing
    target = _target(path, settings, start_ms, end_ms)
    point = load_point(resume_file, target)
    try:
        if point is not None:
            return point, read_back(settings, topic, point.offsets)
        point = ResumePoint(target=target, now_ms=now_ms, offsets=end_offsets(settings, topic))
    except KafkaError as error:
        raise broker_away(settings, error) from error
    save_point(resume_file, point)
    return point, nothing


def _target(path: Path, settings: Settings, start_ms: int | None, end_ms: int | None) -> ReplayTarget:
    head = log_head(path)
    try:
        admin = KafkaAdminClient(**client_options(settings), client_id=f"{settings.worker_name}-replay")
        try:
            cluster = str(admin.describe_cluster()["cluster_id"])
        finally:
            admin.close()
    except KafkaError as error:
        raise broker_away(settings, error) from error
    return ReplayTarget(
        log_bytes=path.stat().st_size,
        log_head=head,
        cluster=cluster,
        topic=Topics.of(settings).events,
        partitions=settings.partitions,
        start_ms=start_ms,
        end_ms=end_ms,
    )
