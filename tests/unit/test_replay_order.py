from __future__ import annotations

import random
from pathlib import Path

import pytest
import zstandard
from kafka.cluster import ClusterMetadata
from kafka.partitioner import DefaultPartitioner

from streams.replay_order import LogScan, ReplayRecord, ordered_records, partition_of, scan_log
from tests.logs import shop_events, write_jsonl
from tests.support import LATER_MS, NOON_MS, event_json


def replayed(path: Path, start_ms: int | None = None, end_ms: int | None = None) -> list[ReplayRecord]:
    scan = scan_log(path, LATER_MS, start_ms, end_ms)
    records = list(ordered_records(path, scan, LATER_MS, start_ms, end_ms))
    assert len(records) == scan.chosen
    return records


def lines(records: list[ReplayRecord]) -> list[int]:
    return [record.line for record in records]


def test_a_log_in_order_is_replayed_as_it_stands(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "log", shop_events(5))
    assert scan_log(path, LATER_MS) == LogScan(5, 5, 0, True, NOON_MS, NOON_MS, NOON_MS + 4000)
    assert lines(replayed(path)) == [1, 2, 3, 4, 5]


def test_an_unsorted_log_is_sorted_by_time_then_line(tmp_path: Path) -> None:
    rows = [event_json(at_ms=NOON_MS + at, user=f"u{n}") for n, at in enumerate((50, 10, 50, 0, 10))]
    path = write_jsonl(tmp_path / "log", rows)
    assert not scan_log(path, LATER_MS).sorted
    assert lines(replayed(path)) == [4, 2, 5, 1, 3]


def test_sorting_on_disk_gives_what_sorting_in_memory_gives(tmp_path: Path) -> None:
    rows = [*shop_events(300), *[b"no event %d" % number for number in range(20)]]
    random.Random(5).shuffle(rows)
    path = write_jsonl(tmp_path / "log", rows)
    scan = scan_log(path, LATER_MS)
    on_disk = list(ordered_records(path, scan, LATER_MS, sort_bytes=100_000))
    assert [(r.line, r.at_ms, r.key, r.headers, r.event) for r in on_disk] == [
        (r.line, r.at_ms, r.key, r.headers, r.event) for r in replayed(path)
    ]


def test_what_is_no_event_keeps_its_place_behind_the_record_before_it(tmp_path: Path) -> None:
    late, early = event_json(at_ms=NOON_MS + 9, user="b"), event_json(at_ms=NOON_MS, user="a")
    far = event_json(at_ms=LATER_MS + 86_400_000)
    path = write_jsonl(tmp_path / "log", [b"first", late, b"{", far, early, b"[]"])
    records = replayed(path)
    assert lines(records) == [5, 6, 1, 2, 3, 4]
    assert [record.error.reason if record.error else None for record in records] == [
        None,
        "bad_event",
        "not_json",
        None,
        "not_json",
        "timestamp_in_future",
    ]


def test_a_log_without_any_event_is_replayed_whole(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "log", [b"one", b"two"])
    assert lines(replayed(path, start_ms=NOON_MS)) == [1, 2]


def test_a_range_takes_its_start_and_leaves_its_end(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "log", [b"bad", *shop_events(4), b"bad"])
    assert lines(replayed(path, NOON_MS + 1000, NOON_MS + 3000)) == [3, 4]
    assert lines(replayed(path, end_ms=NOON_MS + 1000)) == [1, 2]
    assert lines(replayed(path, start_ms=NOON_MS + 3000)) == [5, 6]


def test_an_event_without_an_id_gets_the_same_one_each_time_and_however_the_log_is_packed(
    tmp_path: Path,
) -> None:
    rows = [event_json(), event_json(), event_json(event_id="its own")]
    plain = write_jsonl(tmp_path / "log", rows)
    packed = tmp_path / "log.zst"
    packed.write_bytes(zstandard.compress(plain.read_bytes()))
    first, second, third = replayed(plain)
    assert [record.headers for record in replayed(packed)] == [first.headers, second.headers, []]
    assert first.headers != second.headers  # two equal lines are two events
    assert first.event and first.headers == [("ce_id", (first.event.event_id or "").encode())]
    assert third.event and third.event.event_id == "its own"


def test_records_are_keyed_by_person_and_bad_ones_by_their_content(tmp_path: Path) -> None:
    client = event_json(client_id="c1")
    del client["user_id"]
    path = write_jsonl(tmp_path / "log", [event_json(user="münchen"), client, b"bad", b"worse"])
    keys = [record.key for record in replayed(path)]
    assert keys[:2] == ["münchen".encode(), b"c1"]
    assert len(set(keys)) == 4


@pytest.mark.parametrize("partitions", [1, 4, 7])
def test_partitions_are_those_of_the_kafka_client(partitions: int) -> None:
    class Cluster(ClusterMetadata):
        def topics(self, exclude_internal_topics: bool = True) -> set[str]:  # noqa: ARG002  # the client's signature
            return {"t"}

        def partitions_for_topic(self, topic: str) -> set[int]:  # noqa: ARG002  # the client's signature
            return set(range(partitions))

        available_partitions_for_topic = partitions_for_topic

    for key in (f"user-{number}é".encode() for number in range(200)):
        expected = DefaultPartitioner().partition("t", key, key, b"", b"", Cluster())
        assert partition_of(key, partitions) == expected
