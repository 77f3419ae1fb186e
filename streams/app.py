"""A Faust application per role, with one addition: nothing is committed before it is delivered.

Faust flushes its producer before it commits offsets, but a send that failed is only logged, and a
message between Faust's buffer and the client's is overlooked. Here every send (changelogs included) is
tracked from the moment it is asked for, and a commit waits for all of them; one that failed stops the
application without committing, so the events are read again.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any, Final, cast

import faust

from streams.errors import BrokerError
from streams.kafka_auth import faust_credentials
from streams.local_state import WholeTable
from streams.membership import Membership, fence, hear
from streams.outbox import BATCH_BYTES, Outbox
from streams.record_batches import MAX_RECORDS, WAITING, BatchTransport, RecordBatch
from streams.recovery import OrderlyTables
from streams.settings import Settings

# Raw bytes in and out: decoding happens inside the agents, since Faust acknowledges and drops what its
# own codecs cannot read.
RAW: Final[dict[str, Any]] = {
    "key_type": bytes,
    "value_type": bytes,
    "key_serializer": "raw",
    "value_serializer": "raw",
}


# Records of a topic that wait in this process: of the largest events, 256 KiB, a quarter of a gigabyte.
STREAM_BUFFER: Final = 1024


class DeliveredTopic(faust.Topic):
    """A topic whose sends are remembered until Kafka has confirmed them."""

    def as_future_message(self, *args: Any, **kwargs: Any) -> Any:
        """Every way of sending makes its message here."""
        message = super().as_future_message(*args, **kwargs)
        cast("NearlineApp", self.app).undelivered.track(message)
        return message

    async def publish_message(self, fut: Any, wait: bool = False) -> Any:
        """A send that the client refuses at once is the sender's to handle, and no longer under way."""
        try:
            return await super().publish_message(fut, wait)
        except Exception:
            cast("NearlineApp", self.app).undelivered.forget(fut)
            raise


class Undelivered:
    """The sends that Kafka has not confirmed yet, and the first that failed."""

    def __init__(self) -> None:
        self._pending: set[asyncio.Future[Any]] = set()
        self._failure: BaseException | None = None

    def __len__(self) -> int:
        return len(self._pending)

    def track(self, message: asyncio.Future[Any]) -> None:
        """Remember a send until it is confirmed or fails."""
        self._pending.add(message)
        message.add_done_callback(self._done)

    def forget(self, message: asyncio.Future[Any]) -> None:
        """A send that never began: its sender was told by an exception."""
        self._pending.discard(message)

    def _done(self, message: asyncio.Future[Any]) -> None:
        self._pending.discard(message)
        if message.cancelled():
            self._failure = self._failure or asyncio.CancelledError()
        elif message.exception() is not None:
            self._failure = self._failure or message.exception()

    async def settle(self) -> None:
        """Wait for every send so far. Raises BrokerError when one of them, ever, failed."""
        if self._pending:
            await asyncio.wait(set(self._pending))
        if self._failure is not None:
            raise BrokerError(
                f"Kafka did not take a record: {self._failure!r}. Nothing was committed after it.",
                action="Restart the worker; it reads on from the last commit.",
            )


class NearlineApp(faust.App):
    """A Faust app that commits only what was delivered, and says when it owns its partitions.

    fetch_pause_s: after a fetch that brought little. A fetch costs about the same for one record as for many;
    one after the other, for what each new record brings, they slow down all that a worker does.
    """

    undelivered: Undelivered
    outbox: Outbox
    batched: set[str]
    in_hand: set[RecordBatch]
    membership: Membership
    on_ready: Callable[[], None] | None = None
    ready = False
    fetch_pause_s = 0.005

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, Topic=DeliveredTopic, Table=WholeTable, TableManager=OrderlyTables, **kwargs)
        self.undelivered = Undelivered()
        self.outbox = Outbox(lambda: cast(Any, self.producer)._ensure_producer(), self.undelivered.track)
        self.batched, self.in_hand = set(), set()
        self.membership = Membership(float(kwargs["broker_session_timeout"]))

    def batched_topic(self, name: str, *, partitions: int) -> Any:
        """A topic whose records come a fetch at a time, as `RecordBatch` messages."""
        self.batched.add(name)
        topic: Any = self.topic(name, partitions=partitions, **RAW)
        topic.maxsize = WAITING  # the argument of that name goes nowhere (0.15.3)
        return topic

    def batched_table(self, name: str, *, partitions: int) -> Any:
        """A table of bytes whose changelog is written by the outbox, compressed, and read in batches."""
        table: Any = self.Table(name, partitions=partitions, key_type=bytes, value_type=bytes)
        self.batched.add(table.changelog_topic_name)
        self.outbox.on_delivered[table.changelog_topic_name] = table.persisted
        self.outbox.compressed.add(table.changelog_topic_name)
        return table

    def is_current(self, batch: RecordBatch) -> bool:
        """Whether the batch's partition is still ours: what is made of it may be written."""
        return self.ready and batch.generation_id == self.consumer_generation_id

    def _new_transport(self) -> Any:
        return BatchTransport(self.conf.broker_consumer, self)

    def _new_producer(self) -> Any:
        producer: Any = super()._new_producer()
        flush, make = producer.flush, producer._new_producer

        async def flush_and_settle() -> None:
            await self.outbox.send()
            await flush()
            try:
                await self.undelivered.settle()
            except BrokerError as error:
                raise (self.membership.error() if self.membership.is_lost else error) from error

        def make_fenced(*args: Any, **kwargs: Any) -> Any:
            client = make(*args, **kwargs)
            fence(client.client, self.membership)
            return client

        producer.flush, producer._new_producer = flush_and_settle, make_fenced
        return producer

    def _new_consumer(self) -> Any:
        consumer: Any = super()._new_consumer()
        thread = consumer._thread
        make = thread._create_consumer

        def make_heard(*args: Any, **kwargs: Any) -> Any:
            client = make(*args, **kwargs)
            hear(client._client, self.membership)
            return client

        thread._create_consumer = make_heard
        return consumer

    def on_rebalance_start(self) -> None:
        """Partitions are moving: not ready, and what is in hand may be another's by now."""
        self.ready = False
        self.membership.rebalance(time.monotonic())
        super().on_rebalance_start()

    def on_rebalance_end(self) -> None:
        """Partitions are ours and tables recovered: ready."""
        super().on_rebalance_end()
        self.ready = True
        if self.on_ready is not None:
            self.on_ready()


async def confirmed(topic: Any, key: bytes, value: bytes, partition: int) -> None:
    """Send, and wait until Kafka has it. Raises what Kafka says."""
    sent = await topic.send(key=key, value=value, partition=partition)
    await sent


def create_app(name: str, settings: Settings) -> NearlineApp:
    """An application (consumer group) called `name`; topics, tables and agents are the caller's.

    Nothing is created at import, so each test has its own.
    """
    data_dir = settings.data_dir / name
    data_dir.parent.mkdir(parents=True, exist_ok=True)
    return NearlineApp(
        f"{settings.topic_prefix}{name}",
        broker=settings.kafka_url.replace(",", ";kafka://"),
        broker_credentials=faust_credentials(settings),
        broker_client_id=settings.worker_name,
        broker_session_timeout=settings.session_timeout_s,
        broker_heartbeat_interval=max(1, settings.session_timeout_s // 5),
        broker_commit_interval=settings.commit_interval_s,
        broker_max_poll_records=MAX_RECORDS,
        consumer_auto_offset_reset="earliest",
        producer_linger=0.01,
        producer_max_batch_size=BATCH_BYTES,
        producer_max_request_size=4 * 1024 * 1024,  # a dead letter is its record and more headers
        store=f"{settings.state_store}://",
        datadir=data_dir,
        topic_partitions=settings.partitions,
        topic_replication_factor=settings.replication,
        topic_disable_leader=True,
        table_standby_replicas=0,
        stream_wait_empty=False,
        stream_buffer_maxsize=STREAM_BUFFER,
        web_enabled=False,
    )
