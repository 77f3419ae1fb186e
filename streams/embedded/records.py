"""What is inside a batch: for compaction, for keyless records and for offsets by time, nowhere else."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from typing import NamedTuple

import zstandard
from kafka import codec

from streams.embedded.batches import COMPRESSION_MASK, HEADER_BYTES, BatchHeader, Buffer
from streams.embedded.codes import Code
from streams.embedded.refusals import RefusedError

MAX_UNPACKED_BYTES = 256 * 1024 * 1024  # a small batch can be made to unpack to anything
_NONE, _GZIP, _SNAPPY, _LZ4, _ZSTD = range(5)


class Record(NamedTuple):
    """One record in its batch: bytes `start` to `end`, deltas to the batch's base offset and timestamp."""

    start: int
    end: int
    offset_delta: int
    timestamp_delta_ms: int
    key: bytes | None
    is_tombstone: bool


class UnreadableBatchError(RefusedError):
    """The records cannot be read: an unknown compression, or bytes that do not unpack."""


def unpack(batch: Buffer, header: BatchHeader) -> bytes:
    """The records of a batch, uncompressed; raises `UnreadableBatchError`."""
    packed = bytes(memoryview(batch)[HEADER_BYTES:])
    kind = header.attributes & COMPRESSION_MASK
    if kind == _NONE:
        return packed
    try:
        return _unpacker(kind)(packed)
    except UnreadableBatchError:
        raise
    except Exception as error:  # each codec has errors of its own
        raise UnreadableBatchError(Code.CORRUPT_MESSAGE, f"the batch does not unpack: {error!r}") from error


def _unpacker(kind: int) -> Callable[[bytes], bytes]:
    if kind == _GZIP:
        return _gunzip
    if kind == _ZSTD:
        return _unzstd
    if kind == _SNAPPY and codec.has_snappy():
        return codec.snappy_decode  # type: ignore[no-any-return] # kafka-python ships no types
    if kind == _LZ4 and codec.has_lz4():
        return codec.lz4_decode  # type: ignore[no-any-return] # kafka-python ships no types
    raise UnreadableBatchError(Code.UNSUPPORTED_COMPRESSION_TYPE, f"compression {kind} is not installed here")


def _gunzip(packed: bytes) -> bytes:
    stream = zlib.decompressobj(wbits=31)
    unpacked = stream.decompress(packed, MAX_UNPACKED_BYTES)
    if not stream.eof:
        raise ValueError("too large, or cut off")
    return unpacked


def _unzstd(packed: bytes) -> bytes:
    with zstandard.ZstdDecompressor().stream_reader(packed) as reader:
        unpacked = reader.read(MAX_UNPACKED_BYTES)
        if reader.read(1):
            raise ValueError("too large")
    return unpacked


def repack(records: bytes, header: BatchHeader) -> tuple[bytes, int]:
    """The records compressed as the batch was, if we can, and the compression bits that say so."""
    kind = header.attributes & COMPRESSION_MASK
    if kind == _GZIP:
        stream = zlib.compressobj(wbits=31)
        return stream.compress(records) + stream.flush(), kind
    if kind == _ZSTD:
        return zstandard.ZstdCompressor().compress(records), kind
    return records, _NONE


def walk(records: bytes, header: BatchHeader) -> Iterator[Record]:
    """Each record of unpacked `records`; raises `UnreadableBatchError` where they do not parse."""
    at = 0
    for _ in range(header.record_count):
        try:
            record = _read_record(records, at)
        except IndexError:
            record = None
        if record is None or record.end > len(records):
            raise UnreadableBatchError(Code.INVALID_RECORD, "a record ends beyond its batch")
        at = record.end
        yield record


def _read_record(records: bytes, start: int) -> Record | None:
    length, at = _varint(records, start)
    end = at + length
    timestamp_delta_ms, at = _varint(records, at + 1)  # one byte of attributes, unused
    offset_delta, at = _varint(records, at)
    key_length, at = _varint(records, at)
    key = records[at : at + key_length] if key_length >= 0 else None
    value_length, at = _varint(records, at + max(key_length, 0))
    if at + max(value_length, 0) > end:
        return None
    return Record(start, end, offset_delta, timestamp_delta_ms, key, value_length < 0)


def _varint(buffer: bytes, at: int) -> tuple[int, int]:
    """A zigzag varint and where it ends."""
    byte = buffer[at]
    at += 1
    if byte < 0x80:
        return (byte >> 1) ^ -(byte & 1), at
    value, shift = byte & 0x7F, 7
    while shift < 70:
        byte = buffer[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return (value >> 1) ^ -(value & 1), at
        shift += 7
    raise IndexError("a number of more than 64 bits")


def refuse_keyless(batch: Buffer, header: BatchHeader) -> None:
    """A compacted topic takes records with keys only; raises `RefusedError`."""
    if any(record.key is None for record in walk(unpack(batch, header), header)):
        raise RefusedError(Code.INVALID_RECORD, "a compacted topic takes no record without a key")
