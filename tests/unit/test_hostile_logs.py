"""A small file that unpacks to gigabytes is read in little memory, or refused."""

from __future__ import annotations

import decimal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from streams import parquet_log
from streams.errors import DatasetError
from streams.log_report import validate_log
from streams.record_log import MAX_LINE_BYTES, read_log
from tests.support import LATER_MS, event_json

MEGABYTE = 1 << 20
MEMORY = 400 * MEGABYTE
READ = """
import sys, resource
from pathlib import Path
import streams.parquet_log, pyarrow
from streams.log_report import validate_log
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
report = validate_log(Path(sys.argv[1]))
after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(report.events, report.bad, after - before)
"""


def read_elsewhere(log: Path) -> tuple[int, int, int]:
    """Records, bad ones, and by how many bytes the peak memory of a fresh process grew."""
    done = subprocess.run([sys.executable, "-c", READ, str(log)], capture_output=True, text=True, check=True)
    events, bad, kilobytes = map(int, done.stdout.split())
    return events, bad, kilobytes * 1024


def bomb(path: Path, chunks: Iterator[bytes]) -> Path:
    with path.open("wb") as file, zstandard.ZstdCompressor(level=3).stream_writer(file) as out:
        for chunk in chunks:
            out.write(chunk)
    assert path.stat().st_size < MEGABYTE
    return path


def test_a_line_of_half_a_gigabyte_in_a_small_zstd_file_is_one_bad_record(tmp_path: Path) -> None:
    log = bomb(tmp_path / "line.zst", (b"x" * MEGABYTE for _ in range(512)))
    assert read_elsewhere(log)[:2] == (1, 1)
    assert read_elsewhere(log)[2] < MEMORY


def test_half_a_gigabyte_of_deep_nesting_is_cut_and_refused_line_by_line(tmp_path: Path) -> None:
    log = bomb(tmp_path / "deep.zst", (b"[" * MEGABYTE + b"\n" for _ in range(512)))
    events, bad, grown = read_elsewhere(log)
    assert (events, bad) == (512, 512)
    assert grown < MEMORY


def test_a_parquet_value_that_all_rows_share_is_not_written_out_for_each(tmp_path: Path) -> None:
    rows = 2_000
    shared = pa.DictionaryArray.from_arrays(pa.array([0] * rows, pa.int32()), pa.array(["x" * MEGABYTE]))
    for name, columns in {
        "value": {"value": shared},
        "columns": {"action_name": shared, "timestamp": pa.array([1] * rows), "user_id": shared},
    }.items():
        log = tmp_path / f"{name}.parquet"
        pq.write_table(pa.table(columns), log, compression="zstd")
        assert log.stat().st_size < MEGABYTE
        events, bad, grown = read_elsewhere(log)
        assert (events, bad) == (rows, rows)
        assert grown < MEMORY


def test_a_parquet_column_that_unpacks_to_too_much_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet_log, "MAX_COLUMN_BYTES", MEGABYTE)
    log = tmp_path / "log.parquet"
    pq.write_table(pa.table({"value": [b"x" * 2 * MEGABYTE]}), log, compression="zstd")
    with pytest.raises(DatasetError, match="unpacks to"):
        list(read_log(log))


def test_parquet_columns_that_are_no_events_are_told(tmp_path: Path) -> None:
    log = tmp_path / "log.parquet"
    both = {"event_attributes": ["{}"], "event_attributes.list_id": ["l1"]}
    pq.write_table(pa.table({"action_name": ["view"], "timestamp": [1], **both}), log)
    with pytest.raises(DatasetError, match=r"event_attributes\.list_id besides"):
        list(read_log(log))


def test_a_parquet_number_of_38_digits_is_an_id_all_the_same(tmp_path: Path) -> None:
    log = tmp_path / "log.parquet"
    ids = pa.array([decimal.Decimal(10**30)], pa.decimal128(38, 0))
    pq.write_table(pa.table({"action_name": ["view"], "timestamp": [1], "user_id": ids}), log)
    assert [orjson.loads(record.value)["user_id"] for record in read_log(log)] == [str(10**30)]


def test_lines_of_a_megabyte_are_counted_and_the_next_is_read(tmp_path: Path) -> None:
    good = orjson.dumps(event_json())
    log = tmp_path / "log.jsonl"
    log.write_bytes(b"\n".join((good, b'"' + b"x" * MEGABYTE + b'"', good, b"[" * MEGABYTE, good)))
    report = validate_log(log, LATER_MS)
    assert (report.good, dict(report.bad_reasons)) == (3, {"too_large": 2})
    assert max(len(record.value) for record in read_log(log)) == MAX_LINE_BYTES
