"""Compaction: of each key the newest record stays.

Sealed segments are rewritten oldest first, in a thread of their own; the loop only puts the finished files
in place. Offsets never change, so readers just find gaps. Two departures from Kafka, both out of sight of
clients:

- Below the last stable offset every transaction is decided. So the rewritten part holds no trace of them:
  records of aborted ones are gone, those of committed ones are plain records, markers are dropped. Kafka
  carries markers along.
- A tombstone goes when its segment was last written `delete.retention.ms` ago. Kafka writes a horizon into
  the batch.

The very last batch before the active segment keeps its last record, so that a reader who follows the log to
its end always meets a record there.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import blake2b

from streams.embedded.batches import (
    COMPRESSION_MASK,
    LENGTH_OVERHEAD_BYTES,
    TRANSACTIONAL,
    BatchHeader,
    rebuilt,
)
from streams.embedded.log import PartitionLog
from streams.embedded.producers import AbortedTransaction
from streams.embedded.records import Record, UnreadableBatchError, repack, unpack, walk
from streams.embedded.segment import CLEANED_SUFFIX, Segment, headers
from streams.embedded.topics import Topic, Topics

logger = logging.getLogger(__name__)

MIN_DIRTY_BYTES = 1 << 20  # a smaller gain is not worth a rewrite
MAX_KEYS = 1_000_000  # of one run, about 150 MB; what does not fit waits for the next run

Digests = dict[bytes, int]
"""Digest of a key -> offset of its newest record."""


@dataclass(frozen=True, slots=True)
class CleaningJob:
    """What a run works on: segments that nobody writes to any more, and what is known of them."""

    segments: tuple[Segment, ...]
    dirty_from: int
    aborted: tuple[AbortedTransaction, ...]
    tombstones_written_before_s: float
    max_segment_bytes: int


class Cleaner:
    """Compacts the topics whose cleanup.policy includes "compact"."""

    def __init__(self, topics: Topics, *, min_dirty_bytes: int = MIN_DIRTY_BYTES) -> None:
        self._topics = topics
        self._min_dirty_bytes = min_dirty_bytes

    async def run(self) -> int:
        """Compact every partition that is dirty enough; how many were."""
        cleaned = 0
        for topic in self._topics:
            if "compact" in topic.config("cleanup.policy"):
                for log in topic.partitions:
                    if not log.closed and (self._is_due(topic, log) or _is_overdue(topic, log, time.time())):
                        cleaned += await clean(log, job_for(topic, log, time.time()))
        return cleaned

    def _is_due(self, topic: Topic, log: PartitionLog) -> bool:
        dirty_bytes = sum(
            segment.size_bytes for segment in log.segments if segment.end_offset > log.cleaned_until
        )
        is_worth_it = dirty_bytes >= self._min_dirty_bytes
        return (
            is_worth_it and dirty_bytes >= float(topic.config("min.cleanable.dirty.ratio")) * log.size_bytes
        )


def _is_overdue(topic: Topic, log: PartitionLog, now_s: float) -> bool:
    """Whether something has waited for longer than `max.compaction.lag.ms`, however little it is."""
    longest_s = int(topic.config("max.compaction.lag.ms")) / 1000
    dirty = (segment for segment in log.segments if segment.end_offset > log.cleaned_until)
    oldest = next((segment for segment in dirty if segment.size_bytes), None)
    return oldest is not None and now_s - _first_written_s(oldest, now_s) > longest_s


def _first_written_s(segment: Segment, now_s: float) -> float:
    with segment.mapped() as content:
        first = next(headers(content), None)
    return now_s if first is None else first[1].max_timestamp_ms / 1000


def job_for(topic: Topic, log: PartitionLog, now_s: float) -> CleaningJob:
    """Seal what is there and take everything that is decided."""
    log.roll()
    last_stable_offset = log.last_stable_offset
    segments = [segment for segment in log.segments[:-1] if segment.end_offset <= last_stable_offset]
    return CleaningJob(
        segments=tuple(segments),
        dirty_from=log.cleaned_until,
        aborted=tuple(log.producers.aborted_between(0, last_stable_offset)),
        tombstones_written_before_s=now_s - int(topic.config("delete.retention.ms")) / 1000,
        max_segment_bytes=topic.rules.segment_bytes,
    )


async def clean(log: PartitionLog, job: CleaningJob) -> bool:
    """Carry a job out; False when there was nothing to do or the log has changed under it."""
    try:
        newest, segments = await asyncio.to_thread(newest_offsets, job)
        if not newest:
            return False
        log.save_state()  # sequence numbers outlive the batches that carried them
        last_offset = segments[-1].end_offset - 1
        while segments:
            group, cleaned = await asyncio.to_thread(rewrite, segments, job, newest, last_offset)
            if log.closed or any(segment not in log.segments for segment in group):
                cleaned.delete()
                return False
            log.replace_segments(group, cleaned)
            del segments[: len(group)]
    except FileNotFoundError:
        return False  # the topic was deleted, or its oldest records were: the next run sees what is left
    log.cleaned_until = last_offset + 1
    log.producers.forget_aborted_before(log.cleaned_until)
    log.save_state()
    logger.info("compacted %s to %d bytes", log.folder.name, log.size_bytes)
    return True


def newest_offsets(job: CleaningJob) -> tuple[Digests, list[Segment]]:
    """The newest offset of each key in the dirty segments, and the segments up to where the map holds."""
    newest: Digests = {}
    known: list[Segment] = []
    for segment in job.segments:
        if len(newest) >= MAX_KEYS:
            break
        known.append(segment)
        if segment.end_offset > job.dirty_from:
            _note_keys(segment, job, newest)
    return newest, known


def _note_keys(segment: Segment, job: CleaningJob, newest: Digests) -> None:
    with segment.mapped() as content:
        for at, header in headers(content):
            if header.is_control or _is_aborted(header, job.aborted):
                continue
            for record in _records(content[at : at + header.size_bytes], header)[0]:
                if record.key is not None:
                    newest[_digest(record.key)] = header.base_offset + record.offset_delta


def _digest(key: bytes) -> bytes:
    """Short keys as they are, long ones as 16 bytes, so that memory does not depend on their length."""
    return key if len(key) < 16 else blake2b(key, digest_size=16).digest()


def _is_aborted(header: BatchHeader, aborted: Iterable[AbortedTransaction]) -> bool:
    return header.is_transactional and any(
        transaction.producer_id == header.producer_id
        and transaction.first_offset <= header.base_offset < transaction.marker_offset
        for transaction in aborted
    )


def _records(batch: bytes, header: BatchHeader) -> tuple[list[Record], bytes]:
    """Records of a batch and the bytes they lie in; none when the batch cannot be read."""
    try:
        unpacked = unpack(batch, header)
        return list(walk(unpacked, header)), unpacked
    except UnreadableBatchError:
        return [], b""


def rewrite(
    segments: list[Segment], job: CleaningJob, newest: Digests, last_offset: int
) -> tuple[list[Segment], Segment]:
    """A new segment, not yet in place, with what stays of the first of `segments`; and which these are.

    Neighbours are merged as long as they are sure to fit, so that small files do not pile up.
    """
    cleaned = Segment(segments[0].path.parent, segments[0].base_offset, CLEANED_SUFFIX)
    cleaned.path.write_bytes(b"")
    group: list[Segment] = []
    try:
        for segment in segments:
            if group and cleaned.size_bytes + segment.size_bytes > job.max_segment_bytes:
                break
            drops_tombstones = segment.modified_s < job.tombstones_written_before_s
            _rewrite_segment(segment, cleaned, job, newest, last_offset, drops_tombstones=drops_tombstones)
            group.append(segment)
    except BaseException:
        cleaned.delete()
        raise
    cleaned.seal()
    modified_s = max(segment.modified_s for segment in group)
    os.utime(cleaned.path, (modified_s, modified_s))
    return group, cleaned


def _rewrite_segment(
    segment: Segment,
    cleaned: Segment,
    job: CleaningJob,
    newest: Digests,
    last_offset: int,
    *,
    drops_tombstones: bool,
) -> None:
    with segment.mapped() as content:
        for at, header in headers(content):
            whole = content[at : at + header.size_bytes]
            is_last = header.last_offset == last_offset
            if header.is_control or _is_aborted(header, job.aborted):
                batch = whole if is_last else None
            else:
                batch = remaining(
                    whole, header, newest, keeps_last=is_last, drops_tombstones=drops_tombstones
                )
            if batch is not None:
                cleaned.append(batch, header._replace(length=len(batch) - LENGTH_OVERHEAD_BYTES))


def remaining(
    batch: bytes, header: BatchHeader, newest: Digests, *, keeps_last: bool, drops_tombstones: bool
) -> bytes | None:
    """The batch without outdated records, None when none is left; unreadable batches stay as they are."""
    records, unpacked = _records(batch, header)
    if not records:
        return batch
    kept = [
        record
        for record in records
        if (keeps_last and record is records[-1])
        or _stays(record, header.base_offset, newest, drops_tombstones=drops_tombstones)
    ]
    attributes = header.attributes & ~TRANSACTIONAL
    if len(kept) == len(records) and attributes == header.attributes:
        return batch
    if not kept:
        return None
    packed, compression = repack(b"".join(unpacked[record.start : record.end] for record in kept), header)
    return rebuilt(header, packed, count=len(kept), attributes=attributes & ~COMPRESSION_MASK | compression)


def _stays(record: Record, base_offset: int, newest: Digests, *, drops_tombstones: bool) -> bool:
    if record.key is None:
        return True  # written before the topic was compacted
    if record.is_tombstone and drops_tombstones:
        return False
    return newest.get(_digest(record.key), -1) <= base_offset + record.offset_delta
