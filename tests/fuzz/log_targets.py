"""Event logs: any bytes as a file are read to the end in bounded pieces, or refused."""

from __future__ import annotations

import atexit
import io
import shutil
import tempfile
from functools import cache
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

from streams.errors import DatasetError
from streams.log_report import validate_log
from streams.record_log import MAX_LINE_BYTES, read_log
from tests.fuzz.record_targets import EVENTS
from tests.fuzz.target import Target, must
from tests.support import LATER_MS


@cache
def _file() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="aigq-fuzz-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder / "log"


def run_log(data: bytes) -> None:
    """The bytes as a file: records in order, none too long, every one judged; or a DatasetError."""
    _file().write_bytes(data)
    try:
        records = list(read_log(_file()))
        report = validate_log(_file(), LATER_MS)
    except DatasetError:
        return
    numbers = [record.line for record in records]
    must(numbers == sorted(set(numbers)), "records come in the log's order")
    must(all(0 < len(record.value) <= MAX_LINE_BYTES for record in records), "no record is too long")
    must(report.events == len(records) == report.good + report.bad, "every record is judged")
    must(report.as_dict()["offenders"] is not None, "the report can be told")


def run_log_lines(data: bytes) -> None:
    """The same bytes compressed: what is read is what stands in the plain file."""
    _file().write_bytes(zstandard.compress(data))
    try:
        compressed = [record.value for record in read_log(_file())]
    except DatasetError:
        return
    _file().write_bytes(data)
    if data[:4] in (b"PAR1", b"\x28\xb5\x2f\xfd"):
        return
    must([record.value for record in read_log(_file())] == compressed, "compression changes nothing")


def _parquet(table: pa.Table) -> bytes:
    out = io.BytesIO()
    pq.write_table(table, out, compression="zstd")
    return out.getvalue()


def _seeds() -> list[bytes]:
    lines = b"\n".join(EVENTS[:6]) + b"\n\n not json\n"
    columns = {
        "action_name": ["view", "purchase"],
        "timestamp": [1_512_129_600_000, 1_512_129_600_001],
        "user_id": ["u1", None],
        "event_attributes.object.title": ["milk", "eggs"],
    }
    return [
        lines,
        b"\xef\xbb\xbf" + lines,
        zstandard.compress(lines),
        zstandard.compress(lines) + zstandard.compress(lines),
        _parquet(pa.table({"value": EVENTS[:4]})),
        _parquet(pa.table({"value": [event.decode() for event in EVENTS[:4]]})),
        _parquet(pa.table(columns)),
        _parquet(pa.table({**columns, "event_attributes": ['{"object":{"title":"milk"}}', None]})),
    ]


TARGETS: Final = {
    one.name: one
    for one in (
        Target("log", run_log, _seeds(), in_ci=300, share=0.04, max_bytes=8192),
        Target("log_lines", run_log_lines, _seeds()[:2], in_ci=100, share=0.01, max_bytes=8192),
    )
}
