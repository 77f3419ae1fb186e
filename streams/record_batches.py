"""The records of one partition that came in one fetch, delivered to an agent as one message.

Faust's consumer starts four asyncio tasks for every record, and its streams, channels and acknowledgements
go once through Python for each (measured: benchmarks/README.md, "ingest"). Here a topic that was declared
with `batched` brings its records a fetch at a time; all the rest is Faust's. Faust acknowledges by offset,
and commits up to the first that is missing, so one message can stand for a run of offsets: it acknowledges
all of them, holes of compaction included.

Nothing in this file knows of AIGQ; it could be offered to faust-streaming as a transport.
"""

from __future__ import annotations

import asyncio
import types
from collections.abc import Coroutine, Generator, Mapping, Sequence
from functools import partial
from typing import Any, Final, cast

from aiokafka.errors import ConsumerStoppedError
from faust.transport.drivers import aiokafka
from faust.types import TP, ConsumerMessage
from faust.types.tuples import ack_lock

MAX_RECORDS: Final = 500  # of one message: the loop serves others in between
WAITING: Final = 4  # messages that wait for their agent: of a fetch of 1 MB each, 4 MB
FEW: Final = MAX_RECORDS // 2  # of a fetch: a moment later one brings more
POLL_S: Final = 1.0


class RecordBatch(ConsumerMessage):
    """Consecutive records of one partition: aiokafka's, `records` in order. `offset` is the last one's."""

    __slots__ = ("first", "records")

    def __init__(self, tp: TP, records: Sequence[Any], generation_id: int) -> None:
        last = records[-1]
        super().__init__(
            tp.topic,
            tp.partition,
            last.offset,
            last.timestamp / 1000,
            last.timestamp_type,
            None,
            None,
            b"",
            None,
            tp=tp,
            generation_id=generation_id,
        )
        self.first: int = records[0].offset
        self.records = records


class BatchConsumer(aiokafka.Consumer):
    """Faust's consumer on aiokafka; of the app's `batched` topics each fetch becomes one message.

    _begun: the first offset read of a partition since it is ours.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._begun: dict[TP, int] = {}
        super().__init__(*args, **kwargs)

    def ack(self, message: Any) -> bool:
        """A batch acknowledges every offset from its first to its last."""
        if not isinstance(message, RecordBatch):
            return bool(super().ack(message))
        with ack_lock:
            if message.acked:
                return False
            message.acked = True
            self._unacked_messages.discard(message)
            if self.app.topics.acks_enabled_for(message.topic):
                self._ack_range(message.tp, message.first, message.offset)
            if self._waiting_for_ack is not None and not self._waiting_for_ack.done():
                self._waiting_for_ack.set_result(None)
        return True

    def on_buffer_full(self, tp: TP) -> None:
        """Never leave out a partition of a batched topic: a full queue holds up the fetcher as it is.

        Faust leaves out those whose message finds the queue nearly full until it is nearly empty, which the
        one that is left keeps from happening: with four partitions three stood still for seconds (0.15.3).
        """
        if tp.topic not in cast(Any, self.app).batched:
            super().on_buffer_full(tp)

    def _ack_range(self, tp: TP, first: int, last: int) -> None:
        begin = max(first, self._committed_offset[tp] or 0)
        known = self._acked_index[tp]
        fresh = [offset for offset in range(begin, last + 1) if offset not in known]
        known.update(fresh)
        self._acked[tp].extend(fresh)
        self._n_acked += len(fresh)

    async def _drain_messages(self, fetcher: Any) -> None:
        """Faust's loop over fetches, without its tasks for each record."""
        stopped, fetcher_stopped = cast(Any, self)._stopped.is_set, fetcher._stopped.is_set
        try:
            while not (stopped() or fetcher_stopped()):
                await self.sleep(0)
                if not self.should_stop:
                    await self._drain_fetch()
        except (ConsumerStoppedError, asyncio.CancelledError):
            if not self.transport.app.should_stop:
                raise

    async def _drain_fetch(self) -> None:
        fetched, active = await self._wait_next_records(POLL_S)
        if fetched is None or self.should_stop:
            return
        generation = self.app.consumer_generation_id
        if not self.flow_active:  # what was fetched is dropped; it is read again from the last commit
            await self._seek_back(fetched)
            return
        for tp, records in fetched.items():
            if not self.flow_active or self.app.consumer_generation_id != generation:
                return
            if active is None or tp in active or tp in self._buffered_partitions:
                self.app.monitor.track_tp_end_offset(tp, self.highwater(tp))
                await self._deliver_records(tp, records)
        if sum(map(len, fetched.values())) < FEW:
            await asyncio.sleep(cast(Any, self.app).fetch_pause_s)

    async def _seek_back(self, dropped: Mapping[TP, Sequence[Any]]) -> None:
        """To the committed offsets; where nothing was committed yet, to the first record that was read."""
        try:
            await self.perform_seek()
            for tp, records in dropped.items():
                if self._committed_offset[tp] is None:
                    await self.seek(tp, self._begun.get(tp, records[0].offset))
        except Exception as error:  # partitions move meanwhile: the rebalance seeks again
            self.log.warning("seek to the committed offsets failed: %r", error)

    async def _deliver_records(self, tp: TP, records: Sequence[Any]) -> None:
        read = self._read_offset[tp]
        if read is not None and records[0].offset < read:
            records = [record for record in records if record.offset >= read]
        if tp.topic not in cast(Any, self.app).batched:
            for record in records:
                await self._deliver(tp, self._to_message(tp, record), record.offset)
        elif records:
            batch = RecordBatch(tp, records, self.app.consumer_generation_id)
            await self._deliver(tp, batch, batch.first)

    async def _deliver(self, tp: TP, message: Any, first: int) -> None:
        self._note_holes(tp, first)
        delivery = cast(Coroutine[Any, Any, None], self.callback(message))
        if self.suspend_flow.is_set():
            await self.wait_first(delivery, self.suspend_flow.wait())
        else:
            try:
                waits_for = delivery.send(None)
            except StopIteration:
                pass  # most deliveries wait for nothing
            else:
                await self.wait_first(_rest(delivery, waits_for), self.suspend_flow.wait())
        self._read_offset[tp] = message.offset

    def _note_holes(self, tp: TP, first: int) -> None:
        """Offsets that Kafka skipped (compacted away, or a transaction's mark) count as acknowledged."""
        self._begun.setdefault(tp, first)
        read, committed = self._read_offset[tp], self._committed_offset[tp]
        if read is None or not self.app.topics.acks_enabled_for(tp.topic):
            return
        begin = read if read == committed else read + 1  # after a seek nothing is read yet
        if first > begin:
            self._gap[tp].addi(begin, first)
            self._gap[tp].merge_overlaps()

    def _new_offset(self, tp: TP) -> int | None:
        """Up to where to commit: never past an offset that is neither acknowledged nor a hole.

        Faust lets a single one pass, and before a partition's first commit any number (0.15.3).
        """
        acked = self._acked[tp]
        if acked:
            holes = self._gap[tp].overlap(0, max(acked))
            begin = min((min(acked), *(hole.begin for hole in holes)))
            if begin > (self._committed_offset[tp] or self._begun.get(tp, 0)):
                return None
        offset: int | None = super()._new_offset(tp)
        return offset

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """What was begun is another's."""
        for tp in revoked:
            self._begun.pop(tp, None)
        await super().on_partitions_revoked(revoked)


async def _rest(begun: Coroutine[Any, Any, None], waits_for: Any) -> None:
    await _resumed(begun, waits_for)


@types.coroutine
def _resumed(begun: Coroutine[Any, Any, None], waits_for: Any) -> Generator[Any, Any, None]:
    """Go on with a coroutine that has been started by hand and waits for something."""
    while True:
        try:
            answer = yield waits_for
        except BaseException as error:
            go_on = partial(begun.throw, error)
        else:
            go_on = partial(begun.send, answer)
        try:
            waits_for = go_on()
        except StopIteration:
            return


class BatchTransport(aiokafka.Transport):
    """Faust's transport on aiokafka with that consumer."""

    Consumer = BatchConsumer
