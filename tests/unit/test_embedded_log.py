"""One partition's log: offsets, reading, idempotence, transactions, recovery, retention."""

from __future__ import annotations

import asyncio
import os
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from kafka.record.default_records import DefaultRecordBatchBuilder

from streams.embedded import batches
from streams.embedded.codes import Code
from streams.embedded.log import LogRules, PartitionLog
from streams.embedded.refusals import RefusedError
from streams.embedded.retention import retained_from

RULES = LogRules(max_message_bytes=100_000, segment_bytes=1000, needs_keys=False, stamps_append_time=False)
NOW_MS = 1_700_000_000_000


def batch_of(
    values: Sequence[bytes | None],
    *,
    keys: Sequence[bytes | None] | None = None,
    timestamp_ms: int = NOW_MS,
    producer: tuple[int, int, int] = (-1, -1, -1),
    transactional: bool = False,
) -> bytearray:
    """A batch as kafka-python's producer builds it; `producer` is id, epoch and first sequence number."""
    producer_id, epoch, sequence = producer
    builder: Any = DefaultRecordBatchBuilder(
        magic=2,
        compression_type=0,
        is_transactional=transactional,
        producer_id=producer_id,
        producer_epoch=epoch,
        base_sequence=sequence,
        batch_size=1_000_000,
    )
    for delta, value in enumerate(values):
        key = keys[delta] if keys is not None else b"key"
        builder.append(delta, timestamp=timestamp_ms + delta, key=key, value=value, headers=[])
    return bytearray(builder.build())


def open_log(folder: Path) -> PartitionLog:
    return PartitionLog(folder, NOW_MS)


def offsets_in(log: PartitionLog, start: int = 0, max_bytes: int = 10**9) -> list[int]:
    """Base offsets of the batches that one read from `start` gives."""
    found = log.slice_from(start, max_bytes, log.end_offset)
    content, at, offsets = found.segment.read(found.position, found.size_bytes), 0, []
    while at < len(content):
        header = batches.read_header(content, at)
        offsets.append(header.base_offset)
        at += header.size_bytes
    return offsets


def refusal_of(log: PartitionLog, batch: bytearray, rules: LogRules = RULES) -> Code:
    with pytest.raises(RefusedError) as refused:
        log.append(batch, rules, NOW_MS)
    return refused.value.code


def test_batches_get_consecutive_offsets_and_roll_into_segments(tmp_path: Path) -> None:
    log = open_log(tmp_path)
    assert [log.append(batch_of([b"x" * 100] * 3), RULES, NOW_MS) for _ in range(10)] == list(range(0, 30, 3))
    assert log.end_offset == 30
    assert len(log.segments) > 1
    assert [segment.base_offset for segment in log.segments] == sorted(
        int(path.stem) for path in tmp_path.glob("*.log")
    )


def test_a_read_starts_at_the_batch_that_holds_the_offset(tmp_path: Path) -> None:
    log = open_log(tmp_path)
    for _ in range(3):
        log.append(batch_of([b"x"] * 5), RULES, NOW_MS)
    assert offsets_in(log, 0) == [0, 5, 10]
    assert offsets_in(log, 7) == [5, 10]
    assert offsets_in(log, 15) == []


def test_a_read_gives_whole_batches_and_at_least_one(tmp_path: Path) -> None:
    log = open_log(tmp_path)
    size = len(batch_of([b"x" * 100]))
    for _ in range(4):
        log.append(batch_of([b"x" * 100]), RULES, NOW_MS)
    assert offsets_in(log, 0, max_bytes=1) == [0]
    assert offsets_in(log, 0, max_bytes=2 * size) == [0, 1]
    assert offsets_in(log, 0, max_bytes=2 * size - 1) == [0]
    assert offsets_in(log, 1, max_bytes=4 * size) == [1, 2, 3]


@pytest.mark.parametrize("offset", [-1, 4])
def test_an_offset_outside_the_log_is_refused(tmp_path: Path, offset: int) -> None:
    log = open_log(tmp_path)
    log.append(batch_of([b"x"] * 3), RULES, NOW_MS)
    with pytest.raises(RefusedError) as refused:
        log.slice_from(offset, 100, log.end_offset)
    assert refused.value.code == Code.OFFSET_OUT_OF_RANGE


def test_a_reopened_log_is_the_same(tmp_path: Path) -> None:
    log = open_log(tmp_path)
    for _ in range(20):
        log.append(batch_of([b"x" * 90] * 2), RULES, NOW_MS)
    log.close()
    again = open_log(tmp_path)
    assert again.end_offset == 40
    assert [segment.base_offset for segment in again.segments] == [
        segment.base_offset for segment in log.segments
    ]
    assert again.append(batch_of([b"x"]), RULES, NOW_MS) == 40


@pytest.mark.parametrize("cut", [1, 30, 61, 70])
def test_a_torn_tail_is_cut_off_at_the_last_whole_batch(tmp_path: Path, cut: int) -> None:
    log = open_log(tmp_path)
    for _ in range(3):
        log.append(batch_of([b"x" * 20]), RULES, NOW_MS)
    log.close()
    os.truncate(log.active.path, log.active.size_bytes - cut)
    again = open_log(tmp_path)
    assert again.end_offset == 2
    assert again.append(batch_of([b"x"]), RULES, NOW_MS) == 2
    assert offsets_in(again) == [0, 1, 2]


def test_a_last_batch_with_wrong_bytes_is_cut_off(tmp_path: Path) -> None:
    log = open_log(tmp_path)
    log.append(batch_of([b"first"]), RULES, NOW_MS)
    log.append(batch_of([b"second"]), RULES, NOW_MS)
    log.close()
    content = bytearray(log.active.path.read_bytes())
    content[-3] ^= 0xFF
    log.active.path.write_bytes(content)
    assert open_log(tmp_path).end_offset == 1


def test_what_is_no_batch_is_refused_with_the_code_of_apache_kafka(tmp_path: Path) -> None:
    log = open_log(tmp_path)
    good = batch_of([b"value"])
    flipped, old = bytearray(good), bytearray(good)
    flipped[-1] ^= 1
    old[16] = 1
    assert refusal_of(log, bytearray()) == Code.CORRUPT_MESSAGE
    assert refusal_of(log, flipped) == Code.CORRUPT_MESSAGE
    assert refusal_of(log, good[:-1]) == Code.CORRUPT_MESSAGE
    assert refusal_of(log, old) == Code.UNSUPPORTED_FOR_MESSAGE_FORMAT
    assert refusal_of(log, good + good) == Code.INVALID_RECORD
    assert refusal_of(log, batches.control_batch(1, 0, NOW_MS, commit=True)) == Code.INVALID_RECORD
    assert refusal_of(log, batch_of([b"x" * 100_001])) == Code.MESSAGE_TOO_LARGE
    assert log.end_offset == 0


def test_a_count_that_the_records_do_not_bear_out_is_refused_in_a_compacted_topic(tmp_path: Path) -> None:
    batch = batch_of([b"value"])
    struct.pack_into(">i", batch, 23, 2**31 - 2)
    struct.pack_into(">i", batch, 57, 2**31 - 1)
    struct.pack_into(">I", batch, 17, batches.crc32c(memoryview(batch)[21:]))
    rules = LogRules(100_000, 1000, needs_keys=True, stamps_append_time=False)
    assert refusal_of(open_log(tmp_path), batch, rules) == Code.INVALID_RECORD


def test_a_batch_that_is_sent_again_is_written_once(tmp_path: Path) -> None:
    log = open_log(tmp_path)
    sent = [batch_of([b"a", b"b"], producer=(7, 0, sequence)) for sequence in range(0, 12, 2)]
    offsets = [log.append(bytearray(batch), RULES, NOW_MS) for batch in sent]
    assert [log.append(bytearray(batch), RULES, NOW_MS) for batch in sent[-5:]] == offsets[-5:]
    assert log.end_offset == 12
    assert refusal_of(log, sent[0]) == Code.DUPLICATE_SEQUENCE_NUMBER


def test_a_gap_in_the_sequence_and_an_old_epoch_are_refused(tmp_path: Path) -> None:
    log = open_log(tmp_path)
    log.append(batch_of([b"a"], producer=(7, 1, 0)), RULES, NOW_MS)
    assert refusal_of(log, batch_of([b"c"], producer=(7, 1, 2))) == Code.OUT_OF_ORDER_SEQUENCE_NUMBER
    assert refusal_of(log, batch_of([b"b"], producer=(7, 0, 1))) == Code.INVALID_PRODUCER_EPOCH
    assert refusal_of(log, batch_of([b"b"], producer=(7, 2, 1))) == Code.OUT_OF_ORDER_SEQUENCE_NUMBER
    assert log.append(batch_of([b"b"], producer=(7, 2, 0)), RULES, NOW_MS) == 1


def test_sequence_numbers_are_known_after_reopening_even_when_retention_took_the_batches(
    tmp_path: Path,
) -> None:
    log = open_log(tmp_path)
    last = batch_of([b"a", b"b"], producer=(7, 3, 0))
    log.append(bytearray(last), RULES, NOW_MS)
    log.advance_start(2)
    log.close()
    assert next(tmp_path.glob("*.log")).stat().st_size == 0
    again = open_log(tmp_path)
    assert (again.start_offset, again.end_offset) == (2, 2)
    assert again.append(bytearray(last), RULES, NOW_MS) == 0
    assert refusal_of(again, batch_of([b"x"], producer=(7, 3, 3))) == Code.OUT_OF_ORDER_SEQUENCE_NUMBER


def test_the_last_stable_offset_waits_for_the_oldest_open_transaction(tmp_path: Path) -> None:
    log = open_log(tmp_path)
    log.append(batch_of([b"plain"]), RULES, NOW_MS)
    log.append(batch_of([b"one"], producer=(1, 0, 0), transactional=True), RULES, NOW_MS)
    log.append(batch_of([b"two"], producer=(2, 0, 0), transactional=True), RULES, NOW_MS)
    assert log.last_stable_offset == 1
    log.end_transaction(1, 0, NOW_MS, commit=False)
    assert log.last_stable_offset == 2
    log.close()
    again = open_log(tmp_path)
    assert again.last_stable_offset == 2
    again.end_transaction(2, 0, NOW_MS, commit=True)
    assert again.last_stable_offset == again.end_offset == 5
    assert [tuple(found) for found in again.producers.aborted_between(0, 5)] == [(1, 1, 3)]
    assert again.producers.aborted_between(4, 5) == []


def test_append_time_is_stamped_with_a_right_checksum(tmp_path: Path) -> None:
    log = open_log(tmp_path)
    log.append(batch_of([b"a"], timestamp_ms=5), LogRules(1000, 1000, False, True), NOW_MS)
    batch = log.active.read(0, log.active.size_bytes)
    header = batches.read_header(batch)
    assert header.max_timestamp_ms == NOW_MS
    assert header.attributes & batches.APPEND_TIME
    assert batches.crc_is_right(batch, header)


def test_the_first_record_since_a_time_is_found_across_segments(tmp_path: Path) -> None:
    log = open_log(tmp_path)
    for number in range(30):
        log.append(batch_of([b"x" * 90] * 2, timestamp_ms=1000 * number), RULES, NOW_MS)
    assert log.first_since(0) == (0, 0)
    assert log.first_since(15_000) == (30, 15_000)
    assert log.first_since(15_001) == (31, 15_001)
    assert log.first_since(15_002) == (32, 16_000)
    assert log.first_since(29_002) is None


def test_retention_takes_whole_old_segments_and_keeps_open_transactions(tmp_path: Path) -> None:
    log = open_log(tmp_path)
    for number in range(30):
        log.append(batch_of([b"x" * 90], timestamp_ms=1000 * number), RULES, NOW_MS)
    kept_from = retained_from(log, oldest_ms=15_500, max_bytes=-1)
    assert kept_from in {segment.base_offset for segment in log.segments}
    assert 0 < kept_from <= 16
    assert retained_from(log, oldest_ms=99_000, max_bytes=-1) == 30
    log.advance_start(kept_from)
    assert offsets_in(log, kept_from)[0] == kept_from
    half = retained_from(log, oldest_ms=None, max_bytes=log.size_bytes // 2)
    assert kept_from < half < 30
    other = open_log(tmp_path / "other")
    other.append(batch_of([b"x" * 900], producer=(1, 0, 0), transactional=True), RULES, NOW_MS)
    other.append(batch_of([b"x" * 900]), RULES, NOW_MS)
    assert retained_from(other, oldest_ms=NOW_MS * 2, max_bytes=0) == 0


def test_those_who_wait_are_woken_by_an_append_and_by_a_deletion(tmp_path: Path) -> None:
    async def work() -> list[bool]:
        log, loop = open_log(tmp_path / "log"), asyncio.get_running_loop()
        first, second = loop.create_future(), loop.create_future()
        log.waiters.add(first)
        log.append(batch_of([b"x"]), RULES, NOW_MS)
        log.waiters.add(second)
        log.delete()
        return [first.done(), second.done(), (tmp_path / "log").exists()]

    assert asyncio.run(work()) == [True, True, False]
