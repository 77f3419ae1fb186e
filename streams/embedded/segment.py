"""One segment: an append-only file of record batches and its index, one entry a batch.

The index costs 24 bytes a batch in memory; the batches themselves stay on disk.
"""

from __future__ import annotations

import mmap
import os
import struct
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator
from pathlib import Path

from streams.embedded.batches import HEADER_BYTES, BatchHeader, crc_is_right, read_header
from streams.embedded.journal import write_all

SUFFIX = ".log"
CLEANED_SUFFIX = ".cleaned"  # written by compaction, not yet in place


class Segment:
    """Batches from `base_offset` up to `end_offset`, which is the base offset of what comes next."""

    def __init__(self, folder: Path, base_offset: int, suffix: str = SUFFIX) -> None:
        self.path = folder / f"{base_offset:020}{suffix}"
        self.base_offset = base_offset
        self.size_bytes = 0
        self.max_timestamp_ms = -1
        self._last_offsets = array("q")
        self._positions = array("q")
        self._max_timestamps = array("q")
        self._file: int | None = None

    @property
    def end_offset(self) -> int:
        """One more than the last offset in the segment."""
        return self._last_offsets[-1] + 1 if self._last_offsets else self.base_offset

    @property
    def modified_s(self) -> float:
        """When the newest batch was appended, in wall-clock seconds; compaction leaves it as it was."""
        return self.path.stat().st_mtime

    def append(self, batch: bytes | bytearray, header: BatchHeader) -> None:
        """Write a batch at the end; raises `OSError`, and then the segment is as it was."""
        if self._file is None:
            self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            write_all(self._file, batch)
        except OSError:
            os.ftruncate(self._file, self.size_bytes)
            raise
        self._add(header)

    def _add(self, header: BatchHeader) -> None:
        self._last_offsets.append(header.last_offset)
        self._positions.append(self.size_bytes)
        self._max_timestamps.append(header.max_timestamp_ms)
        self.max_timestamp_ms = max(self.max_timestamp_ms, header.max_timestamp_ms)
        self.size_bytes += header.size_bytes

    def seal(self) -> None:
        """No more appends: the file is closed, reads open it for themselves."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def delete(self) -> None:
        """Close and remove the file."""
        self.seal()
        self.path.unlink(missing_ok=True)

    def recover(self, note: Callable[[BatchHeader, mmap.mmap, int], None]) -> None:
        """Index the file as it is on disk, telling `note` of each batch; a torn tail is cut off."""
        if not self.path.exists():
            return
        with self.mapped() as content:
            for at, header in headers(content):
                if at + header.size_bytes == len(content) and not _is_whole(content, at, header):
                    break
                self._add(header)
                note(header, content, at)
        if self.path.stat().st_size > self.size_bytes:
            os.truncate(self.path, self.size_bytes)

    def mapped(self) -> mmap.mmap:
        """The file's content; for an empty file, which cannot be mapped, one byte that is no batch."""
        with self.path.open("rb") as file:
            if os.fstat(file.fileno()).st_size == 0:
                return mmap.mmap(-1, 1)
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)

    def locate(self, offset: int, max_bytes: int, end_offset: int) -> tuple[int, int, int]:
        """Position and size of whole batches from `offset` to `end_offset`, and the offset after them.

        At least one batch where there is one, however large; size 0 where there is none.
        """
        first = bisect_left(self._last_offsets, offset)
        limit = bisect_left(self._last_offsets, end_offset)
        if first >= limit:
            return 0, 0, offset
        start = self._positions[first]
        stop = max(first + 1, self._stop_index(start + max_bytes, limit))
        end = self._positions[stop] if stop < len(self._positions) else self.size_bytes
        return start, end - start, self._last_offsets[stop - 1] + 1

    def _stop_index(self, max_position: int, limit: int) -> int:
        """The first batch, at most `limit`, that does not fit whole before `max_position`."""
        if limit == len(self._positions) and max_position >= self.size_bytes:
            return limit
        return min(limit, bisect_right(self._positions, max_position) - 1)

    def read(self, position: int, size: int) -> bytes:
        """Bytes of the file."""
        if self._file is not None:
            return os.pread(self._file, size, position)
        descriptor = os.open(self.path, os.O_RDONLY)
        try:
            return os.pread(descriptor, size, position)
        finally:
            os.close(descriptor)

    def first_batch_since(self, timestamp_ms: int) -> bytes | None:
        """The first batch with a record at or after the time."""
        if self.max_timestamp_ms < timestamp_ms:
            return None
        index = next(i for i, newest in enumerate(self._max_timestamps) if newest >= timestamp_ms)
        end = self._positions[index + 1] if index + 1 < len(self._positions) else self.size_bytes
        return self.read(self._positions[index], end - self._positions[index])


def headers(content: mmap.mmap | bytes) -> Iterator[tuple[int, BatchHeader]]:
    """Position and header of each whole batch, up to the first that is not."""
    at = 0
    while at + HEADER_BYTES <= len(content):
        try:
            header = read_header(content, at)
        except struct.error:
            return
        if header.magic != 2 or header.size_bytes < HEADER_BYTES or at + header.size_bytes > len(content):
            return
        yield at, header
        at += header.size_bytes


def _is_whole(content: mmap.mmap, at: int, header: BatchHeader) -> bool:
    return crc_is_right(content[at : at + header.size_bytes], header)
