"""A batched topic's messages for an agent: one at a time, or all that wait at once.

Each is acknowledged when the next is asked for. Not if its partition has moved meanwhile, or its agent
raised: then it is read again.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any, cast

from streams.app import NearlineApp
from streams.record_batches import WAITING, RecordBatch


class MovedError(Exception):
    """A batch's partition is being given to somebody: what was made of it is dropped, and made again."""


def check_ours(app: NearlineApp, batches: Sequence[RecordBatch]) -> None:
    """Raises MovedError if the partition of one is not ours any more."""
    if not all(app.is_current(batch) for batch in batches):
        raise MovedError


async def one_by_one(app: NearlineApp, stream: Any) -> AsyncIterator[RecordBatch]:
    """The messages in order."""
    async for event in stream.noack().events():
        batch = event.message
        app.in_hand.add(batch)
        try:
            yield batch
        finally:
            app.in_hand.discard(batch)
        _acknowledge(app, [event])


async def gathered(app: NearlineApp, stream: Any) -> AsyncIterator[list[RecordBatch]]:
    """All that wait at once, of several partitions, in the order in which they came.

    When little comes at a time, what is done once for many records is else done for each few: freshness at a
    third of a worker's capacity was seconds (benchmarks/README.md).
    """
    events: list[Any] = []
    async for event in stream.noack().events():
        # Those of before a rebalance come again; with them the new ones would be dropped, and those do not.
        events = [one for one in (*events, event) if app.is_current(one.message)]
        batches = [one.message for one in events]
        if not batches or (len(batches) < WAITING and _has_more(app, event.message.topic)):
            continue
        app.in_hand.update(batches)
        try:
            yield batches
        finally:
            app.in_hand.difference_update(batches)
        _acknowledge(app, events)
        events = []


def _acknowledge(app: NearlineApp, events: Sequence[Any]) -> None:
    for event in events:
        if app.is_current(event.message):
            event.ack()


def _has_more(app: NearlineApp, topic: str) -> bool:
    """Whether another message of the topic is at hand."""
    return any(topic in one.topics and not one.queue.empty() for one in cast(Any, app.topics))
