"""Record batches, format version 2, handled as opaque bytes with a fixed header.

The broker looks into a batch no further than it must: the base offset and the leader epoch are patched in
place (the checksum does not cover them), everything else is stored and served as the producer wrote it.
Layout: Kafka's documentation, section "Record Batch".
"""

from __future__ import annotations

import mmap
import struct
from typing import NamedTuple

from crc32c import crc32c

from streams.embedded.codes import Code
from streams.embedded.refusals import RefusedError

HEADER_BYTES = 61
LENGTH_OVERHEAD_BYTES = 12  # base offset and length, which the length field does not count

COMPRESSION_MASK = 0x07
APPEND_TIME = 0x08
TRANSACTIONAL = 0x10
CONTROL = 0x20

_HEADER = struct.Struct(">qiibIhiqqqhii")
_LEADER_EPOCH_AT = 12
_CRC_AT, _ATTRIBUTES_AT, _MAX_TIMESTAMP_AT = 17, 21, 35
_CONTROL_TYPE_AT = HEADER_BYTES + 7  # record length, attributes, two deltas, key length, key version
_COMMIT_TYPE = 1


class BatchHeader(NamedTuple):
    """The fixed part of a batch; `length` counts from after itself, as on the wire."""

    base_offset: int
    length: int
    leader_epoch: int
    magic: int
    crc: int
    attributes: int
    last_offset_delta: int
    base_timestamp_ms: int
    max_timestamp_ms: int
    producer_id: int
    producer_epoch: int
    base_sequence: int
    record_count: int

    @property
    def size_bytes(self) -> int:
        """Bytes of the whole batch."""
        return self.length + LENGTH_OVERHEAD_BYTES

    @property
    def last_offset(self) -> int:
        """Offset of the last record that the producer put in, kept by compaction even if that record goes."""
        return self.base_offset + self.last_offset_delta

    @property
    def is_transactional(self) -> bool:
        """Whether the batch belongs to a transaction."""
        return bool(self.attributes & TRANSACTIONAL)

    @property
    def is_control(self) -> bool:
        """Whether the batch is a commit or abort marker."""
        return bool(self.attributes & CONTROL)


Buffer = bytes | bytearray | memoryview | mmap.mmap


def read_header(buffer: Buffer, at: int = 0) -> BatchHeader:
    """The header at `at`; raises `struct.error` when fewer than 61 bytes are left."""
    return BatchHeader._make(_HEADER.unpack_from(buffer, at))


def checked_header(batch: Buffer, *, max_bytes: int) -> BatchHeader:
    """The header of a batch that a client produced; raises `RefusedError` with the code real Kafka gives."""
    if len(batch) < HEADER_BYTES:
        raise RefusedError(Code.CORRUPT_MESSAGE, "no whole record batch")
    header = read_header(batch)
    if header.magic != 2:
        raise RefusedError(Code.UNSUPPORTED_FOR_MESSAGE_FORMAT, f"magic {header.magic}, expected 2")
    if header.size_bytes < len(batch) and header.length >= HEADER_BYTES - LENGTH_OVERHEAD_BYTES:
        raise RefusedError(Code.INVALID_RECORD, "one request may hold one batch a partition")
    if header.size_bytes != len(batch) or not crc_is_right(batch, header):
        raise RefusedError(Code.CORRUPT_MESSAGE, "length or checksum is wrong")
    if len(batch) > max_bytes:
        raise RefusedError(Code.MESSAGE_TOO_LARGE, f"{len(batch)} bytes, max.message.bytes is {max_bytes}")
    if header.is_control or header.record_count < 1 or header.last_offset_delta != header.record_count - 1:
        raise RefusedError(Code.INVALID_RECORD, "a producer may send whole batches of records only")
    return header


def crc_is_right(batch: Buffer, header: BatchHeader) -> bool:
    """Whether the checksum over everything from the attributes on is the one in the header."""
    return bool(crc32c(memoryview(batch)[_ATTRIBUTES_AT:]) == header.crc)


def place(batch: bytearray, base_offset: int) -> None:
    """Give the batch its offset; the leader epoch of a single broker is always 0."""
    struct.pack_into(">q", batch, 0, base_offset)
    struct.pack_into(">i", batch, _LEADER_EPOCH_AT, 0)


def set_append_time(batch: bytearray, header: BatchHeader, now_ms: int) -> None:
    """Mark the batch as stamped by the broker (message.timestamp.type=LogAppendTime)."""
    struct.pack_into(">h", batch, _ATTRIBUTES_AT, header.attributes | APPEND_TIME)
    struct.pack_into(">q", batch, _MAX_TIMESTAMP_AT, now_ms)
    struct.pack_into(">I", batch, _CRC_AT, crc32c(memoryview(batch)[_ATTRIBUTES_AT:]))


def rebuilt(header: BatchHeader, records: bytes, *, count: int, attributes: int) -> bytes:
    """The batch with other records and attributes under the same offsets, timestamps and producer."""
    length = HEADER_BYTES - LENGTH_OVERHEAD_BYTES + len(records)
    changed = header._replace(length=length, crc=0, attributes=attributes, record_count=count)
    batch = bytearray(_HEADER.pack(*changed) + records)
    struct.pack_into(">I", batch, _CRC_AT, crc32c(memoryview(batch)[_ATTRIBUTES_AT:]))
    return bytes(batch)


def control_batch(producer_id: int, producer_epoch: int, now_ms: int, *, commit: bool) -> bytearray:
    """The marker that ends a transaction on one partition; its offset is set on append."""
    key = struct.pack(">hh", 0, _COMMIT_TYPE if commit else 0)
    value = struct.pack(">hi", 0, 0)  # version, coordinator epoch
    # Lengths are zigzag varints: 2·n for a small n. Record: attributes, both deltas, key, value, no headers.
    record = b"\0\0\0" + bytes([2 * len(key)]) + key + bytes([2 * len(value)]) + value + b"\0"
    header = BatchHeader(
        0, 0, 0, 2, 0, 0, 0, now_ms, now_ms, producer_id, producer_epoch, base_sequence=-1, record_count=1
    )
    attributes = TRANSACTIONAL | CONTROL
    return bytearray(rebuilt(header, bytes([2 * len(record)]) + record, count=1, attributes=attributes))


def is_commit(batch: Buffer, at: int = 0) -> bool:
    """Whether the control batch at `at` commits (else it aborts)."""
    kind: int = struct.unpack_from(">h", batch, at + _CONTROL_TYPE_AT)[0]
    return kind == _COMMIT_TYPE
