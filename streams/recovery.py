"""A table's recovery in which no event is read before the stream stands at its committed offset.

Faust ends a recovery while the flow of messages is on: it lets the fetcher read the streams, then seeks them
to what is committed, then empties the agents' buffers. What was read in between is thrown away, and so lost:
Faust takes the missing offsets for holes of compaction and commits past them, or, where they are many, never
commits again (faust-streaming 0.15.3). Here the flow is off until the seek is done.

And a partition without a committed offset is sought to its beginning: Faust leaves it where it happens to
stand, past what was read and thrown away, and such a partition is not read any more.
"""

from __future__ import annotations

from typing import Any, cast

from aiokafka.structs import TopicPartition
from faust.tables.manager import TableManager
from faust.tables.recovery import Recovery


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

    async def _seek_uncommitted(self, consumer: Any) -> None:
        thread = consumer._thread
        committed = thread._ensure_consumer().committed
        streams = [tp for tp in consumer.assignment() if not self._is_changelog_tp(tp)]
        places = {tp: TopicPartition(tp.topic, tp.partition) for tp in streams}
        new = [tp for tp, place in places.items() if not await thread.call_thread(committed, place)]
        if new:
            for tp, beginning in (await consumer.earliest_offsets(*new)).items():
                await consumer.seek(tp, beginning)


class OrderlyTables(TableManager):
    """Faust's tables, recovered in that order."""

    @property
    def recovery(self) -> Recovery:
        """The recovery service, made when first asked for."""
        if self._recovery is None:
            self._recovery = OrderlyRecovery(self.app, self, beacon=self.beacon, loop=self.loop)
        return self._recovery
