"""A version folder of a Think mapping: what the loader reads, and what a rollback goes back to.

    <root>/current.json                {"version": "3f2a9c0d1b7e"}
    <root>/<version>/mapping.jsonl     one trigger a line: {"trigger", "queries": [ThinkQuery, ...]}
    <root>/<version>/popular.json      [{"query", "score"}], best first: what everybody is shown at last
    <root>/<version>/manifest.json     hashes and counts of both files, source, command, settings, metrics

The version is a hash of the two files' contents, so the same input gives the same version. The manifest's
date is not part of it. A version once written is never changed.
"""

from __future__ import annotations

from datetime import date
from hashlib import sha256
from pathlib import Path
from typing import Any, TypedDict

import orjson

FORMAT_VERSION = 1
VERSION_CHARS = 12


class ThinkQuery(TypedDict):
    """A query for a trigger; `score` 0 to 1, `support` in baskets, `lift` against chance."""

    query: str
    score: float
    support: int
    lift: float


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
) -> str:
    """Write the version folder, then point ``current.json`` to it. Returns the version.

    `provenance` goes into the manifest as it is: source, command, settings, metrics.
    The pointer moves last, in one step: a reader sees the old version or the complete new one.
    """
    lines = (orjson.dumps({"trigger": trigger, "queries": found}) for trigger, found in mapping.items())
    files = {
        "mapping.jsonl": b"".join(line + b"\n" for line in lines),
        "popular.json": _pretty(popular),
    }
    counts = {"mapping.jsonl": len(mapping), "popular.json": len(popular)}
    version = version_of(files)
    manifest = {
        "format_version": FORMAT_VERSION,
        "kind": "think-mapping",
        "version": version,
        "created": created.isoformat(),
        "files": {
            name: {"sha256": sha256(data).hexdigest(), "bytes": len(data), "count": counts[name]}
            for name, data in files.items()
        },
        **provenance,
    }
    folder = root / version
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        _replace(folder / name, data)
    if not (folder / "manifest.json").exists():
        _replace(folder / "manifest.json", _pretty(manifest))
    _replace(root / "current.json", orjson.dumps({"version": version}) + b"\n")
    return version


def version_of(files: dict[str, bytes]) -> str:
    """Content hash: names and bytes of all files, in order of their names."""
    digest = sha256()
    for name in sorted(files):
        digest.update(f"{name}\0{len(files[name])}\0".encode())
        digest.update(files[name])
    return digest.hexdigest()[:VERSION_CHARS]


def _pretty(value: object) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def _replace(path: Path, data: bytes) -> None:
    unfinished = path.with_name(path.name + ".part")
    unfinished.write_bytes(data)
    unfinished.replace(path)
