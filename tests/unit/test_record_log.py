from __future__ import annotations

import io
import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from streams.errors import DatasetError
from streams.record_log import MAX_LINE_BYTES, STDIN, local_log, read_log
from streams.records import BehaviorEvent, Source, decode_event
from tests.support import LATER_MS, NOON_MS

LINES = [b'{"a":1}', b'{"b":"\xc3\xa4"}', b'{"c":3}']


def values(path: Path) -> list[bytes]:
    return [record.value for record in read_log(path)]


def written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def parquet(path: Path, **columns: Any) -> Path:
    pq.write_table(pa.table(columns), path, row_group_size=2)
    return path


def events(path: Path) -> list[BehaviorEvent]:
    return [decode_event(value, {}, Source("log", 0, 0), LATER_MS) for value in values(path)]


@pytest.mark.parametrize("name", ["log.jsonl", "log.zst", "log.parquet", "log"])
@pytest.mark.parametrize("compressed", [False, True])
def test_the_content_and_not_the_name_tells_the_format(tmp_path: Path, name: str, compressed: bool) -> None:
    data = b"\n".join(LINES)
    path = written(tmp_path / name, zstandard.compress(data) if compressed else data)
    assert values(path) == LINES


def test_lines_keep_their_numbers_whatever_ends_them(tmp_path: Path) -> None:
    path = written(
        tmp_path / "log", b"\xef\xbb\xbf" + LINES[0] + b"\r\n\r\n  \n" + LINES[1] + b" \n" + LINES[2]
    )
    assert [(record.line, record.value) for record in read_log(path)] == [
        (1, LINES[0]),
        (4, LINES[1]),
        (5, LINES[2]),
    ]


def test_several_zstd_frames_are_one_log(tmp_path: Path) -> None:
    frames = b"".join(zstandard.compress(line + b"\n") for line in LINES)
    assert values(written(tmp_path / "log", frames)) == LINES


@pytest.mark.parametrize("extra", [0, 1, MAX_LINE_BYTES, 3 * MAX_LINE_BYTES + 7])
def test_an_overlong_line_is_cut_and_the_next_one_is_whole(tmp_path: Path, extra: int) -> None:
    data = b"x" * (MAX_LINE_BYTES + extra) + b"\n" + LINES[0] + b"\n"
    first, second = read_log(written(tmp_path / "log", zstandard.compress(data)))
    assert (first.line, len(first.value)) == (1, MAX_LINE_BYTES)
    assert (second.line, second.value) == (2, LINES[0])


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "empty"),
        (b"\n \n", "empty"),
        (zstandard.compress(b""), "empty"),
        (zstandard.compress(b"\n".join(LINES * 999))[:-9], "torn"),
        (zstandard.compress(b"\n".join(LINES)) + b"tail", "torn"),
        (b"PAR1 and nothing", "torn"),
        (zstandard.compress(b"PAR1 inside"), "Parquet inside zstd"),
        (b"\x1f\x8b\x08", "gzip"),
        ('{"a":1}'.encode("utf-16"), "UTF-16"),
        (json.dumps([{"a": 1}, {"b": 2}]).encode(), "JSON array"),
        (json.dumps([{"a": 1}], indent=1).encode(), "JSON array"),
    ],
)
def test_what_is_no_log_is_refused_with_what_to_do(tmp_path: Path, data: bytes, said: str) -> None:
    with pytest.raises(DatasetError, match=said) as caught:
        values(written(tmp_path / "log", data))
    assert caught.value.action


def test_a_missing_log_and_a_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="There is no log"):
        values(tmp_path / "missing")
    with pytest.raises(DatasetError, match="is a folder"):
        values(tmp_path)


def test_standard_input_is_read_more_than_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"\n".join(LINES))))
    with local_log(STDIN) as path:
        assert values(path) == values(path) == LINES
    assert not path.exists()


def test_parquet_with_a_value_column_gives_its_bytes(tmp_path: Path) -> None:
    as_bytes = parquet(tmp_path / "bytes", value=pa.array(LINES, pa.binary()), key=[b"k"] * 3)
    as_text = parquet(tmp_path / "text", value=[line.decode() for line in LINES])
    assert values(as_bytes) == values(as_text) == LINES
    assert [record.line for record in read_log(as_bytes)] == [1, 2, 3]


def test_parquet_columns_become_events(tmp_path: Path) -> None:
    moment = datetime(2017, 12, 1, 12, tzinfo=UTC)
    attributes = {"object": {"object_id": 7, "title": "milk", "brand": None, "price": 1.5}}
    path = parquet(
        tmp_path / "log",
        action_name=["purchase", "search"],
        timestamp=pa.array([moment, moment], pa.timestamp("ns", "Europe/Berlin")),
        user_id=[11, 12],
        event_id=["e1", None],
        user_query=[None, "brot"],
        event_attributes=[attributes, None],
    )
    bought, searched = events(path)
    assert (bought.person, bought.timestamp, bought.text, bought.event_id) == ("11", NOON_MS, "milk", "e1")
    assert (searched.person, searched.timestamp, searched.text) == ("12", NOON_MS, "brot")
    assert "brand" not in orjson.loads(values(path)[0])["event_attributes"]["object"]


def test_parquet_columns_with_dots_and_json_text_become_attributes(tmp_path: Path) -> None:
    common: dict[str, Any] = {"action_name": ["view"], "timestamp": [NOON_MS], "client_id": ["c"]}
    dotted = {"event_attributes.object.title": ["milk"], "event_attributes.object.price": pa.array([2.5])}
    [by_dots] = events(parquet(tmp_path / "dots", **common, **dotted))
    [by_text] = events(parquet(tmp_path / "text", **common, event_attributes=['{"object":{"title":"milk"}}']))
    assert by_dots.text == by_text.text == "milk"


def test_a_parquet_moment_without_a_zone_is_refused(tmp_path: Path) -> None:
    naive = pa.array([NOON_MS], pa.timestamp("ms"))
    with pytest.raises(DatasetError, match="no time zone"):
        values(parquet(tmp_path / "log", action_name=["view"], timestamp=naive, user_id=["u"]))


def test_parquet_without_the_columns_of_an_event_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"no column action_name.*it has event, timestamp"):
        values(parquet(tmp_path / "log", event=["view"], timestamp=[NOON_MS]))
