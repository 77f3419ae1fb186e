"""A table's recovery in which no event is read before the stream stands at its committed offset.

Faust ends a recovery while the flow of messages is on: it lets the fetcher read the streams, then seeks them
to what is committed, then empties the agents' buffers. What was read in between is thrown away, and so lost:
Faust takes the missing offsets for holes of compaction and commits past them, or, where they are many, never
commits again (faust-streaming 0.15.3). Here the flow is off until the seek is done.

And a partition without a committed offset is sought to its beginning: Faust leaves it where it happens to
stand, past what was read and thrown away, and such a partition is not read any more.

The changelog comes a batch at a time (`streams.record_batches`) and goes into the store as it comes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

from aiokafka.structs import TopicPartition
from faust.tables.manager import TableManager
from faust.tables.recovery import Recovery
from faust.types import TP
from mode import Service

from streams.record_batches import RecordBatch

LOOK_EVERY_S: Final = 5.0


@dataclass(slots=True)
class Change:
    """A changelog record as Faust's stores take it: an event that is its own message."""

    tp: TP
    partition: int
    offset: int
    key: bytes
    value: bytes | None

    @property
    def message(self) -> Change:
        """What a store asks for place and bytes."""
        return self


class OrderlyRecovery(Recovery):
    """Stops the flow before the streams are let go; Faust's own last step lets it on again."""

    async def on_recovery_completed(self, generation_id: int = 0) -> None:
        """The tables are whole: seek the streams, then read them."""
        app = cast(Any, self.app)
        app.consumer.stop_flow()
        app.flow_control.suspend()
        if app.consumer_generation_id == generation_id:
            await self._seek_uncommitted(app.consumer)
        await super().on_recovery_completed(generation_id)

    @Service.task
    async def _slurp_changelogs(self) -> None:
        """Put the changelog's batches into the tables' stores until they are whole."""
        queue: Any = self.tables.changelog_queue
        while not self.should_stop:
            self.signal_recovery_end.clear()
            try:
                event = await asyncio.wait_for(queue.get(), LOOK_EVERY_S)
            except TimeoutError:
                pass
            else:
                self._take(event)
            if self.in_recovery and not self.need_recovery():
                self._set_recovery_ended()
                self.signal_recovery_end.set()

    def _take(self, event: Any) -> None:
        """What is read after the recovery, or of another's partition, is not for the store."""
        message, tp = event.message, event.message.tp
        if not self.in_recovery or tp not in self.active_tps:
            return
        # Of a table that was not declared as batched they come one at a time.
        known = self.active_offsets.get(tp)
        seen = -1 if known is None else known
        single: list[Any] = [event] if message.offset > seen else []
        changes = _changes(tp, message.records, seen) if isinstance(message, RecordBatch) else single
        if changes:
            cast(Any, self.tp_to_table[tp]).apply_changelog_batch(changes)
            self.active_offsets[tp] = message.offset

    async def _seek_uncommitted(self, consumer: Any) -> None:
        thread = consumer._thread
        committed = thread._ensure_consumer().committed
        streams = [tp for tp in consumer.assignment() if not self._is_changelog_tp(tp)]
        places = {tp: TopicPartition(tp.topic, tp.partition) for tp in streams}
        new = [tp for tp, place in places.items() if not await thread.call_thread(committed, place)]
        if new:
            for tp, beginning in (await consumer.earliest_offsets(*new)).items():
                await consumer.seek(tp, beginning)


def _changes(tp: TP, records: Sequence[Any], seen: int) -> list[Change]:
    return [Change(tp, tp.partition, r.offset, r.key, r.value) for r in records if r.offset > seen]


class OrderlyTables(TableManager):
    """Faust's tables, recovered in that order."""

    @property
    def recovery(self) -> Recovery:
        """The recovery service, made when first asked for."""
        if self._recovery is None:
            self._recovery = OrderlyRecovery(self.app, self, beacon=self.beacon, loop=self.loop)
        return self._recovery
