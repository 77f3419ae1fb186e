"""Think mapping versions as the miner writes them, for tests of the loader."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import orjson

Queries = dict[str, list[str]]


def write_version(
    root: Path, mapping: Queries, popular: list[str] | None = None, *, version: str = "v1"
) -> Path:
    """Write a version folder, point ``current.json`` to it, and give the folder."""
    folder = root / version
    folder.mkdir(parents=True, exist_ok=True)
    lines = [{"trigger": trigger, "queries": _queries(found)} for trigger, found in mapping.items()]
    (folder / "mapping.jsonl").write_bytes(b"".join(orjson.dumps(line) + b"\n" for line in lines))
    found = _queries(["beer"] if popular is None else popular)
    (folder / "popular.json").write_bytes(orjson.dumps(found))
    write_manifest(folder, {"mapping.jsonl": len(lines), "popular.json": len(found)})
    (root / "current.json").write_bytes(orjson.dumps({"version": version}))
    return folder


def write_manifest(folder: Path, counts: dict[str, int], **fields: Any) -> None:
    """A manifest that fits the files as they are now, but for `fields`."""
    files = {
        name: {"sha256": hashlib.sha256((folder / name).read_bytes()).hexdigest(), "count": count}
        for name, count in counts.items()
    }
    manifest = {"format_version": 1, "version": folder.name, "files": files} | fields
    (folder / "manifest.json").write_bytes(orjson.dumps(manifest))


def _queries(queries: list[str]) -> list[dict[str, Any]]:
    return [{"query": query, "score": 0.5, "support": 9, "lift": 2.0} for query in queries]
