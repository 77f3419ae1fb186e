"""What the demo's screen knows: the worker's metrics, its users' states, and their lists in Redis.

All of it is read from outside, as an operator would: /metrics, the session changelog in Kafka, Redis.
"""

from __future__ import annotations

import threading
import urllib.request
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from kafka import KafkaConsumer, TopicPartition
from prometheus_client.parser import text_string_to_metric_families

from agents.session.state import SessionState, decode_state
from streams.kafka_auth import client_options
from streams.settings import Settings
from streams.topics import Topics

POLL_MS: Final = 200
FETCH_BYTES: Final = 1 << 20
FETCH_WAIT_MS: Final = 400
Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def read_metrics(health_url: str) -> Samples:
    """The worker's metrics: (name, sorted labels) → value."""
    with urllib.request.urlopen(f"{health_url}/metrics", timeout=5) as response:  # noqa: S310 - our own worker
        text = response.read().decode()
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def total(samples: Samples, name: str, **labels: str) -> float:
    """Sum of a metric over all label sets that hold `labels`."""
    wanted = set(labels.items())
    return sum(value for (known, have), value in samples.items() if known == name and wanted <= set(have))


def by_label(samples: Samples, name: str, label: str) -> dict[str, int]:
    """A counter split by one label."""
    split: dict[str, int] = {}
    for (known, labels), value in samples.items():
        if known == name and value:
            key = dict(labels)[label]
            split[key] = split.get(key, 0) + int(value)
    return split


def quantile(samples: Samples, name: str, q: float) -> float | None:
    """The q-quantile of a histogram, linear inside its bucket; None when it is empty."""
    bounds = sorted(
        (float(dict(labels)["le"]), value)
        for (known, labels), value in samples.items()
        if known == f"{name}_bucket"
    )
    if not bounds or not bounds[-1][1]:
        return None
    rank, low, below = q * bounds[-1][1], 0.0, 0.0
    for high, count in bounds:
        if count >= rank:
            if high == float("inf"):
                return low
            return low + (high - low) * (rank - below) / max(count - below, 1e-9)
        low, below = high, count
    return low


@dataclass(frozen=True, slots=True)
class Seen:
    """What the latest stored state of a user says about the latest decision."""

    drift: float
    renewed: bool
    why: str


def seen_in(before: SessionState | None, after: SessionState) -> Seen:
    """Compare two consecutive states: was the list renewed, and why, or why not?"""
    listed = after.listed
    if listed is not None and (
        before is None or before.listed is None or before.listed.version != listed.version
    ):
        return Seen(listed.drift, True, listed.reason)
    if after.owed.due_ms:
        return Seen(after.moved(), False, "cooldown")
    return Seen(after.moved(), False, "steady")


@dataclass(slots=True)
class StateWatch:
    """Follows the session changelog for a few users, in a thread of its own."""

    settings: Settings
    users: Iterable[str]
    seen: dict[str, Seen] = field(default_factory=dict)
    _states: dict[bytes, SessionState] = field(default_factory=dict)
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to follow."""
        self._thread = threading.Thread(target=self._run, name="states", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop following."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        keys = {user.encode() for user in self.users}
        topic = Topics.of(self.settings).changelog
        consumer: Any = KafkaConsumer(
            **client_options(self.settings),
            group_id=None,
            auto_offset_reset="earliest",
            fetch_min_bytes=FETCH_BYTES,  # a few large fetches: the screen may lag, the worker not
            fetch_max_wait_ms=FETCH_WAIT_MS,
        )
        try:
            consumer.assign([TopicPartition(topic, number) for number in range(self.settings.partitions)])
            while not self._stop.is_set():
                for records in consumer.poll(timeout_ms=POLL_MS, max_records=2000).values():
                    for record in records:
                        if record.key in keys and record.value:
                            self._note(record.key, decode_state(record.value))
        finally:
            consumer.close()

    def _note(self, key: bytes, state: SessionState) -> None:
        self.seen[key.decode()] = seen_in(self._states.get(key), state)
        self._states[key] = state
