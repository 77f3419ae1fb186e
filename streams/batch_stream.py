"""A batched topic's messages for an agent: all that wait, at once.

They are acknowledged when the next are asked for. Not if partitions have moved meanwhile, or the agent
raised: then they are read again.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any

from streams.app import NearlineApp
from streams.record_batches import MAX_RECORDS, RecordBatch

Batches = Sequence[RecordBatch]


class MovedError(Exception):
    """A batch's partition is being given to somebody: what was made of it is dropped, and made again."""


def check_ours(app: NearlineApp, batches: Batches) -> None:
    """Raises MovedError if the partition of one is not ours any more."""
    if not all(app.is_current(batch) for batch in batches):
        raise MovedError


async def gathered(app: NearlineApp, stream: Any) -> AsyncIterator[Batches]:
    """What waits of all partitions at once, in the order in which it came, up to about MAX_RECORDS records.

    Under a steady load each partition's batches are small, and one trip to Kafka serves them all.
    """
    events: list[Any] = []
    stream = stream.noack()
    async for event in stream.events():
        # Those of before a rebalance come again; with them the new ones would be dropped, and those do not.
        events = [one for one in (*events, event) if app.is_current(one.message)]
        batches = [one.message for one in events]
        few = sum(len(batch.records) for batch in batches) < MAX_RECORDS
        if not batches or (few and not stream.channel.queue.empty()):
            continue
        app.in_hand.update(batches)
        try:
            yield batches
        finally:
            app.in_hand.difference_update(batches)
        for one in events:
            if app.is_current(one.message):
                one.ack()
        events = []
