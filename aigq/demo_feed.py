"""The demo's shop: real purchases (and simulated searches) sent to Kafka at a steady rate.

A few records are broken and a few are sent twice on purpose, so that the ledger has something to show.
"""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import orjson
from kafka import KafkaProducer

from streams.kafka_auth import client_options
from streams.settings import Settings
from streams.topics import Topics

BROKEN_SHARE: Final = 0.001
TWICE_SHARE: Final = 0.005
TICK_S: Final = 0.04
WINDOW: Final = 120
BROKEN: Final = (
    b'{"action_name": "purchase", "timestamp": "yesterday", "user_id": "hh-1"}',
    b"<html>502 Bad Gateway</html>",
    b'{"action_name": "view", "timestamp": 1512129600000}',
)


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One record to send; `event` is None for a broken one."""

    key: bytes
    value: bytes
    event: dict[str, Any] | None


def outgoing(events: list[dict[str, Any]], *, seed: int) -> Iterator[Outgoing]:
    """The events in order, some twice, with broken records between them."""
    chance = random.Random(seed)  # noqa: S311 - a demonstration, no secret
    for event in events:
        record = Outgoing(event["user_id"].encode(), orjson.dumps(event), event)
        yield record
        if chance.random() < TWICE_SHARE:
            yield record
        if chance.random() < BROKEN_SHARE:
            yield Outgoing(b"hh-1", chance.choice(BROKEN), None)


def liveliest(events: list[dict[str, Any]], count: int) -> list[str]:
    """The users with the most visits in the log: something happens to them all the time."""
    visits = Counter(user for user, _ in {(event["user_id"], event["session_id"]) for event in events})
    ranked = sorted(visits, key=lambda user: (-visits[user], user))
    return ranked[:count]


@dataclass(slots=True)
class Feed:
    """Sends in a thread of its own; `sent` counts what Kafka has confirmed.

    rate: records per second, at most. It never runs more than WINDOW records ahead of `worked_off`, which
    the demo keeps up to date: on a busy machine the shop slows down and the hints stay fresh.
    """

    settings: Settings
    records: list[Outgoing]
    rate: float  # records per second
    sent: int = 0
    worked_off: int = 0
    failed: BaseException | None = None
    last: dict[str, list[dict[str, Any]]] = field(default_factory=dict)  # the latest events per user
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to send."""
        self._thread = threading.Thread(target=self._run, name="feed", daemon=True)
        self._thread.start()

    @property
    def done(self) -> bool:
        """Whether everything was sent and confirmed, or sending failed."""
        return self._thread is not None and not self._thread.is_alive()

    def stop(self) -> None:
        """Stop sending and wait for what is under way."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        try:
            producer = KafkaProducer(**client_options(self.settings), acks="all", linger_ms=5)
            try:
                self._send_all(producer)
                producer.flush()
            finally:
                producer.close()
        except Exception as error:
            self.failed = error

    def _send_all(self, producer: Any) -> None:
        topic, started_s, place = Topics.of(self.settings).events, time.monotonic(), 0
        while place < len(self.records) and not self._stop.is_set():
            on_time = int((time.monotonic() - started_s) * self.rate) + 1
            goal = max(place, min(len(self.records), on_time, self.worked_off + WINDOW))
            for record in self.records[place:goal]:
                producer.send(topic, key=record.key, value=record.value).add_callback(self._confirmed)
                self._remember(record)
            place = goal
            self._stop.wait(TICK_S)

    def _confirmed(self, _metadata: Any) -> None:
        self.sent += 1

    def _remember(self, record: Outgoing) -> None:
        if record.event is not None:
            events = self.last.setdefault(record.event["user_id"], [])
            events.insert(0, record.event)
            del events[4:]
