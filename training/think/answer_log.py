"""corrections.jsonl: each answer is on the disk before the next question is asked.

One line is one write to the end of the file, then fsync; nothing is ever rewritten. A line that a crash tore
was never confirmed to anybody: it has no line end, is not read, and the next answer takes its place.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import orjson
from pydantic import ValidationError

from streams.errors import DatasetError
from training.think.corrections import Correction

TAIL_BYTES: Final = 1 << 20


def append_answer(path: Path, answer: Correction) -> None:
    """Returns when the answer is on the disk. Raises DatasetError; then it may be answered again."""
    line = orjson.dumps(answer.model_dump(), option=orjson.OPT_APPEND_NEWLINE)
    try:
        with _locked(path) as file:
            _cut_torn_line(file)
            if os.write(file, line) != len(line):
                raise OSError(0, "the line was not written whole")
            os.fsync(file)
    except OSError as error:
        raise DatasetError(
            f"{path} cannot be written ({error.strerror}); earlier answers are kept.",
            action="Free some space, or see to its rights, and go on: the review asks again what is open.",
        ) from error


def read_answers(path: Path) -> list[Correction]:
    """All whole lines, in order; [] without a file. Raises DatasetError that names the line."""
    return list(_lines(path))


def _lines(path: Path) -> Iterator[Correction]:
    if not path.exists():
        return
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.endswith(b"\n"):
                return
            try:
                yield Correction.model_validate_json(line)
            except ValidationError as error:
                first = error.errors(include_url=False, include_input=False)[0]
                raise DatasetError(
                    f"{path.name} line {number} is no correction: {first['msg']}.",
                    action="Mend or remove that line; nothing was changed.",
                ) from error


@contextmanager
def _locked(path: Path) -> Iterator[int]:
    """Two people may review one folder."""
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
