"""Compaction: the newest record of each key stays where it was, whatever happens in between."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kafka.record.default_records import DefaultRecordBatchBuilder

from streams.embedded import batches, cleaning, records
from streams.embedded.cleaning import CleaningJob, clean, job_for, newest_offsets, rewrite
from streams.embedded.log import LogRules, PartitionLog
from streams.embedded.segment import CLEANED_SUFFIX, headers
from streams.embedded.topic_configs import rules_of
from streams.embedded.topics import Topic

NOW_MS, NOW_S = 1_700_000_000_000, 1_700_000_000.0
RULES = LogRules(max_message_bytes=100_000, segment_bytes=2000, needs_keys=True, stamps_append_time=False)
CONFIGS = {"cleanup.policy": "compact", "segment.bytes": "2000", "delete.retention.ms": "60000"}


def append(
    log: PartitionLog,
    rows: list[tuple[bytes, bytes | None]],
    *,
    producer: tuple[int, int, int] = (-1, -1, -1),
    transactional: bool = False,
    compression: int = 0,
) -> None:
    builder = DefaultRecordBatchBuilder(2, compression, transactional, *producer, 1_000_000)
    for delta, (key, value) in enumerate(rows):
        builder.append(delta, NOW_MS, key, value, [])
    log.append(bytearray(builder.build()), RULES, NOW_MS)


def topic_of(log: PartitionLog) -> Topic:
    return Topic("topic", CONFIGS, [log], rules_of(CONFIGS))


def compact(log: PartitionLog, *, later_s: float = 0.0) -> bool:
    """One run; the files count as written at NOW_S, the run as `later_s` after that."""
    for segment in log.segments:
        if segment.path.exists():
            os.utime(segment.path, (NOW_S, NOW_S))
    return asyncio.run(clean(log, job_for(topic_of(log), log, NOW_S + later_s)))


def rows_of(log: PartitionLog) -> Iterator[tuple[int, bytes | None, bool]]:
    """Offset, key and whether it is a tombstone, of every data record in the files."""
    for segment in log.segments:
        content = segment.path.read_bytes() if segment.path.exists() else b""
        for at, header in headers(content):
            batch = content[at : at + header.size_bytes]
            assert batches.crc_is_right(batch, header)
            if not header.is_control:
                for record in records.walk(records.unpack(batch, header), header):
                    yield header.base_offset + record.offset_delta, record.key, record.is_tombstone


def opened(folder: Path) -> PartitionLog:
    return PartitionLog(folder, NOW_MS)


def filled(folder: Path, *, keys: int = 7, count: int = 200) -> PartitionLog:
    log = opened(folder)
    for number in range(0, count, 4):
        append(log, [(b"k%d" % ((number + i) % keys), b"v" * 50) for i in range(4)])
    return log


def test_only_the_newest_record_of_each_key_stays_under_its_offset(tmp_path: Path) -> None:
    log = filled(tmp_path)
    before_bytes = log.size_bytes
    assert compact(log)
    assert [offset for offset, _, _ in rows_of(log)] == list(range(193, 200))
    assert log.end_offset == 200
    assert log.size_bytes < before_bytes / 5
    assert len(log.segments) == 2


def test_offsets_go_on_after_compaction_and_after_reopening(tmp_path: Path) -> None:
    log = filled(tmp_path)
    compact(log)
    log.close()
    again = opened(tmp_path)
    assert (again.end_offset, again.start_offset, again.cleaned_until) == (200, 0, 200)
    append(again, [(b"k0", b"new")])
    assert [offset for offset, key, _ in rows_of(again) if key == b"k0"] == [196, 200]
    assert compact(again)
    assert [offset for offset, key, _ in rows_of(again) if key == b"k0"] == [200]


def test_a_read_in_a_gap_goes_on_at_the_next_record(tmp_path: Path) -> None:
    log = filled(tmp_path)
    compact(log)
    found = log.slice_from(17, 10_000, log.end_offset)
    assert batches.read_header(found.segment.read(found.position, found.size_bytes)).last_offset >= 193


@pytest.mark.parametrize("compression", [0, 1, 4])
def test_compressed_batches_are_compacted_in_their_own_compression(tmp_path: Path, compression: int) -> None:
    log = opened(tmp_path)
    for _ in range(50):
        append(log, [(b"k%d" % i, b"v" * 50) for i in range(10)], compression=compression)
    append(log, [(b"k%d" % i, b"v" * 50) for i in range(5)], compression=compression)
    assert compact(log)
    assert [offset for offset, _, _ in rows_of(log)] == [*range(495, 505)]
    content = log.segments[0].path.read_bytes()
    assert {header.attributes & 7 for _, header in headers(content)} == {compression}


def test_tombstones_stay_for_their_grace_and_go_after_it(tmp_path: Path) -> None:
    log = filled(tmp_path)
    append(log, [(b"k0", None), (b"k1", None), (b"last", b"v")])
    assert compact(log, later_s=59)
    assert {key for _, key, is_tombstone in rows_of(log) if is_tombstone} == {b"k0", b"k1"}
    append(log, [(b"other", b"v")])
    assert compact(log, later_s=61)
    assert not [key for _, key, is_tombstone in rows_of(log) if is_tombstone]
    assert {key for _, key, _ in rows_of(log)} == {b"k%d" % i for i in range(2, 7)} | {b"last", b"other"}


def test_the_last_record_stays_even_as_an_overdue_tombstone(tmp_path: Path) -> None:
    log = filled(tmp_path)
    append(log, [(b"k0", None)])
    assert compact(log, later_s=1000)
    assert list(rows_of(log))[-1] == (200, b"k0", True)


def test_aborted_records_and_markers_go_and_committed_ones_become_plain(tmp_path: Path) -> None:
    log = opened(tmp_path)
    append(log, [(b"a", b"yes"), (b"b", b"yes")], producer=(1, 0, 0), transactional=True)
    log.end_transaction(1, 0, NOW_MS, commit=True)
    append(log, [(b"a", b"no"), (b"c", b"no")], producer=(1, 0, 2), transactional=True)
    log.end_transaction(1, 0, NOW_MS, commit=False)
    append(log, [(b"d", b"plain")])
    assert compact(log)
    assert [key for _, key, _ in rows_of(log)] == [b"a", b"b", b"d"]
    log.close()
    again = opened(tmp_path)
    assert again.last_stable_offset == again.end_offset == 7
    assert again.producers.aborted_between(0, 7) == []


def test_what_an_open_transaction_covers_is_left_alone(tmp_path: Path) -> None:
    log = filled(tmp_path, count=40)
    append(log, [(b"k0", b"open")], producer=(1, 0, 0), transactional=True)
    for _ in range(30):
        append(log, [(b"k1", b"later" * 20)])
    compact(log)
    assert log.last_stable_offset == 40
    log.end_transaction(1, 0, NOW_MS, commit=True)
    assert compact(log)
    assert sorted(key or b"" for _, key, _ in rows_of(log)) == sorted(b"k%d" % i for i in range(7))


def test_an_idempotent_producer_is_known_after_its_batches_were_compacted(tmp_path: Path) -> None:
    log = opened(tmp_path)
    append(log, [(b"k", b"1")], producer=(9, 0, 0))
    append(log, [(b"k", b"2")], producer=(9, 0, 1))
    append(log, [(b"k", b"3")])
    assert compact(log)
    log.close()
    again = opened(tmp_path)
    append(again, [(b"k", b"2")], producer=(9, 0, 1))
    assert again.end_offset == 3
    append(again, [(b"k", b"4")], producer=(9, 0, 2))
    assert again.end_offset == 4


def test_an_unreadable_batch_stays_as_it_is(tmp_path: Path) -> None:
    log = opened(tmp_path)
    append(log, [(b"k", b"1")])
    content = bytearray(log.active.read(0, log.active.size_bytes))
    log.append(_with_compression(content, 3), LogRules(10_000, 10_000, False, False), NOW_MS)
    append(log, [(b"k", b"2")])
    assert compact(log)
    kept = [header.base_offset for _, header in headers(log.segments[0].path.read_bytes())]
    assert kept == [1, 2]


def _with_compression(batch: bytearray, kind: int) -> bytearray:
    header = batches.read_header(batch)
    content = bytes(batch[batches.HEADER_BYTES :])
    return bytearray(batches.rebuilt(header, content, count=1, attributes=kind))


class Died(BaseException):
    """The process ends here."""


@pytest.mark.parametrize("dies_at", range(12))
def test_death_at_any_step_of_a_run_loses_nothing_and_revives_nothing(
    tmp_path: Path, dies_at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = filled(tmp_path / "log", count=120)
    append(log, [(b"k3", None), (b"k4", b"new")])
    expected = {
        (offset, key) for offset, key, is_tombstone in rows_of(log) if not is_tombstone and offset >= 113
    }
    expected = {row for row in expected if row[1] not in (b"k3", b"k4")} | {(121, b"k4")}
    steps = iter(range(1000))

    def dying(operation: Callable[..., object]) -> Callable[..., object]:
        def step(*arguments: object, **named: object) -> object:
            if next(steps) == dies_at:
                raise Died
            return operation(*arguments, **named)

        return step

    with monkeypatch.context() as patched:
        for name in ("replace", "unlink", "touch", "write_text"):
            patched.setattr(Path, name, dying(getattr(Path, name)))
        with suppress(Died):
            compact(log, later_s=1000)
    shutil.copytree(tmp_path / "log", tmp_path / "after")
    again = opened(tmp_path / "after")
    assert again.end_offset == 122
    newest = {key: (offset, is_tombstone) for offset, key, is_tombstone in rows_of(again)}
    assert {(offset, key) for key, (offset, gone) in newest.items() if not gone} == expected
    assert not list((tmp_path / "after").glob(f"*{CLEANED_SUFFIX}"))
    compact(again, later_s=1000)
    assert {(offset, key) for offset, key, gone in rows_of(again) if not gone} == expected


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 4), st.booleans()), min_size=1, max_size=60),
    st.sets(st.integers(0, 60), max_size=4),
)
def test_a_reader_of_the_compacted_log_ends_with_the_same_table(
    tmp_path_factory: pytest.TempPathFactory, writes: list[tuple[int, bool]], runs_after: set[int]
) -> None:
    log, table = opened(tmp_path_factory.mktemp("log")), {}
    for number, (key, is_tombstone) in enumerate(writes):
        append(log, [(b"%d" % key, None if is_tombstone else b"v%d" % number)])
        table[b"%d" % key] = None if is_tombstone else number
        if number in runs_after:
            compact(log, later_s=1000 * (number % 2))
    compact(log)
    read: dict[bytes | None, int | None] = {}
    for offset, key, is_tombstone in rows_of(log):
        read[key] = None if is_tombstone else offset
    assert {key: value for key, value in read.items() if value is not None} == {
        key: value for key, value in table.items() if value is not None
    }
    assert log.end_offset == len(writes)


def test_a_topic_deleted_during_a_run_ends_the_run_quietly(tmp_path: Path) -> None:
    log = filled(tmp_path / "log")
    job = job_for(topic_of(log), log, NOW_S)
    log.delete()
    assert asyncio.run(clean(log, job)) is False


def test_records_deleted_during_a_run_do_not_come_back(tmp_path: Path) -> None:
    log = filled(tmp_path / "log")
    job = job_for(topic_of(log), log, NOW_S)
    newest, segments = newest_offsets(job)
    log.advance_start(log.segments[2].base_offset)
    _, cleaned = rewrite(segments[2:], job, newest, 199)
    assert cleaned.size_bytes
    cleaned.delete()
    assert asyncio.run(clean(log, job)) is False
    assert log.segments[0].base_offset == log.start_offset


def test_a_run_with_more_keys_than_fit_stops_early_and_goes_on_next_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cleaning, "MAX_KEYS", 3)
    log = filled(tmp_path)
    assert compact(log)
    assert 0 < log.cleaned_until < 200
    while log.cleaned_until < 200:
        assert compact(log)
    assert {key for _, key, _ in rows_of(log)} == {b"k%d" % i for i in range(7)}
    assert isinstance(job_for(topic_of(log), log, NOW_S), CleaningJob)
