"""Read a Think mapping version from its folder, and believe nothing before it is checked.

    <root>/<v>/mapping.jsonl           one trigger a line: {"trigger", "queries": [{"query", "score", …}]}
    <root>/<v>/popular.json            [{"query", "score"}], best first

A version may have a million triggers, so its lines are never held: `read_mapping` goes through the file
once and checks hash, count and every line; `Mapping.lines` goes through it again for whoever writes them,
and hashes again, so that what was written is what was checked. Memory: two times 8 bytes a trigger.
The manifest is read by `agents.think.version_folder`. Any fault is a MappingError.
"""

from __future__ import annotations

import hashlib
import time
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import orjson
from pydantic import ValidationError

from agents.think.version_folder import (
    MAPPING_FILE,
    POPULAR_FILE,
    Manifest,
    fault,
    read_whole,
    unreadable,
)
from streams.errors import MappingError
from streams.limits import first_problem
from streams.query_text import normalise_query
from streams.think_entry import PopularList, Suggestion, ThinkEntry

# The other agents of a worker share its interpreter: a check of a million lines must let them in.
LINES_BETWEEN_RESTS: Final = 200
REST_S: Final = 0.001
LINE_LIMIT_BYTES: Final = 1 << 20  # an entry has at most 100 queries


class Line(NamedTuple):
    """One line of the mapping: the trigger in normal form, and the JSON of its entry."""

    trigger: str
    value: bytes


@dataclass(frozen=True, slots=True)
class Mapping:
    """A version that was gone through once and found sound."""

    manifest: Manifest
    path: Path
    popular: tuple[Suggestion, ...]

    def lines(self) -> Iterator[Line]:
        """Every line, as it is read. Raises MappingError, at the end too: the file is not what it was."""
        digest = hashlib.sha256()
        for raw in _raw_lines(self.path):
            digest.update(raw)
            yield _line(raw, self.manifest)
        _check_digest(digest.hexdigest(), MAPPING_FILE, self.manifest)

    def entries(self) -> Iterator[ThinkEntry]:
        """The same as values."""
        return (ThinkEntry.model_validate_json(line.value) for line in self.lines())


def read_mapping(root: Path, manifest: Manifest) -> Mapping:
    """Go through the whole version: hashes, counts and every line checked. Raises MappingError."""
    path = root / manifest.version / MAPPING_FILE
    _check_lines(path, manifest)
    popular_path = root / manifest.version / POPULAR_FILE
    popular_bytes = read_whole(popular_path)
    _check_digest(hashlib.sha256(popular_bytes).hexdigest(), POPULAR_FILE, manifest)
    try:
        popular = PopularList.validate_json(popular_bytes)
    except ValidationError as error:
        raise fault(f"{manifest.version}/{POPULAR_FILE}: {first_problem(error)}") from error
    _check_count(POPULAR_FILE, len(popular), manifest)
    return Mapping(manifest, path, popular)


def _check_lines(path: Path, manifest: Manifest) -> None:
    digest, problem = hashlib.sha256(), ""
    triggers = array("Q")
    for number, raw in enumerate(_raw_lines(path), 1):
        digest.update(raw)
        if not problem:  # the hash first: what is wrong with the lines of another file helps nobody
            problem = _problem(raw, triggers)
            problem = problem and f"{manifest.version}/{MAPPING_FILE} line {number}: {problem}"
        if number % LINES_BETWEEN_RESTS == 0:
            time.sleep(REST_S)
    _check_digest(digest.hexdigest(), MAPPING_FILE, manifest)
    if problem:
        raise fault(problem)
    _check_duplicates(path, triggers, manifest)
    _check_count(MAPPING_FILE, len(triggers), manifest)


def _problem(raw: bytes, triggers: array[int]) -> str:
    """What is wrong with the line, if anything; else the hash of its trigger is added to `triggers`."""
    try:
        trigger = normalise_query(ThinkEntry.model_validate_json(raw).trigger)
    except ValidationError as error:
        return first_problem(error)
    if not trigger:
        return "trigger '' is empty"
    digest = hashlib.blake2b(trigger.encode("utf-8", "surrogatepass"), digest_size=8)
    triggers.append(int.from_bytes(digest.digest(), "big"))
    return ""


def _check_duplicates(path: Path, triggers: array[int], manifest: Manifest) -> None:
    """Two of a million differing triggers share 64 bits once in 30 million versions; then one is renamed."""
    hashes = np.frombuffer(triggers, dtype=np.uint64)
    ordered = np.sort(hashes)
    if not np.any(ordered[1:] == ordered[:-1]):
        return
    order = np.argsort(hashes, kind="stable")
    place = int(order[1:][hashes[order[1:]] == hashes[order[:-1]]].min())
    raw = next(raw for number, raw in enumerate(_raw_lines(path)) if number == place)
    trigger = _line(raw, manifest).trigger
    where = f"{manifest.version}/{MAPPING_FILE} line {place + 1}"
    raise fault(f"{where}: trigger {trigger!r} is empty or was there before")


def _line(raw: bytes, manifest: Manifest) -> Line:
    try:
        return Line(normalise_query(orjson.loads(raw)["trigger"]), raw.rstrip(b"\r\n"))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _changed(MAPPING_FILE, manifest) from error


def _check_count(name: str, count: int, manifest: Manifest) -> None:
    if count != manifest.files[name].count:
        raise fault(f"{manifest.version}/{name} has {count} entries, not {manifest.files[name].count}")


def _check_digest(found: str, name: str, manifest: Manifest) -> None:
    if found != manifest.files[name].sha256:
        raise _changed(name, manifest)


def _changed(name: str, manifest: Manifest) -> MappingError:
    return fault(f"{manifest.version}/{name} is not the file that the manifest describes")


def _raw_lines(path: Path) -> Iterator[bytes]:
    try:
        with path.open("rb") as file:
            while raw := file.readline(LINE_LIMIT_BYTES + 1):
                if len(raw) > LINE_LIMIT_BYTES:
                    raise fault(f"{path} has a line of more than {LINE_LIMIT_BYTES:,} bytes")
                yield raw
    except OSError as error:
        raise unreadable(path, error) from error
