"""A small durable dictionary: JSON lines appended to a file, rewritten when most of them are outdated.

A line is in the page cache before `put` returns, so it survives the death of this process. A line that was
cut off by it is dropped when the file is opened again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

Key = tuple[str | int, ...]
_REWRITE_AT_LINES = 10_000


class Journal:
    """Keys are tuples of strings and numbers, values whatever JSON holds; None deletes."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._values: dict[Key, Any] = {}
        self._read()
        self._rewrite()

    def _read(self) -> None:
        if not self._path.exists():
            return
        for line in self._path.read_bytes().split(b"\n"):
            try:
                key, value = json.loads(line)
            except ValueError:
                break  # the last line, empty or cut off
            self._apply(tuple(key), value)

    def _apply(self, key: Key, value: Any) -> None:
        if value is None:
            self._values.pop(key, None)
        else:
            self._values[key] = value

    def _rewrite(self) -> None:
        temporary = self._path.with_suffix(".new")
        temporary.write_bytes(b"".join(_line(key, value) for key, value in self._values.items()))
        temporary.replace(self._path)
        self._file = self._path.open("ab", buffering=0)
        self._lines = len(self._values)

    def get(self, key: Key) -> Any:
        """The value, or None."""
        return self._values.get(key)

    def items(self) -> Iterator[tuple[Key, Any]]:
        """All keys and values, oldest key first."""
        return iter(list(self._values.items()))

    def put(self, changes: Mapping[Key, Any]) -> None:
        """Set (or with None delete) several keys; raises `OSError` when the disk refuses."""
        lines = b"".join(_line(key, value) for key, value in changes.items())
        size_bytes = self._file.seek(0, os.SEEK_END)
        try:
            write_all(self._file.fileno(), lines)
        except OSError:
            self._file.truncate(size_bytes)  # half a line would hide all that come after it
            raise
        for key, value in changes.items():
            self._apply(key, value)
        self._lines += len(changes)
        if self._lines > max(_REWRITE_AT_LINES, 4 * len(self._values)):
            self._file.close()
            self._rewrite()

    def close(self) -> None:
        """Close the file; the journal cannot be used afterwards."""
        self._file.close()


def _line(key: Key, value: Any) -> bytes:
    return json.dumps([key, value], separators=(",", ":")).encode() + b"\n"


def write_all(descriptor: int, content: bytes | bytearray) -> None:
    """Append everything: one `write` may take only a part."""
    rest = memoryview(content)
    while rest:
        rest = rest[os.write(descriptor, rest) :]
