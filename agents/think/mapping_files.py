"""Read a Think mapping version from its folder, and believe nothing before it is checked.

    <root>/current.json                {"version": v}
    <root>/<v>/manifest.json           {"version": v, "files": {name: {"sha256", "bytes", "count"}}, …}
    <root>/<v>/mapping.jsonl           one trigger a line: {"trigger", "queries": [{"query", "score", …}]}
    <root>/<v>/popular.json            [{"query", "score"}], best first

A version may have a million triggers, so its lines are never held: `read_mapping` goes through the file
once and checks hash, count and every line; `Mapping.lines` goes through it again for whoever writes them,
and hashes again, so that what was written is what was checked. Memory: two times 8 bytes a trigger.
A version's content never changes; other content is another version. Any fault is a MappingError.
"""

from __future__ import annotations

import hashlib
import time
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple, TypeVar

import numpy as np
import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from streams.errors import MappingError
from streams.query_text import normalise_query
from streams.think_entry import MAPPING_VERSION_PATTERN, PopularList, Suggestion, ThinkEntry

MAPPING_FILE: Final = "mapping.jsonl"
POPULAR_FILE: Final = "popular.json"
DIGEST_CHARS: Final = 16
# The other agents of a worker share its interpreter: a check of a million lines must let them in.
LINES_BETWEEN_RESTS: Final = 200
REST_S: Final = 0.001
_ACTION: Final = "Write the version anew (`aigq think build`) or name another in current.json."


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


_P = TypeVar("_P", bound=_Part)


class _Current(_Part):
    version: str = Field(pattern=MAPPING_VERSION_PATTERN)


class FileFacts(_Part):
    """What the manifest says of a file; `count` in triggers or queries."""

    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    count: int = Field(ge=0)


class Manifest(_Part):
    """A version's manifest, as far as the loader reads it."""

    format_version: Literal[1] = 1
    version: str = Field(pattern=MAPPING_VERSION_PATTERN)
    files: dict[str, FileFacts]

    @property
    def triggers(self) -> int:
        """How many triggers the version has."""
        return self.files[MAPPING_FILE].count

    @property
    def digest(self) -> str:
        """Stands for the content of all files that are served."""
        facts = "\n".join(f"{name} {self.files[name].sha256}" for name in (MAPPING_FILE, POPULAR_FILE))
        return hashlib.sha256(facts.encode()).hexdigest()[:DIGEST_CHARS]


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


def read_manifest(root: Path, version: str | None = None) -> Manifest:
    """The manifest of a version; None: of the one that ``current.json`` names. Raises MappingError."""
    named = read_current(root) if version is None else _named(version)
    manifest = _parse(Manifest, root / named / "manifest.json")
    if manifest.version != named:
        raise _fault(f"the manifest in folder {named} is of version {manifest.version}")
    missing = {MAPPING_FILE, POPULAR_FILE} - manifest.files.keys()
    if missing:
        raise _fault(f"the manifest of {manifest.version} does not list {', '.join(sorted(missing))}")
    return manifest


def read_current(root: Path) -> str:
    """The version that ``current.json`` names. Raises MappingError."""
    return _parse(_Current, root / "current.json").version


def name_current(root: Path, version: str) -> bool:
    """Name the version in ``current.json``, in one step. False: the folder lacks it, or is read-only."""
    if not has_version(root, version):
        return False
    unfinished = root / "current.json.part"
    try:
        unfinished.write_bytes(orjson.dumps({"version": version}) + b"\n")
        unfinished.replace(root / "current.json")
    except OSError:
        return False
    return True


def has_version(root: Path, version: str) -> bool:
    """Whether the folder holds that version, sound or not."""
    return (root / version / "manifest.json").is_file()


def read_mapping(root: Path, manifest: Manifest) -> Mapping:
    """Go through the whole version: hashes, counts and every line checked. Raises MappingError."""
    path = root / manifest.version / MAPPING_FILE
    _check_lines(path, manifest)
    popular_path = root / manifest.version / POPULAR_FILE
    popular_bytes = _read(popular_path)
    _check_digest(hashlib.sha256(popular_bytes).hexdigest(), POPULAR_FILE, manifest)
    try:
        popular = PopularList.validate_json(popular_bytes)
    except ValidationError as error:
        raise _fault(f"{manifest.version}/{POPULAR_FILE}: {_first(error)}") from error
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
        raise _fault(problem)
    _check_duplicates(path, triggers, manifest)
    _check_count(MAPPING_FILE, len(triggers), manifest)


def _problem(raw: bytes, triggers: array[int]) -> str:
    """What is wrong with the line, if anything; else the hash of its trigger is added to `triggers`."""
    try:
        trigger = normalise_query(ThinkEntry.model_validate_json(raw).trigger)
    except ValidationError as error:
        return _first(error)
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
    raise _fault(f"{where}: trigger {trigger!r} is empty or was there before")


def _line(raw: bytes, manifest: Manifest) -> Line:
    try:
        return Line(normalise_query(orjson.loads(raw)["trigger"]), raw.rstrip(b"\r\n"))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _changed(MAPPING_FILE, manifest) from error


def _check_count(name: str, count: int, manifest: Manifest) -> None:
    if count != manifest.files[name].count:
        raise _fault(f"{manifest.version}/{name} has {count} entries, not {manifest.files[name].count}")


def _check_digest(found: str, name: str, manifest: Manifest) -> None:
    if found != manifest.files[name].sha256:
        raise _changed(name, manifest)


def _changed(name: str, manifest: Manifest) -> MappingError:
    return _fault(f"{manifest.version}/{name} is not the file that the manifest describes")


def _raw_lines(path: Path) -> Iterator[bytes]:
    try:
        with path.open("rb") as file:
            yield from file
    except OSError as error:
        raise _fault(f"{path} cannot be read ({error.strerror})") from error


def _named(version: str) -> str:
    try:
        return _Current(version=version).version
    except ValidationError as error:
        raise _fault(f"{version!r} is no name of a version") from error


def _parse(kind: type[_P], path: Path) -> _P:
    try:
        return kind.model_validate_json(_read(path))
    except ValidationError as error:
        raise _fault(f"{path.parent.name}/{path.name}: {_first(error)}") from error


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise _fault(f"{path} cannot be read ({error.strerror})") from error


def _first(error: ValidationError) -> str:
    first: Any = error.errors(include_url=False, include_input=False)[0]
    return f"{'.'.join(str(part) for part in first['loc']) or 'value'}: {first['msg']}"


def _fault(what: str) -> MappingError:
    return MappingError(f"Think mapping: {what}. Nothing was changed in Redis.", action=_ACTION)
