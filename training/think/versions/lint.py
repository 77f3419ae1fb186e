"""Everything that could be wrong in a folder of mapping versions, all findings at once.

A loader stops at the first fault, and looks only for what would break a reader. Here each finding has a
name, the place of its first case and how often there is such a case; `problem` is what must not be served,
`warning` what somebody should look at. A million lines are read one at a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson

from agents.think.mapping_files import read_mapping
from agents.think.version_folder import (
    CURRENT_FILE,
    MANIFEST_FILE,
    has_version,
    read_current,
    read_manifest,
)
from streams.errors import MappingError
from streams.signed_manifests import Trusted, why_not_trusted
from training.datasets.whole_files import sha256_of
from training.think.versions.findings import Finding, Findings
from training.think.versions.lint_entries import lint_entries, lint_popular, sound_entries
from training.think.versions.lint_evidence import lint_evidence
from training.think.versions.mapping_version import version_of


def lint_folder(root: Path, versions: Sequence[str] = (), trusted: Trusted = None) -> list[Finding]:
    """Look at `versions`; none given: at current.json and at the one that it names.

    trusted: whose signatures are wanted; None: nobody's.
    """
    found = Findings()
    named = "" if versions else _current(root, found)
    for version in dict.fromkeys(versions or ([named] if named else [])):
        lint_version(root, version, found)
        _signature(root / version / MANIFEST_FILE, trusted, found)
    return found.all()


def lint_version(root: Path, version: str, found: Findings) -> None:
    """Look at one version folder."""
    if not has_version(root, version):
        found.add("problem", "no_manifest", version, f"there is no {version}/{MANIFEST_FILE} in {root}")
        return
    folder = root / version
    manifest = _manifest(folder)
    if manifest is None:
        what = f"{MANIFEST_FILE} is no JSON object with the facts of its files"
        found.add("problem", "manifest", version, what)
        return
    _as_a_loader(root, version, found)
    _files(folder, manifest, found)
    lint_entries(folder, found)
    lint_popular(folder, found)
    lint_evidence(folder, manifest, sound_entries(folder), found)


def _signature(manifest: Path, trusted: Trusted, found: Findings) -> None:
    if trusted is not None and manifest.is_file():
        wrong = why_not_trusted(manifest.read_bytes(), manifest, trusted)
        if wrong:
            found.add("problem", "signature", manifest.parent.name, wrong)


def _current(root: Path, found: Findings) -> str:
    try:
        named = read_current(root)
    except MappingError as error:
        found.add("problem", "current", CURRENT_FILE, error.message)
        return ""
    if not has_version(root, named):
        found.add("problem", "current", CURRENT_FILE, f"it names {named}, which is not in {root}")
        return ""
    return named


def _manifest(folder: Path) -> dict[str, Any] | None:
    try:
        manifest = orjson.loads((folder / MANIFEST_FILE).read_bytes())
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
        if path.name not in {MANIFEST_FILE, *listed}:
            found.add(
                "warning", "file_unknown", f"{folder.name}/{path.name}", "the manifest lists no such file"
            )
    present = [folder / name for name in listed if (folder / name).is_file()]
    if manifest.get("kind") == "think-mapping" and version_of(present) != folder.name:
        found.add("problem", "name", folder.name, f"the content's own name is {version_of(present)}")
