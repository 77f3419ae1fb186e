"""Read a Think mapping version from its folder, and believe nothing before it is checked.

    <root>/current.json                {"version": v}
    <root>/<v>/manifest.json           {"version": v, "files": {name: {"sha256", "bytes", "count"}}, …}
    <root>/<v>/mapping.jsonl           one trigger a line: {"trigger", "queries": [{"query", "score", …}]}
    <root>/<v>/popular.json            [{"query", "score"}], best first

A version's content never changes; other content is another version. Any fault is a MappingError.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from streams.errors import MappingError
from streams.query_text import normalise_query
from streams.think_entry import MAPPING_VERSION_PATTERN, PopularList, Suggestion, ThinkEntry

MAPPING_FILE: Final = "mapping.jsonl"
POPULAR_FILE: Final = "popular.json"
DIGEST_CHARS: Final = 16
_ACTION: Final = "Write the version anew (`python -m training.think.mine`) or name another in current.json."


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
        """Stands for the content of all files."""
        facts = "\n".join(f"{name} {self.files[name].sha256}" for name in (MAPPING_FILE, POPULAR_FILE))
        return hashlib.sha256(facts.encode()).hexdigest()[:DIGEST_CHARS]


@dataclass(frozen=True, slots=True)
class Mapping:
    """A version that was read as a whole and found sound."""

    manifest: Manifest
    lines: bytes
    popular: tuple[Suggestion, ...]

    def entries(self) -> Iterator[ThinkEntry]:
        """All entries, read from the very bytes that were checked."""
        return (ThinkEntry.model_validate_json(line) for line in self.lines.splitlines())


def read_manifest(root: Path) -> Manifest:
    """The manifest of the version that ``current.json`` names: two small files. Raises MappingError."""
    current = _parse(_Current, root / "current.json")
    manifest = _parse(Manifest, root / current.version / "manifest.json")
    if manifest.version != current.version:
        raise _fault(f"the manifest in folder {current.version} is of version {manifest.version}")
    missing = {MAPPING_FILE, POPULAR_FILE} - manifest.files.keys()
    if missing:
        raise _fault(f"the manifest of {manifest.version} does not list {', '.join(sorted(missing))}")
    return manifest


def read_mapping(root: Path, manifest: Manifest) -> Mapping:
    """The whole version: hashes, counts and every line checked. Raises MappingError."""
    folder = root / manifest.version
    lines = _read_checked(folder / MAPPING_FILE, manifest.files[MAPPING_FILE])
    _check_lines(lines, manifest)
    popular_bytes = _read_checked(folder / POPULAR_FILE, manifest.files[POPULAR_FILE])
    try:
        popular = PopularList.validate_json(popular_bytes)
    except ValidationError as error:
        raise _fault(f"{manifest.version}/{POPULAR_FILE}: {_first(error)}") from error
    _check_count(POPULAR_FILE, len(popular), manifest)
    return Mapping(manifest, lines, popular)


def _check_lines(lines: bytes, manifest: Manifest) -> None:
    triggers: set[str] = set()
    for number, line in enumerate(lines.splitlines(), 1):
        where = f"{manifest.version}/{MAPPING_FILE} line {number}"
        try:
            trigger = normalise_query(ThinkEntry.model_validate_json(line).trigger)
        except ValidationError as error:
            raise _fault(f"{where}: {_first(error)}") from error
        if not trigger or trigger in triggers:
            raise _fault(f"{where}: trigger {trigger!r} is empty or was there before")
        triggers.add(trigger)
    _check_count(MAPPING_FILE, len(triggers), manifest)


def _check_count(name: str, count: int, manifest: Manifest) -> None:
    if count != manifest.files[name].count:
        raise _fault(f"{manifest.version}/{name} has {count} entries, not {manifest.files[name].count}")


def _read_checked(path: Path, facts: FileFacts) -> bytes:
    data = _read(path)
    if hashlib.sha256(data).hexdigest() != facts.sha256:
        raise _fault(f"{path.parent.name}/{path.name} is not the file that the manifest describes")
    return data


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
