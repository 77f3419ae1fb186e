"""A shop for integration tests: topics of its own, workers as real processes, lists read from real Redis."""

from __future__ import annotations

import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from aigq.demo_watch import Samples, read_metrics, total
from aigq.services import WorkerProcess
from streams.hint_list import HintList
from streams.hint_store import HintReader
from streams.kafka_auth import client_options
from streams.settings import Settings, load_settings
from streams.topics import Topics, ensure_topics

BUNDLE = Path("exported_models/complete-journey")
COOLDOWN_S = 4.0
UNFINISHED = ("aigq_lag_records", "aigq_refreshes_owed")


def wait_until(condition: Callable[[], Any], what: str, within_s: float = 60.0) -> None:
    """Poll until `condition` holds; a test that waits in vain fails and says for what."""
    deadline_s = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > deadline_s:
            raise AssertionError(f"waited {within_s:.0f} s in vain: {what}")
        time.sleep(0.1)


@dataclass
class Shop:
    """Names are unique per shop, so that outside servers can be shared and used again."""

    kafka_url: str
    redis_url: str
    folder: Path
    name: str = field(default_factory=lambda: f"t{uuid.uuid4().hex[:10]}")
    options: dict[str, str] = field(default_factory=dict)
    workers: list[WorkerProcess] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.environ = {
            "AIGQ_KAFKA_URL": self.kafka_url,
            "AIGQ_REDIS_URL": self.redis_url,
            "AIGQ_TOPIC_PREFIX": f"{self.name}.",
            "AIGQ_SESSION_TIMEOUT_S": "6",
            "AIGQ_COOLDOWN_S": str(COOLDOWN_S),
            "AIGQ_COMMIT_INTERVAL_S": "0.5",
            **self.options,
        }
        self.settings: Settings = load_settings(self.environ)
        self.topics = Topics.of(self.settings)
        self.reader = HintReader.from_url(self.redis_url, timeout_s=5.0)
        ensure_topics(self.settings)

    def user(self, number: int) -> str:
        """A user id that no other test uses."""
        return f"{self.name}-{number}"

    def worker(self, *roles: str, **settings: str) -> WorkerProcess:
        """Start a worker and wait until it is ready; it is stopped with the shop."""
        folder = self.folder / f"worker-{len(self.workers)}"
        environ = {**self.environ, "AIGQ_WORKER_NAME": folder.name, **settings}
        process = WorkerProcess(folder, environ, roles=roles).start()
        self.workers.append(process)
        return process

    def produce(self, events: Iterable[dict[str, Any]]) -> None:
        """Send events keyed by person; returns when Kafka has them."""
        self.produce_raw((event["user_id"].encode(), orjson.dumps(event)) for event in events)

    def produce_raw(self, records: Iterable[tuple[bytes | None, bytes | None]]) -> None:
        """Send records as they are."""
        producer: Any = KafkaProducer(**client_options(self.settings), acks="all", linger_ms=5)
        try:
            for key, value in records:
                producer.send(self.topics.events, key=key, value=value)
            producer.flush()
        finally:
            producer.close()

    def records(self, topic: str) -> list[Any]:
        """All records of a topic so far."""
        consumer: Any = KafkaConsumer(
            **client_options(self.settings), group_id=None, auto_offset_reset="earliest"
        )
        try:
            places = [TopicPartition(topic, number) for number in range(self.settings.partitions)]
            consumer.assign(places)
            ends = consumer.end_offsets(places)
            found: list[Any] = []
            while any(consumer.position(place) < end for place, end in ends.items()):
                found += [r for records in consumer.poll(timeout_ms=500).values() for r in records]
            return found
        finally:
            consumer.close()

    def newest(self, user: str) -> HintList | None:
        """The user's newest list."""
        lists = self.reader.lists(user)
        return lists[0] if lists else None

    def metrics(self) -> Samples:
        """The sum of all living workers' metrics."""
        summed: Samples = {}
        for process in self.workers:
            if process.is_running:
                for key, value in read_metrics(process.health_url).items():
                    summed[key] = summed.get(key, 0.0) + value
        return summed

    def count(self, name: str, **labels: str) -> int:
        """A metric over all living workers."""
        return int(total(self.metrics(), name, **labels))

    def is_quiet(self) -> bool:
        """Everything read, committed and published, and no refresh owed."""
        samples = self.metrics()
        return total(samples, "aigq_lag_records") == 0 and total(samples, "aigq_refreshes_owed") == 0

    def wait_until_quiet(self, within_s: float = 90.0) -> None:
        """Quiet twice with a second between: metrics are measured every half second."""

        def quiet_for_a_while() -> bool:
            return self.is_quiet() and (time.sleep(1.2) is None) and self.is_quiet()

        try:
            wait_until(quiet_for_a_while, "the workers to work everything off", within_s)
        except AssertionError as error:
            left = {k: v for k, v in self.metrics().items() if v and k[0] in UNFINISHED}
            raise AssertionError(f"{error}: {left}") from error

    def close(self) -> None:
        """Stop the workers and the reader."""
        for process in self.workers:
            process.stop()
        self.reader.close()


def get(url: str) -> tuple[int, bytes]:
    """Status and body, whatever the status."""
    try:
        with urllib.request.urlopen(url, timeout=5) as response:  # noqa: S310 - our own worker
            return response.status, response.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()
