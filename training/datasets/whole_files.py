"""Files that are there whole or not at all, and the hashes that they are known by."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replaced(path: Path) -> Iterator[Path]:
    """A path to write to; what is written there appears as `path` in one step, and only without an error."""
    unfinished = path.with_name(path.name + ".part")
    yield unfinished
    unfinished.replace(path)


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's content, as hexadecimal digits. Raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
