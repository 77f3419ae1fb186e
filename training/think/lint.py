"""Everything that could be wrong in a folder of mapping versions, all findings at once.

A loader stops at the first fault, and looks only for what would break a reader. Here each finding has a
name, the place of its first case and how often there is such a case; `problem` is what must not be served,
`warning` what somebody should look at.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise, zip_longest
from pathlib import Path
from typing import Any, Final, Literal

import orjson
from pydantic import ValidationError

from agents.think.mapping_files import (
    MAPPING_FILE,
    POPULAR_FILE,
    has_version,
    read_current,
    read_manifest,
    read_mapping,
)
from streams.errors import DatasetError, MappingError
from streams.query_text import normalise_query
from streams.think_entry import PopularList, Suggestion, ThinkEntry
from training.datasets.whole_files import sha256_of
from training.think.mapping_version import EVIDENCE_FILE, version_of
from training.think.points import TEXT_MAX, read_lines
from training.think.served import Served

Level = Literal["problem", "warning"]
MANIFEST: Final = "manifest.json"
LIFT_TOLERANCE: Final = 0.01
SCORE_TOLERANCE: Final = 0.001


@dataclass(frozen=True, slots=True)
class Finding:
    """Something wrong. name: of its kind; where, what: of its first case; count: cases."""

    level: Level
    name: str
    where: str
    what: str
    count: int = 1


class Findings:
    """Findings by kind, in the order in which they came up."""

    def __init__(self) -> None:
        self._found: dict[str, Finding] = {}

    def add(self, level: Level, name: str, where: str, what: str) -> None:
        """One case."""
        known = self._found.get(name)
        self._found[name] = (
            replace(known, count=known.count + 1) if known else Finding(level, name, where, what)
        )

    def all(self) -> list[Finding]:
        """Problems first."""
        return sorted(self._found.values(), key=lambda one: one.level != "problem")


def lint_folder(root: Path, versions: Sequence[str] = ()) -> list[Finding]:
    """Look at current.json and at `versions`; none given: at the one that current.json names."""
    found = Findings()
    named = _current(root, found)
    for version in dict.fromkeys(versions or ([named] if named else [])):
        lint_version(root, version, found)
    return found.all()


def lint_version(root: Path, version: str, found: Findings) -> None:
    """Look at one version folder."""
    if not has_version(root, version):
        found.add("problem", "no_manifest", version, f"there is no {version}/{MANIFEST} in {root}")
        return
    folder = root / version
    manifest = _manifest(folder)
    if manifest is None:
        found.add("problem", "manifest", version, f"{MANIFEST} is no JSON object with the facts of its files")
        return
    _as_a_loader(root, version, found)
    _files(folder, manifest, found)
    entries = list(_entries(folder, found))
    for number, entry in entries:
        _entry(f"{version}/{MAPPING_FILE} line {number}", entry, found)
    _popular(folder, found)
    _evidence(folder, manifest, [entry for _, entry in entries], found)


def _current(root: Path, found: Findings) -> str:
    try:
        named = read_current(root)
    except MappingError as error:
        found.add("problem", "current", "current.json", error.message)
        return ""
    if not has_version(root, named):
        found.add("problem", "current", "current.json", f"it names {named}, which is not in {root}")
        return ""
    return named


def _manifest(folder: Path) -> dict[str, Any] | None:
    try:
        manifest = orjson.loads((folder / MANIFEST).read_bytes())
        files = manifest["files"].values()
    except (ValueError, TypeError, KeyError, AttributeError):
        return None
    return manifest if all(isinstance(facts, dict) for facts in files) else None


def _as_a_loader(root: Path, version: str, found: Findings) -> None:
    try:
        read_mapping(root, read_manifest(root, version))
    except MappingError as error:
        found.add("problem", "not_loadable", version, error.message)


def _files(folder: Path, manifest: dict[str, Any], found: Findings) -> None:
    listed = manifest["files"]
    for name, facts in listed.items():
        path = folder / name
        if not path.is_file():
            found.add("problem", "file_missing", f"{folder.name}/{name}", "the manifest lists it")
        elif sha256_of(path) != facts.get("sha256"):
            found.add("problem", "hash", f"{folder.name}/{name}", "it is not what the manifest describes")
        elif path.stat().st_size != facts.get("bytes", path.stat().st_size):
            found.add("problem", "bytes", f"{folder.name}/{name}", "its size is not the manifest's")
    for path in sorted(folder.iterdir()):
        if path.name not in {MANIFEST, *listed}:
            found.add(
                "warning", "file_unknown", f"{folder.name}/{path.name}", "the manifest lists no such file"
            )
    present = [folder / name for name in listed if (folder / name).is_file()]
    if manifest.get("kind") == "think-mapping" and version_of(present) != folder.name:
        found.add("problem", "name", folder.name, f"the content's own name is {version_of(present)}")


def _entries(folder: Path, found: Findings) -> Iterator[tuple[int, ThinkEntry]]:
    """The lines that are entries, with their numbers."""
    path = folder / MAPPING_FILE
    seen: set[str] = set()
    if not path.is_file():
        return
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            where = f"{folder.name}/{MAPPING_FILE} line {number}"
            try:
                entry = ThinkEntry.model_validate_json(line)
            except ValidationError as error:
                found.add("problem", "line", where, str(error.errors(include_url=False)[0]["msg"]))
                continue
            trigger = normalise_query(entry.trigger)
            if not trigger or trigger in seen:
                found.add(
                    "problem", "trigger_twice", where, f"{entry.trigger!r} is empty or was there before"
                )
            seen.add(trigger)
            yield number, entry


def _entry(where: str, entry: ThinkEntry, found: Findings) -> None:
    if not entry.queries:
        found.add("warning", "no_queries", where, f"{entry.trigger!r} leads to nothing")
    _suggestions(where, entry.queries, found)
    if normalise_query(entry.trigger) in {normalise_query(one.query) for one in entry.queries}:
        found.add("problem", "leads_to_itself", where, f"{entry.trigger!r} is among its own queries")
    _text(where, entry.trigger, found)


def _suggestions(where: str, queries: Sequence[Suggestion], found: Findings) -> None:
    names = [normalise_query(one.query) for one in queries]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        found.add("problem", "query_twice", where, f"{twice!r} stands there twice")
    for one in queries:
        _text(where, one.query, found)
        if not 0 <= one.score <= 1:
            found.add("problem", "score", where, f"{one.query!r} has the score {one.score}, not 0 to 1")
    if any(left.score < right.score for left, right in pairwise(queries)):
        found.add("problem", "order", where, "the best does not stand first")


def _text(where: str, text: str, found: Findings) -> None:
    if len(text) > TEXT_MAX:
        found.add("problem", "text_long", where, f"a text has {len(text)} characters, over {TEXT_MAX}")
    if not text.strip() or not text.isprintable():
        found.add("problem", "text_unprintable", where, f"{text[:40]!r} is empty or has control characters")


def _popular(folder: Path, found: Findings) -> None:
    where = f"{folder.name}/{POPULAR_FILE}"
    try:
        popular = PopularList.validate_json((folder / POPULAR_FILE).read_bytes())
    except (OSError, ValidationError):
        return  # not loadable; said before
    if not popular:
        found.add("warning", "popular_empty", where, "whoever has no hints of their own is shown none")
    _suggestions(where, popular, found)


def _evidence(folder: Path, manifest: dict[str, Any], entries: Sequence[ThinkEntry], found: Findings) -> None:
    """No evidence, no mapping: each served entry has its line, in the same order, and no line is idle."""
    if EVIDENCE_FILE not in manifest["files"]:
        found.add("warning", "no_evidence", folder.name, f"it has no {EVIDENCE_FILE}: mined, not reviewed")
        return
    alpha = (manifest.get("settings") or {}).get("alpha")
    pairs = ((entry.trigger, one) for entry in entries for one in entry.queries)
    try:
        both = zip_longest(pairs, read_lines(folder / EVIDENCE_FILE, Served))
        for number, (pair, line) in enumerate(both, 1):
            where = f"{folder.name}/{EVIDENCE_FILE} line {number}"
            if pair is None or line is None or _pair(pair) != (line.trigger, line.query):
                proved = line and (line.trigger, line.query)
                told = f"served is {pair and _pair(pair)}, proved {proved}"
                found.add("problem", "evidence_other", where, told)
                return
            _counts(where, line, found)
            _score(where, line, pair[1].score, alpha, found)
    except DatasetError as error:
        found.add("problem", "evidence_line", folder.name, error.message)


def _pair(served: tuple[str, Suggestion]) -> tuple[str, str]:
    return served[0], served[1].query


def _counts(where: str, line: Served, found: Findings) -> None:
    one = line.evidence
    rules: tuple[tuple[str, Callable[[], bool]], ...] = (
        ("baskets or households are 0", lambda: min(one.baskets + one.after, one.households) > 0),
        (
            "more baskets with both than with either",
            lambda: one.baskets <= min(one.trigger_baskets, one.query_baskets),
        ),
        (
            "more baskets than there are",
            lambda: max(one.trigger_baskets, one.query_baskets) <= one.all_baskets,
        ),
        ("the lift is not that of its counts", lambda: _lift_fits(line)),
    )
    for what, holds in rules:
        if not holds():
            found.add("problem", "evidence_counts", where, f"{line.trigger!r} → {line.query!r}: {what}")
            return


def _lift_fits(line: Served) -> bool:
    one = line.evidence
    if not (one.trigger_baskets and one.query_baskets and one.all_baskets):
        return False
    lift = (one.baskets / one.trigger_baskets) / (one.query_baskets / one.all_baskets)
    return math.isclose(lift, one.lift, rel_tol=LIFT_TOLERANCE, abs_tol=LIFT_TOLERANCE)


def _score(where: str, line: Served, score: float, alpha: float | None, found: Findings) -> None:
    if alpha is None:
        return
    expected = alpha * line.relevance + (1 - alpha) * line.efficiency
    if abs(expected - score) > SCORE_TOLERANCE:
        found.add(
            "problem", "evidence_score", where, f"{line.query!r} has {score}, its parts give {expected:.3f}"
        )
