"""Mapping versions of any size whose queries carry their name, so that a mixed answer gives itself away."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import orjson

from agents.think.version_folder import MAPPING_FILE, POPULAR_FILE
from streams.hint_answer import HintAnswer

QUERIES: Final = 3


def write_version(root: Path, version: str, triggers: int) -> None:
    """Write the version and name it in current.json; its triggers are `trigger_text(0)` and on."""
    folder = root / version
    folder.mkdir(parents=True)
    digest = sha256()
    with (folder / MAPPING_FILE).open("wb") as file:
        for number in range(triggers):
            line = orjson.dumps(_entry(version, number), option=orjson.OPT_APPEND_NEWLINE)
            digest.update(line)
            file.write(line)
    popular = orjson.dumps([{"query": _popular(version), "score": 0.5}])
    (folder / POPULAR_FILE).write_bytes(popular)
    files = {
        MAPPING_FILE: {"sha256": digest.hexdigest(), "count": triggers},
        POPULAR_FILE: {"sha256": sha256(popular).hexdigest(), "count": 1},
    }
    manifest = {"format_version": 1, "version": version, "files": files}
    (folder / "manifest.json").write_bytes(orjson.dumps(manifest))
    name_version(root, version)


def name_version(root: Path, version: str) -> None:
    """Let current.json name it."""
    (root / "current.json").write_bytes(orjson.dumps({"version": version}))


def trigger_text(number: int) -> str:
    """The trigger of that number, the same in every version."""
    return f"trigger number {number}"


def is_of_one_version(answer: HintAnswer, number: int) -> bool:
    """Whether an answer for `trigger_text(number)` with room for all is what the version it names says."""
    expected = [*_queries(answer.mapping, number), _popular(answer.mapping)]
    return list(answer.queries) == expected


def _entry(version: str, number: int) -> dict[str, Any]:
    queries = [
        {"query": query, "score": round(0.9 - place / 10, 1), "category": "grocery"}
        for place, query in enumerate(_queries(version, number))
    ]
    return {"trigger": trigger_text(number), "queries": queries}


def _queries(version: str, number: int) -> list[str]:
    return [f"{version} query {number} {place}" for place in range(QUERIES)]


def _popular(version: str) -> str:
    return f"{version} popular"
