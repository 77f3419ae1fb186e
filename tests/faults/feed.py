"""Sends a known stream at a given pace while things break, and knows how much of it Kafka has taken."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import Any

from kafka import KafkaProducer

from streams.kafka_auth import client_options
from tests.faults.known_stream import Known
from tests.shop import Shop

TAKEN_WITHIN_MS = 240_000


class Feed:
    """A producer in a thread of its own; `rate` in events per second, None: as fast as Kafka takes them."""

    def __init__(self, shop: Shop, records: Sequence[Known], rate: float | None = None) -> None:
        self._shop, self._records, self._rate = shop, records, rate
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._error: BaseException | None = None
        self.sent = self.taken = 0

    def start(self) -> Feed:
        self._thread.start()
        return self

    @property
    def share(self) -> float:
        """How much of the stream is on its way."""
        return self.sent / len(self._records)

    @property
    def is_done(self) -> bool:
        return not self._thread.is_alive()

    def finish(self, within_s: float = 300.0) -> int:
        """Wait until all is sent; returns how many records Kafka has acknowledged. Raises what failed."""
        self._thread.join(within_s)
        assert self.is_done, f"the feed sent {self.sent} of {len(self._records)} in {within_s:.0f} s"
        if self._error is not None:
            raise self._error
        return self.taken

    def _run(self) -> None:
        producer: Any = KafkaProducer(
            **client_options(self._shop.settings),
            acks="all",
            linger_ms=5,
            delivery_timeout_ms=TAKEN_WITHIN_MS,
            max_request_size=2 * 1024 * 1024,
        )
        try:
            futures = []
            for record in self._records:
                self._wait_for_turn()
                futures.append(self._send(producer, record))
                self.sent += 1
            producer.flush()
            for future in futures:
                future.get(timeout=TAKEN_WITHIN_MS / 1000)
                self.taken += 1
        except BaseException as error:  # told by `finish`, in the test's own thread
            self._error = error
        finally:
            producer.close()

    def _send(self, producer: Any, record: Known) -> Any:
        topic = self._shop.topics.events
        return producer.send(topic, key=record.key, value=record.value, headers=record.headers)

    def _wait_for_turn(self) -> None:
        if self._rate is None:
            return
        if not self.sent:
            self._began_s = time.monotonic()
        wait_s = self._began_s + self.sent / self._rate - time.monotonic()
        if wait_s > 0:
            time.sleep(wait_s)
