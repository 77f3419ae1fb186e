"""Records on their way to Kafka: a batch for each partition, in the order in which they were put.

A stateful Faust agent sends a record for every write, each through a buffer, a future and a task of its own.
Here they are laid into Kafka's batch format at once and handed to the client a batch at a time; a commit
waits for them like for every other send (`NearlineApp`).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from aiokafka.producer.message_accumulator import BatchBuilder
from aiokafka.record.default_records import DefaultRecordBatch

BATCH_BYTES: Final = 131_072
Header = tuple[str, bytes]
NO_HEADERS: Final[Sequence[Header]] = ()


@dataclass(slots=True)
class Parcel:
    """Records of one partition. delivered: the offset of its last one, once Kafka has it."""

    topic: str
    partition: int
    builder: Any
    delivered: asyncio.Future[int]
    told: Callable[[int, int], None] | None

    def take(self, key: bytes, value: bytes | None, headers: Sequence[Header], now_ms: int) -> bool:
        """Add a record; False: it is full."""
        added = self.builder.append(timestamp=now_ms, key=key, value=value, headers=list(headers))
        return added is not None

    def settle(self, sent: asyncio.Future[Any]) -> None:
        """The client's answer."""
        if sent.cancelled() or sent.exception() is not None:
            self.fail(asyncio.CancelledError() if sent.cancelled() else sent.exception())
        elif not self.delivered.done():
            last = sent.result().offset + self.builder.record_count() - 1
            self.delivered.set_result(last)
            if self.told is not None:
                self.told(self.partition, last)

    def fail(self, error: BaseException | None) -> None:
        """It will not be delivered."""
        if self.delivered.done():
            return
        if isinstance(error, Exception):
            self.delivered.set_exception(error)
        else:
            self.delivered.cancel()


def compressed_batch() -> Any:
    """An empty batch that leaves compressed with zstd; a client of its own would compress all or nothing."""
    return BatchBuilder(BATCH_BYTES, DefaultRecordBatch.CODEC_ZSTD)


@dataclass(slots=True)
class Outbox:
    """client: the started aiokafka producer. track: told of every future that a commit must wait for.

    on_delivered: topic → told of partition and offset of the last record that Kafka has. compressed: topics
    whose batches are.
    """

    client: Callable[[], Any]
    track: Callable[[asyncio.Future[Any]], None]
    on_delivered: dict[str, Callable[[int, int], None]] = field(default_factory=dict)
    compressed: set[str] = field(default_factory=set)
    _parcels: list[Parcel] = field(default_factory=list)
    _open: dict[tuple[str, int], Parcel] = field(default_factory=dict)
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    def put(
        self,
        topic: str,
        partition: int,
        key: bytes,
        value: bytes | None,
        headers: Sequence[Header] = NO_HEADERS,
    ) -> None:
        """Add a record; it leaves with the next `send`."""
        now_ms = time.time_ns() // 1_000_000
        parcel = self._open.get((topic, partition))
        if parcel is None or not parcel.take(key, value, headers, now_ms):
            parcel = self._new_parcel(topic, partition)
            parcel.take(key, value, headers, now_ms)

    async def send(self) -> None:
        """Hand all records to the client; returns when it has taken them, not yet Kafka.

        Waits while an earlier batch of the same partition has not left: so a slow Kafka slows its writers.
        A failure is what `track` was given: nothing is committed after it.
        """
        async with self._turn:
            parcels, self._parcels = self._parcels, []
            self._open.clear()
            for place, parcel in enumerate(parcels):
                try:
                    await self._hand_over(parcel)
                except BaseException as error:
                    for lost in parcels[place:]:
                        lost.fail(error)
                    if not isinstance(error, Exception):
                        raise
                    return

    async def deliver(self) -> bool:
        """Send, and wait until Kafka has all that was put before; whether it has."""
        waiting = [parcel.delivered for parcel in self._parcels]
        await self.send()
        if waiting:
            await asyncio.wait(waiting)
        return all(not one.cancelled() and one.exception() is None for one in waiting)

    def _new_parcel(self, topic: str, partition: int) -> Parcel:
        delivered = asyncio.get_running_loop().create_future()
        parcel = Parcel(topic, partition, self._builder(topic), delivered, self.on_delivered.get(topic))
        self.track(parcel.delivered)
        self._parcels.append(parcel)
        self._open[topic, partition] = parcel
        return parcel

    def _builder(self, topic: str) -> Any:
        return compressed_batch() if topic in self.compressed else self.client().create_batch()

    async def _hand_over(self, parcel: Parcel) -> None:
        parcel.builder.close()
        sent = await self.client().send_batch(parcel.builder, parcel.topic, partition=parcel.partition)
        sent.add_done_callback(parcel.settle)
