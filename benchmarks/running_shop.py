"""An embedded Kafka and Redis with workers as child processes, as benchmarks of the whole use them."""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from confluent_kafka import Consumer, Producer, TopicPartition

from aigq.demo_watch import Samples, read_metrics, total
from aigq.services import Services, WorkerProcess, embedded_servers
from streams.errors import BrokerError
from streams.settings import Settings, load_settings
from streams.topics import Topics, ensure_topics

TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")
LOOK_S: Final = 0.2
READ_S: Final = 20.0


@dataclass(frozen=True, slots=True)
class Appended:
    """A record as it stands in Kafka; at_ms: its append time where the broker sets it."""

    key: bytes
    value: bytes | None
    partition: int
    offset: int
    at_ms: int


@dataclass(slots=True)
class RunningShop:
    """Servers and workers; `settings` reaches them."""

    services: Services
    settings: Settings
    workers: list[WorkerProcess]

    @property
    def topics(self) -> Topics:
        """Names."""
        return Topics.of(self.settings)

    def samples(self) -> list[Samples]:
        """Each worker's metrics."""
        return [read_metrics(worker.health_url) for worker in self.workers]

    def count(self, name: str, **labels: str) -> float:
        """A metric, summed over labels and workers."""
        return sum(total(one, name, **labels) for one in self.samples())

    def wait_until_worked_off(self, sent: int, within_s: float) -> None:
        """Until all events are read and nothing waits any more. Raises BrokerError."""
        deadline_s, quiet = time.monotonic() + within_s, 0
        while quiet < 3:  # what is between two agents shows in no metric for a moment
            if time.monotonic() > deadline_s:
                raise BrokerError(
                    f"{sent:,} events were not worked off in {within_s:.0f} s.",
                    action="See the worker's log; or the machine is busy with something else.",
                )
            time.sleep(LOOK_S)
            quiet = quiet + 1 if self._is_idle(sent) else 0

    def _is_idle(self, sent: int) -> bool:
        samples = self.samples()
        waiting = sum(
            total(one, name) for one in samples for name in ("aigq_lag_records", "aigq_queue_requests")
        )
        return not waiting and sum(total(one, "aigq_events_total") for one in samples) >= sent

    def cpu_s(self) -> float:
        """User and system seconds of all workers so far."""
        return sum(cpu_s(worker.pid) for worker in self.workers)


@contextmanager
def running_shop(
    folder: Path, roles: Sequence[tuple[str, ...]] = ((),), **settings: str
) -> Iterator[RunningShop]:
    """A worker for each of `roles` (empty: all roles); settings: AIGQ_… of all. All stop at the end."""
    with ExitStack() as stack:
        services = stack.enter_context(embedded_servers(folder))
        given = services.settings | settings
        loaded = load_settings(given)
        ensure_topics(loaded)
        workers = [
            stack.enter_context(worker_of(folder, given, own, place)) for place, own in enumerate(roles)
        ]
        yield RunningShop(services, loaded, workers)


def worker_of(folder: Path, given: dict[str, str], roles: tuple[str, ...], place: int = 0) -> WorkerProcess:
    """Not started yet."""
    name = f"worker-{place}"
    return WorkerProcess(folder / name, given | {"AIGQ_WORKER_NAME": name}, roles=roles)


class Sender:
    """librdkafka's producer, partitioned as Kafka's own clients do. late_s: how late each record was sent."""

    def __init__(self, settings: Settings, **options: Any) -> None:
        self.late_s: list[float] = []
        self._producer = Producer(
            {
                "bootstrap.servers": ",".join(settings.kafka_bootstrap),
                "partitioner": "murmur2",
                "linger.ms": 1,
                "acks": "all",
                "log_level": 0,  # it tells of every server that stops, also when it should
                "queue.buffering.max.messages": 1_000_000,
                **options,
            }
        )

    def send(self, topic: str, key: bytes, value: bytes) -> None:
        """At once, or as soon as there is room."""
        while True:
            try:
                self._producer.produce(topic, value, key)
            except BufferError:
                self._producer.poll(0.05)
            else:
                return

    def send_on_time(self, topic: str, records: Iterator[tuple[float, bytes, bytes]]) -> int:
        """(due, key, value) in order, due in epoch seconds, whatever becomes of those before; how many."""
        count = 0
        for due_s, key, value in records:
            while (ahead_s := due_s - time.time()) > 0:
                self._producer.poll(min(ahead_s, 0.01))
            self.late_s.append(-ahead_s)
            self.send(topic, key, value)
            count += 1
        self.flush()
        return count

    def flush(self) -> None:
        """Until Kafka has confirmed all. Raises BrokerError."""
        if left := self._producer.flush(60.0):
            raise BrokerError(f"Kafka did not confirm {left:,} records.", action="See the broker's log.")


def read_topic(settings: Settings, topic: str) -> Iterator[Appended]:
    """What stands in a topic now, partition by partition."""
    consumer = Consumer(
        {
            "bootstrap.servers": ",".join(settings.kafka_bootstrap),
            "group.id": "benchmark",
            "enable.auto.commit": False,
        }
    )
    try:
        for partition in range(settings.partitions):
            place = TopicPartition(topic, partition, 0)
            low, high = consumer.get_watermark_offsets(place, timeout=READ_S)
            consumer.assign([TopicPartition(topic, partition, low)])
            yield from _up_to(consumer, high) if high > low else ()
    finally:
        consumer.close()


def _up_to(consumer: Any, high: int) -> Iterator[Appended]:
    deadline_s = time.monotonic() + READ_S
    while True:
        for one in consumer.consume(10_000, 0.2):
            deadline_s = time.monotonic() + READ_S
            yield Appended(one.key() or b"", one.value(), one.partition(), one.offset(), one.timestamp()[1])
        if consumer.position(consumer.assignment())[0].offset >= high:
            return
        if time.monotonic() > deadline_s:
            raise BrokerError(f"A topic ended before {high:,}.", action="See the broker's log.")


def until(is_so: Callable[[], bool], what: str, within_s: float) -> float:
    """Seconds until it was so. Raises BrokerError."""
    began_s = time.monotonic()
    while not is_so():
        if time.monotonic() - began_s > within_s:
            raise BrokerError(f"Not within {within_s:.0f} s: {what}.", action="See the logs of the servers.")
        time.sleep(LOOK_S)
    return time.monotonic() - began_s


def cpu_s(pid: int) -> float:
    """User and system seconds of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_S


def resident_mb(pid: int) -> float:
    """Memory of a process, in MB of 10^6 bytes."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * resource.getpagesize() / 1e6
