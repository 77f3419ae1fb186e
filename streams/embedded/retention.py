"""Retention: old or excessive records go, by whole segments, as Kafka's `retention.ms` and
`retention.bytes` say.
"""

from __future__ import annotations

import logging
from itertools import zip_longest

from streams.embedded.log import PartitionLog
from streams.embedded.topics import Topic, Topics, now_ms

logger = logging.getLogger(__name__)


def apply_retention(topics: Topics) -> None:
    """Look at every partition of topics whose cleanup.policy includes "delete", and at silent producers."""
    now = now_ms()
    for topic in topics:
        for log in topic.partitions:
            log.producers.expire(now)
            if "delete" in topic.config("cleanup.policy"):
                _trim(topic, log, now)


def _trim(topic: Topic, log: PartitionLog, now: int) -> None:
    start_offset = retained_from(
        log,
        oldest_ms=_oldest_ms(int(topic.config("retention.ms")), now),
        max_bytes=int(topic.config("retention.bytes")),
    )
    if start_offset > log.start_offset:
        logger.info("retention: %s starts at %d now", log.folder.name, start_offset)
        log.advance_start(start_offset)


def _oldest_ms(retention_ms: int, now: int) -> int | None:
    return None if retention_ms < 0 else now - retention_ms


def retained_from(log: PartitionLog, *, oldest_ms: int | None, max_bytes: int) -> int:
    """The first offset to keep.

    By time a segment goes when its newest record is older than `oldest_ms`, the active one too; by size (when
    `max_bytes` is not negative) only as far as the rest still holds `max_bytes`. Open transactions are kept.
    """
    start_offset, left_bytes = log.start_offset, log.size_bytes
    last_stable_offset = log.last_stable_offset
    for segment, following in zip_longest(log.segments, log.segments[1:]):
        is_old = oldest_ms is not None and segment.max_timestamp_ms < oldest_ms
        is_excess = 0 <= max_bytes <= left_bytes - segment.size_bytes and segment is not log.active
        if not segment.size_bytes or segment.end_offset > last_stable_offset or not (is_old or is_excess):
            break
        start_offset = following.base_offset if following is not None else segment.end_offset
        left_bytes -= segment.size_bytes
    return start_offset
