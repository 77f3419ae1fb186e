"""The order in which a log is replayed, the same online and offline: by event time, then by line.

A log is read twice. The first pass decodes every event, so a torn log is refused before anything is sent,
and finds out whether the log is in order. If it is, the second pass streams; if not, it sorts, on disk
when the log is large. A record that is no event has no time of its own: it keeps its place behind the
record before it, so that it reaches the dead letters where it would have live.

Every record gets a key (the person, whose partition it belongs to; a digest where there is none) and, for
an event without ``event_id``, one in the header ``ce_id``: made of line and content, so a log that is
replayed again, or goes on after a break, or was compressed since, does not count twice.
"""

from __future__ import annotations

import hashlib
import heapq
import struct
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import IO, Final

from kafka.partitioner import murmur2

from streams.errors import EventError
from streams.record_log import LogRecord, read_log
from streams.records import BehaviorEvent, Source, decode_event

SORT_BYTES: Final = 256 * 1024 * 1024
_RECORD_OVERHEAD_BYTES: Final = 4096  # a decoded event's objects, roughly
_FRAME: Final = struct.Struct("<qqI")
_NO_SOURCE: Final = Source("log", 0, 0)


@dataclass(frozen=True, slots=True)
class LogScan:
    """What the first pass found.

    records: all; chosen: those within the asked range. lead_ms: time that bad records at the log's very
    start take. first_ms, last_ms: of the good ones; 0 when there are none.
    """

    records: int
    chosen: int
    bad: int
    sorted: bool
    lead_ms: int
    first_ms: int
    last_ms: int


@dataclass(frozen=True, slots=True)
class ReplayRecord:
    """A record ready to be sent, or applied. Either `event` or `error` is there; `at_ms` orders it."""

    line: int
    at_ms: int
    key: bytes
    value: bytes
    headers: list[tuple[str, bytes]]
    event: BehaviorEvent | None = None
    error: EventError | None = None


def scan_log(path: Path, now_ms: int, start_ms: int | None = None, end_ms: int | None = None) -> LogScan:
    """Read and decode the whole log once. `now_ms` bounds the future. Raises DatasetError."""
    tally = _Tally(start_ms, end_ms)
    for entry in read_log(path):
        tally.add(prepare(entry, now_ms))
    return tally.scan()


@dataclass(slots=True)
class _Tally:
    """The first pass's running sums; see LogScan."""

    start_ms: int | None
    end_ms: int | None
    records: int = 0
    chosen: int = 0
    bad: int = 0
    in_order: bool = True
    lead_ms: int | None = None
    newest_ms: int = 0  # of the good record read last
    first_ms: int = 0
    last_ms: int = 0

    def add(self, record: ReplayRecord) -> None:
        """One more record, in the log's order."""
        if record.event is None:
            self.bad += 1
        else:
            self._add_good(record.at_ms)
        self.records += 1
        self.chosen += self.lead_ms is not None and _within(self.newest_ms, self.start_ms, self.end_ms)

    def _add_good(self, at_ms: int) -> None:
        if self.lead_ms is None:  # the bad ones before it take its time
            self.lead_ms = self.first_ms = at_ms
            self.chosen = self.records * _within(at_ms, self.start_ms, self.end_ms)
        self.in_order &= at_ms >= self.newest_ms
        self.newest_ms = at_ms
        self.first_ms, self.last_ms = min(at_ms, self.first_ms), max(at_ms, self.last_ms)

    def scan(self) -> LogScan:
        """The sums so far. With no good record at all, every record is chosen."""
        lead_ms = (self.start_ms or 0) if self.lead_ms is None else self.lead_ms
        chosen = self.records if self.lead_ms is None else self.chosen
        return LogScan(self.records, chosen, self.bad, self.in_order, lead_ms, self.first_ms, self.last_ms)


def ordered_records(
    path: Path,
    scan: LogScan,
    now_ms: int,
    start_ms: int | None = None,
    end_ms: int | None = None,
    *,
    sort_bytes: int = SORT_BYTES,
) -> Iterator[ReplayRecord]:
    """The log's records with start_ms <= at_ms < end_ms, in replay order; `scan` is of the same log.

    sort_bytes: an unsorted log that needs more memory than this, roughly, is sorted on disk.
    """
    records = _timed((prepare(entry, now_ms) for entry in read_log(path)), scan.lead_ms)
    chosen = (record for record in records if _within(record.at_ms, start_ms, end_ms))
    return chosen if scan.sorted else _sorted(chosen, now_ms, sort_bytes)


def prepare(entry: LogRecord, now_ms: int) -> ReplayRecord:
    """Decode a record and give it its key and, where the event has none, its id."""
    made_id = _digest(entry).hex().encode()
    try:
        event = decode_event(entry.value, {"ce_id": made_id}, _NO_SOURCE, now_ms)
    except EventError as error:
        return ReplayRecord(entry.line, 0, made_id, entry.value, [], None, error)
    headers = [("ce_id", made_id)] if event.event_id == made_id.decode() else []
    return ReplayRecord(entry.line, event.timestamp, event.person.encode(), entry.value, headers, event)


@lru_cache(maxsize=65_536)
def partition_of(key: bytes, partitions: int) -> int:
    """The partition that Kafka's default partitioner gives `key`."""
    return int(murmur2(key) & 0x7FFFFFFF) % partitions


def _digest(entry: LogRecord) -> bytes:
    return hashlib.blake2b(b"%d:" % entry.line + entry.value, digest_size=16).digest()


def _within(at_ms: int, start_ms: int | None, end_ms: int | None) -> bool:
    return (start_ms is None or at_ms >= start_ms) and (end_ms is None or at_ms < end_ms)


def _timed(records: Iterable[ReplayRecord], lead_ms: int) -> Iterator[ReplayRecord]:
    at_ms = lead_ms
    for record in records:
        if record.event is not None:
            at_ms = record.at_ms
            yield record
        else:
            yield replace(record, at_ms=at_ms)


def _place(record: ReplayRecord) -> tuple[int, int]:
    return record.at_ms, record.line


def _sorted(records: Iterable[ReplayRecord], now_ms: int, sort_bytes: int) -> Iterator[ReplayRecord]:
    held: list[ReplayRecord] = []
    held_bytes = 0
    with ExitStack() as stack:
        runs: list[IO[bytes]] = []
        for record in records:
            held.append(record)
            held_bytes += len(record.value) + _RECORD_OVERHEAD_BYTES
            if held_bytes >= sort_bytes:
                runs.append(stack.enter_context(tempfile.TemporaryFile(prefix="aigq-sort-")))
                _spill(held, runs[-1])
                held, held_bytes = [], 0
        held.sort(key=_place)
        yield from heapq.merge(*(_unspill(run, now_ms) for run in runs), held, key=_place)


def _spill(held: list[ReplayRecord], run: IO[bytes]) -> None:
    for record in sorted(held, key=_place):
        run.write(_FRAME.pack(record.at_ms, record.line, len(record.value)) + record.value)
    run.seek(0)


def _unspill(run: IO[bytes], now_ms: int) -> Iterator[ReplayRecord]:
    while head := run.read(_FRAME.size):
        at_ms, line, length = _FRAME.unpack(head)
        yield replace(prepare(LogRecord(line, run.read(length)), now_ms), at_ms=at_ms)
