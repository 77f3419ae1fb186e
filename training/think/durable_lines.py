"""Files that grow line by line: what was confirmed is on the disk, whoever else writes and whatever crashes.

One line is one write to the end of the file, then fsync; nothing is ever rewritten. A line that a crash tore
was never confirmed to anybody: it has no line end, is not read, and the next line takes its place.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

TAIL_BYTES: Final = 1 << 20


def append_line(path: Path, line: bytes) -> None:
    """Returns when the line, which ends with a line end, is on the disk. Raises OSError."""
    with _locked(path) as file:
        _cut_torn_line(file)
        if os.write(file, line) != len(line):
            raise OSError(0, "the line was not written whole")
        os.fsync(file)


def whole_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """(number from 1, line) of all whole lines, in order; none without a file."""
    if not path.exists():
        return
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.endswith(b"\n"):
                return
            yield number, line


@contextmanager
def _locked(path: Path) -> Iterator[int]:
    """Two processes may write to one file."""
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield file
    finally:
        os.close(file)


def _cut_torn_line(file: int) -> None:
    size = os.fstat(file).st_size
    if not size:
        return
    start = max(size - TAIL_BYTES, 0)
    tail = os.pread(file, size - start, start)
    whole = tail.rfind(b"\n") + 1
    if whole < len(tail):
        os.ftruncate(file, start + whole)
