"""A version folder of a Think mapping: what the loader reads, and what a rollback goes back to.

    <root>/current.json                {"version": "3f2a9c0d1b7e"}
    <root>/<version>/mapping.jsonl     one trigger a line: {"trigger", "queries": [ThinkQuery, ...]}
    <root>/<version>/popular.json      [{"query", "score"}], best first: what everybody is shown at last
    <root>/<version>/evidence.jsonl    one served entry a line (.served); not read when serving
    <root>/<version>/manifest.json     hashes and counts of the files, inputs, settings, review, metrics

The version is a hash of the files' contents, so the same input gives the same version. The manifest's
date is not part of it. A version once written is never changed. The files are written line by line.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import date
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, NotRequired, TypedDict

import orjson

from agents.think.version_folder import MAPPING_FILE, POPULAR_FILE, name_current
from training.datasets.whole_files import replaced, sha256_of

FORMAT_VERSION: Final = 1
VERSION_CHARS: Final = 12
EVIDENCE_FILE: Final = "evidence.jsonl"
CHUNK_BYTES: Final = 1 << 20


class ThinkQuery(TypedDict):
    """A query for a trigger; `score` 0 to 1, `support` in baskets, `lift` against chance."""

    query: str
    score: float
    support: int
    lift: float
    category: NotRequired[str]


class PopularQuery(TypedDict):
    """A query for everybody; `score` 0 to 1."""

    query: str
    score: float


Mapping = dict[str, list[ThinkQuery]]


def write_mapping_version(
    root: Path,
    *,
    mapping: Mapping,
    popular: list[PopularQuery],
    created: date,
    provenance: dict[str, Any],
    evidence: Iterable[dict[str, Any]] | None = None,
    current: bool = True,
) -> str:
    """Write the version folder; if `current`, then point ``current.json`` to it. Returns the version.

    `provenance` goes into the manifest as it is: inputs, command, settings, review, metrics.
    The folder appears in one step, and the pointer moves last: a reader sees nothing half done.
    """
    with _unfinished(root) as folder:
        counts = {
            MAPPING_FILE: _write_lines(
                folder / MAPPING_FILE,
                ({"trigger": trigger, "queries": found} for trigger, found in mapping.items()),
            ),
            POPULAR_FILE: len(popular),
        }
        (folder / POPULAR_FILE).write_bytes(_pretty(popular))
        if evidence is not None:
            counts[EVIDENCE_FILE] = _write_lines(folder / EVIDENCE_FILE, evidence)
        version = version_of([folder / name for name in counts])
        manifest = {
            "format_version": FORMAT_VERSION,
            "kind": "think-mapping",
            "version": version,
            "created": created.isoformat(),
            "files": {name: _facts(folder / name, count) for name, count in counts.items()},
            **provenance,
        }
        (folder / "manifest.json").write_bytes(_pretty(manifest))
        if not (root / version / "manifest.json").exists():
            shutil.rmtree(root / version, ignore_errors=True)  # what a crash of an older program left
            folder.rename(root / version)
    if current:
        name_current(root, version)
    return version


def version_of(files: Iterable[Path]) -> str:
    """Content hash: names and bytes of all files, in order of their names."""
    digest = sha256()
    for path in sorted(files):
        digest.update(f"{path.name}\0{path.stat().st_size}\0".encode())
        for chunk in _chunks(path):
            digest.update(chunk)
    return digest.hexdigest()[:VERSION_CHARS]


@contextmanager
def _unfinished(root: Path) -> Iterator[Path]:
    """A folder that nobody takes for a version; what is left in it afterwards is deleted."""
    folder = root / ".unfinished"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _write_lines(path: Path, lines: Iterable[object]) -> int:
    count = 0
    with replaced(path) as unfinished, unfinished.open("wb") as file:
        for line in lines:
            file.write(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))
            count += 1
    return count


def _facts(path: Path, count: int) -> dict[str, Any]:
    return {"sha256": sha256_of(path), "bytes": path.stat().st_size, "count": count}


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            yield chunk


def _pretty(value: object) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
