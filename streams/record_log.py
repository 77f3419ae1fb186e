"""Event logs: one event a line (JSONL) or a row (Parquet), plain or compressed with zstd.

The format is told from the first bytes, never from the name. JSONL is read in constant memory, Parquet
batch by batch. What is no event is yielded all the same: whoever reads decides what to do with it.
"""

from __future__ import annotations

import io
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final, NoReturn, cast

from streams.errors import DatasetError
from streams.records import MAX_LINE_BYTES as MAX_LINE_BYTES

STDIN: Final = Path("-")
_HEAD_BYTES: Final = 4096
_ZSTD: Final = b"\x28\xb5\x2f\xfd"
_PARQUET: Final = b"PAR1"
_GZIP: Final = b"\x1f\x8b"
_BOM: Final = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class LogRecord:
    """One event as it stands in the log. line: counted from 1. An overlong line is cut to MAX_LINE_BYTES."""

    line: int
    value: bytes


def read_log(path: Path) -> Iterator[LogRecord]:
    """The records of a log, in the log's order; blank lines are left out but counted.

    Raises DatasetError when the log is missing, empty, torn, or of a format we do not read.
    """
    return _not_empty(path, _read(path))


@contextmanager
def local_log(path: Path) -> Iterator[Path]:
    """`path`, or for ``-`` a temporary file with all of standard input: a replay reads its log twice."""
    if path != STDIN:
        yield path
        return
    with tempfile.NamedTemporaryFile(prefix="aigq-log-") as copy:
        shutil.copyfileobj(sys.stdin.buffer, copy)
        copy.flush()
        yield Path(copy.name)


def _not_empty(path: Path, records: Iterator[LogRecord]) -> Iterator[LogRecord]:
    first = next(records, None)
    if first is None:
        raise DatasetError(f"The log is empty: {path}.", action="Check that it was written completely.")
    yield first
    yield from records


def _read(path: Path) -> Iterator[LogRecord]:
    head = _head(path)
    if head.startswith(_PARQUET):
        from streams.parquet_log import read_parquet

        yield from (LogRecord(line, value) for line, value in read_parquet(path))
    elif head.startswith(_ZSTD):
        with _decompressed(path) as stream:
            yield from _whole(path, stream)
    else:
        with path.open("rb") as stream:
            _check_text(path, head)
            yield from _lines(stream)


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            return stream.read(_HEAD_BYTES)
    except FileNotFoundError as error:
        raise DatasetError(f"There is no log at {path}.", action="Check the path.") from error
    except IsADirectoryError as error:
        raise DatasetError(
            f"{path} is a folder.", action="Name one file; join several with `cat`, `zstdcat`."
        ) from error
    except OSError as error:
        raise DatasetError(f"{path} cannot be read: {error.strerror}.", action="Check its rights.") from error


def _decompressed(path: Path) -> BinaryIO:
    # pyarrow's reader, since zstandard's takes a torn last frame for the end of the file.
    import pyarrow as pa

    stream = pa.CompressedInputStream(pa.OSFile(str(path), "rb"), "zstd")
    return cast(BinaryIO, io.BufferedReader(cast(Any, stream), 1 << 16))


def _whole(path: Path, stream: BinaryIO) -> Iterator[LogRecord]:
    try:
        _check_text(path, cast(Any, stream).peek(_HEAD_BYTES)[:_HEAD_BYTES])
        yield from _lines(stream)
    except OSError as error:
        raise DatasetError(
            f"The zstd log is torn or damaged: {path}: {error}.", action="Copy or compress it again."
        ) from error


def _check_text(path: Path, head: bytes) -> None:
    """Refuse what is certainly not JSON lines; a wrong line in the middle is the reader's business."""
    if head.startswith(_GZIP):
        _refuse(path, "gzip", "Unpack it, or pipe it in: `zcat LOG | aigq … -`.")
    if head.startswith(_PARQUET):
        _refuse(path, "Parquet inside zstd", "Unpack it; Parquet compresses its columns itself.")
    if b"\0" in head:
        _refuse(path, "binary or UTF-16", "Write UTF-8 JSON, one event a line, or Parquet.")
    start = head.removeprefix(_BOM).lstrip()
    if start.startswith(b"[") and start[1:].lstrip()[:1] in (b"{", b""):
        _refuse(path, "one JSON array", "Write one event a line, e.g. with `jq -c '.[]'`.")


def _refuse(path: Path, found: str, action: str) -> NoReturn:
    raise DatasetError(f"The log is {found}, not JSON lines or Parquet: {path}.", action=action)


def _lines(stream: BinaryIO) -> Iterator[LogRecord]:
    number = 0
    while line := stream.readline(MAX_LINE_BYTES):
        number += 1
        if len(line) == MAX_LINE_BYTES:
            _skip_rest(stream, line)
        value = (line.removeprefix(_BOM) if number == 1 else line).strip(b" \t\r\n")
        if value:
            yield LogRecord(number, value)


def _skip_rest(stream: BinaryIO, part: bytes) -> None:
    while part and not part.endswith(b"\n"):
        part = stream.readline(MAX_LINE_BYTES)
