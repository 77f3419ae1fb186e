"""A table's recovery in which no event is read before the stream stands at its committed offset.

Faust ends a recovery while the flow of messages is on: it lets the fetcher read the streams, then seeks them
to what is committed, then empties the agents' buffers. What was read in between is thrown away, and so lost:
Faust takes the missing offsets for holes of compaction and commits past them, or, where they are many, never
commits again (faust-streaming 0.15.3). Here the flow is off until the seek is done.
"""

from __future__ import annotations

from typing import Any, cast

from faust.tables.manager import TableManager
from faust.tables.recovery import Recovery


class OrderlyRecovery(Recovery):
    """Stops the flow before the streams are let go; Faust's own last step lets it on again."""

    async def on_recovery_completed(self, generation_id: int = 0) -> None:
        """The tables are whole: seek the streams, then read them."""
        app = cast(Any, self.app)
        app.consumer.stop_flow()
        app.flow_control.suspend()
        await super().on_recovery_completed(generation_id)


class OrderlyTables(TableManager):
    """Faust's tables, recovered in that order."""

    @property
    def recovery(self) -> Recovery:
        """The recovery service, made when first asked for."""
        if self._recovery is None:
            self._recovery = OrderlyRecovery(self.app, self, beacon=self.beacon, loop=self.loop)
        return self._recovery
