"""Which versions a folder has, which one it names, and what a version's manifest says.

    <root>/current.json                {"version": v}
    <root>/<v>/manifest.json           {"version", "created", "files": {name: {"sha256", "count"}}, …}

A version's content never changes; other content is another version. Any fault is a MappingError that says
what the folder has instead.
"""

from __future__ import annotations

import hashlib
from datetime import date
from pathlib import Path
from typing import Final, Literal, TypeVar

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from streams.errors import MappingError
from streams.limits import first_problem
from streams.think_entry import MAPPING_VERSION_PATTERN

MAPPING_FILE: Final = "mapping.jsonl"
POPULAR_FILE: Final = "popular.json"
MANIFEST_FILE: Final = "manifest.json"
CURRENT_FILE: Final = "current.json"
DIGEST_CHARS: Final = 16
NAMED_MAX: Final = 5
FILE_LIMIT_BYTES: Final = 16 << 20  # of a file that is read whole; the mapping itself is not
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
    """A version's manifest, as far as the loader reads it. created: the day (UTC) it was built."""

    format_version: Literal[1] = 1
    version: str = Field(pattern=MAPPING_VERSION_PATTERN)
    created: date | None = None
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


def read_manifest(root: Path, version: str | None = None) -> Manifest:
    """The manifest of a version; None: of the one that ``current.json`` names. Raises MappingError."""
    named = read_current(root) if version is None else _named(version)
    if not (root / named).is_dir():
        raise _no_version(root, named, by_current=version is None)
    manifest = _parse(Manifest, root / named / MANIFEST_FILE)
    if manifest.version != named:
        raise fault(f"the manifest in folder {named} is of version {manifest.version}")
    missing = {MAPPING_FILE, POPULAR_FILE} - manifest.files.keys()
    if missing:
        raise fault(f"the manifest of {manifest.version} does not list {', '.join(sorted(missing))}")
    return manifest


def read_current(root: Path) -> str:
    """The version that ``current.json`` names. Raises MappingError."""
    if not (root / CURRENT_FILE).exists():
        raise fault(
            f"{root / CURRENT_FILE} is not there, so no version is named; {_choice(root)}",
            "`aigq think promote VERSION` names one and serves it.",
        )
    return _parse(_Current, root / CURRENT_FILE).version


def name_current(root: Path, version: str) -> bool:
    """Name the version in ``current.json``, in one step. False: the folder lacks it, or is read-only."""
    if not has_version(root, version):
        return False
    unfinished = root / f"{CURRENT_FILE}.part"
    try:
        unfinished.write_bytes(orjson.dumps({"version": version}) + b"\n")
        unfinished.replace(root / CURRENT_FILE)
    except OSError:
        return False
    return True


def has_version(root: Path, version: str) -> bool:
    """Whether the folder holds that version, sound or not."""
    return (root / version / MANIFEST_FILE).is_file()


def version_folders(root: Path) -> list[str]:
    """Names of the version folders, newest manifest first."""
    manifests = sorted(root.glob(f"[!.]*/{MANIFEST_FILE}"), key=lambda path: (-path.stat().st_mtime, path))
    return [path.parent.name for path in manifests]


def read_whole(path: Path) -> bytes:
    """The file's bytes. Raises MappingError."""
    try:
        if path.stat().st_size > FILE_LIMIT_BYTES:
            raise fault(f"{path} has more than {FILE_LIMIT_BYTES:,} bytes")
        return path.read_bytes()
    except OSError as error:
        raise unreadable(path, error) from error


def fault(what: str, action: str = _ACTION) -> MappingError:
    """A version or a folder that is not as it must be."""
    return MappingError(f"Think mapping: {what}. Nothing was changed in Redis.", action=action)


def unreadable(path: Path, error: OSError) -> MappingError:
    """A file that cannot be read."""
    return fault(f"{path} cannot be read ({error.strerror})")


def _named(version: str) -> str:
    try:
        return _Current(version=version).version
    except ValidationError as error:
        raise fault(f"{version!r} is no name of a version") from error


def _parse(kind: type[_P], path: Path) -> _P:
    try:
        return kind.model_validate_json(read_whole(path))
    except ValidationError as error:
        raise fault(f"{path.parent.name}/{path.name}: {first_problem(error)}") from error


def _no_version(root: Path, version: str, *, by_current: bool) -> MappingError:
    who = f"{CURRENT_FILE} names {version}, which is not in {root}" if by_current else ""
    return fault(
        f"{who or f'there is no version {version} in {root}'}; {_choice(root)}",
        "Name one of these, or build one: `aigq think build`.",
    )


def _choice(root: Path) -> str:
    found = version_folders(root)
    more = f" and {len(found) - NAMED_MAX} older" if len(found) > NAMED_MAX else ""
    return f"it has {', '.join(found[:NAMED_MAX])}{more}" if found else "the folder has no version"
