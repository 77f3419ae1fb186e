"""One partition: its segments, its producers' states, and who waits for its next record.

Appends go to the newest segment, the active one; all others are sealed and change only by compaction, which
puts a rewritten file in place of one or several (`replace_segments`). Nothing here waits or looks at a clock.
"""

from __future__ import annotations

import asyncio
import json
import mmap
import shutil
from bisect import bisect_right
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from streams.embedded import batches
from streams.embedded.batches import BatchHeader
from streams.embedded.codes import Code
from streams.embedded.producers import ProducerStates
from streams.embedded.records import refuse_keyless, unpack, walk
from streams.embedded.refusals import RefusedError
from streams.embedded.segment import CLEANED_SUFFIX, SUFFIX, Segment


@dataclass(frozen=True, slots=True)
class LogRules:
    """What a topic's configs ask of an append."""

    max_message_bytes: int
    segment_bytes: int
    needs_keys: bool
    stamps_append_time: bool


class Slice(NamedTuple):
    """Whole batches to read: where they lie, and the offset after them; size 0 is nothing to read."""

    segment: Segment
    position: int
    size_bytes: int
    next_offset: int


class PartitionLog:
    """The log of one partition in a folder of its own."""

    def __init__(self, folder: Path, now_ms: int) -> None:
        self.folder = folder
        self._opened_ms = now_ms
        self.producers = ProducerStates()
        self.waiters: set[asyncio.Future[None]] = set()
        self.closed = False
        folder.mkdir(parents=True, exist_ok=True)
        saved = self._saved_state()
        self.start_offset: int = saved.get("start_offset", 0)
        self.cleaned_until: int = saved.get("cleaned_until", 0)
        self.producers.load_json(saved.get("producers", {}))
        self.segments = self._recovered_segments()

    def _saved_state(self) -> dict[str, Any]:
        path = self.folder / "state.json"
        saved: dict[str, Any] = json.loads(path.read_bytes()) if path.exists() else {}
        return saved

    def save_state(self) -> None:
        """Keep what the batches alone cannot tell; must precede any removal of batches."""
        state = {
            "start_offset": self.start_offset,
            "cleaned_until": self.cleaned_until,
            "producers": self.producers.to_json(),
        }
        temporary = self.folder / "state.new"
        temporary.write_text(json.dumps(state))
        temporary.replace(self.folder / "state.json")

    def _recovered_segments(self) -> list[Segment]:
        for unfinished in self.folder.glob(f"*{CLEANED_SUFFIX}"):
            unfinished.unlink()
        segments: list[Segment] = []
        for path in sorted(self.folder.glob(f"*{SUFFIX}")):
            segment = Segment(self.folder, int(path.stem))
            if segments and segment.base_offset < segments[-1].end_offset:
                # Compaction merged this file into the one before it and died before removing it.
                segment.delete()
                continue
            segment.recover(self._note_recovered)
            segments.append(segment)
        return segments or [Segment(self.folder, self.start_offset)]

    def _note_recovered(self, header: BatchHeader, content: mmap.mmap, at: int) -> None:
        commit = header.is_control and batches.is_commit(content, at)
        self.producers.record(header, self._opened_ms, commit=commit)

    @property
    def active(self) -> Segment:
        """The segment that takes appends."""
        return self.segments[-1]

    @property
    def end_offset(self) -> int:
        """The offset the next record gets; Kafka's log end offset and, with one broker, high watermark."""
        return self.segments[-1].end_offset

    @property
    def last_stable_offset(self) -> int:
        """How far a read_committed consumer may read."""
        return self.producers.last_stable_offset(self.end_offset)

    @property
    def size_bytes(self) -> int:
        """Bytes of all segments."""
        return sum(segment.size_bytes for segment in self.segments)

    def append(self, batch: bytearray, rules: LogRules, now_ms: int) -> int:
        """Append what a client produced; its base offset, also when it is here already.

        Raises `RefusedError`, or `OSError` when the disk refuses; then nothing has changed.
        """
        header = batches.checked_header(batch, max_bytes=rules.max_message_bytes)
        if header.producer_id >= 0:
            known_offset = self.producers.check(header)
            if known_offset is not None:
                return known_offset
        if rules.needs_keys:
            refuse_keyless(batch, header)
        if rules.stamps_append_time:
            batches.set_append_time(batch, header, now_ms)
            header = header._replace(max_timestamp_ms=now_ms)
        if self.active.size_bytes + len(batch) > rules.segment_bytes:
            self.roll()
        return self._write(batch, header, now_ms)

    def end_transaction(self, producer_id: int, producer_epoch: int, now_ms: int, *, commit: bool) -> None:
        """Append a commit or abort marker if the producer has an open transaction here."""
        if self.producers.has_open(producer_id):
            marker = batches.control_batch(producer_id, producer_epoch, now_ms, commit=commit)
            self._write(marker, batches.read_header(marker), now_ms, commit=commit)

    def _write(self, batch: bytearray, header: BatchHeader, now_ms: int, *, commit: bool = False) -> int:
        base_offset = self.end_offset
        batches.place(batch, base_offset)
        header = header._replace(base_offset=base_offset)
        self.active.append(batch, header)
        self.producers.record(header, now_ms, commit=commit)
        self.wake_waiters()
        return base_offset

    def wake_waiters(self) -> None:
        """Let every fetch that waits here look again."""
        for waiter in self.waiters:
            if not waiter.done():
                waiter.set_result(None)
        self.waiters.clear()

    def roll(self) -> None:
        """Seal the active segment and start a new one, unless it is empty."""
        if self.active.size_bytes:
            self.active.seal()
            segment = Segment(self.folder, self.end_offset)
            segment.path.touch()  # its name keeps the end offset when compaction empties what is before it
            self.segments.append(segment)

    def slice_from(self, offset: int, max_bytes: int, end_offset: int) -> Slice:
        """Where to read batches from `offset` up to `end_offset`; raises `RefusedError` out of range."""
        if not self.start_offset <= offset <= self.end_offset:
            raise RefusedError(
                Code.OFFSET_OUT_OF_RANGE, f"{offset} is not in {self.start_offset}..{self.end_offset}"
            )
        first = bisect_right(self.segments, offset, key=lambda segment: segment.base_offset) - 1
        for segment in self.segments[max(first, 0) :]:
            position, size_bytes, next_offset = segment.locate(offset, max_bytes, end_offset)
            if size_bytes:
                return Slice(segment, position, size_bytes, next_offset)
        return Slice(self.active, 0, 0, offset)

    def first_since(self, timestamp_ms: int) -> tuple[int, int] | None:
        """Offset and timestamp of the first record at or after the time."""
        for segment in self.segments:
            if segment.end_offset <= self.start_offset:
                continue
            batch = segment.first_batch_since(timestamp_ms)
            if batch is not None:
                return _first_record_since(batch, timestamp_ms, self.start_offset)
        return None

    def advance_start(self, offset: int) -> None:
        """Forget everything before `offset`: no reader sees it again, whole segments are removed."""
        if offset > self.start_offset:
            if offset == self.end_offset:
                self.roll()
            self.start_offset = offset
            self.save_state()
        while len(self.segments) > 1 and self.segments[1].base_offset <= self.start_offset:
            self.segments.pop(0).delete()
        self.producers.forget_aborted_before(self.start_offset)

    def replace_segments(self, old: list[Segment], cleaned: Segment) -> None:
        """Put a compacted file in the place of neighbouring segments; safe against death at any point.

        The new file takes the name of the oldest. Any other that is still there when the log is opened again
        is recognised by its offsets; they go oldest first, so no tombstone goes before what it deletes.
        """
        at = self.segments.index(old[0])
        cleaned.path = cleaned.path.replace(old[0].path)
        self.segments[at : at + len(old)] = [cleaned]
        for segment in old[1:]:
            segment.delete()

    def close(self) -> None:
        """Close the files; readers that wait are woken."""
        self.closed = True
        self.wake_waiters()
        for segment in self.segments:
            segment.seal()

    def delete(self) -> None:
        """Close and remove everything."""
        self.close()
        shutil.rmtree(self.folder, ignore_errors=True)


def _first_record_since(batch: bytes, timestamp_ms: int, start_offset: int) -> tuple[int, int]:
    header = batches.read_header(batch)
    if not header.attributes & (batches.APPEND_TIME | batches.CONTROL):
        try:
            for record in walk(unpack(batch, header), header):
                timestamp = header.base_timestamp_ms + record.timestamp_delta_ms
                offset = header.base_offset + record.offset_delta
                if timestamp >= timestamp_ms and offset >= start_offset:
                    return offset, timestamp
        except RefusedError:
            pass  # a compression we lack: the batch is the best answer we can give
    return max(header.base_offset, start_offset), header.max_timestamp_ms
