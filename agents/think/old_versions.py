"""Versions that nobody needs any more, in Redis and in a folder: what they are, and how they go.

Needed are: the version in use, the one on trial, the one before; in a folder also what ``current.json``
names and the newest few. Nothing is judged by its age alone.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import redis.asyncio

from agents.think.choices import protected
from agents.think.entries import LOCK_S, Pace, leased, remove_version
from agents.think.mapping_files import read_current
from agents.think.stored import known_versions, read_pointer
from streams.errors import MappingError
from streams.redis_errors import store_errors

_DOING: Final = "Old mapping versions were not looked for"
_REMOVING: Final = "Not all old mapping versions were deleted; those that are served stay"


@dataclass(frozen=True, slots=True)
class Leftovers:
    """What may go: names of versions in Redis, and in the folder. needed: what may not, and was asked."""

    stored: tuple[str, ...]
    folders: tuple[str, ...]
    needed: tuple[str, ...]


async def find_leftovers(client: redis.asyncio.Redis, root: Path, keep: int) -> Leftovers:
    """Versions that may go; of the folder's, the newest `keep` stay as well. Raises StoreError.

    Redis must answer: without it nobody knows which folders are needed.
    """
    with store_errors(_DOING):
        needed = protected(await read_pointer(client))
        stored = tuple(sorted(set(await known_versions(client)) - needed))
    newest = version_folders(root)
    wanted = {*needed, *newest[:keep], *([read_current(root)] if (root / "current.json").exists() else [])}
    return Leftovers(stored, tuple(name for name in newest if name not in wanted), tuple(sorted(needed)))


async def remove_leftovers(client: redis.asyncio.Redis, root: Path, found: Leftovers) -> Leftovers:
    """Delete them; returns what was deleted. What somebody began to serve meanwhile stays, here and there."""
    with store_errors(_REMOVING):
        async with leased(client, LOCK_S) as lease:
            if lease is None:
                raise MappingError(
                    "A loader is at work. Nothing was deleted.", action="Try again when it is done."
                )
            stored = [one for one in found.stored if await remove_version(client, one, lease, Pace())]
        needed = protected(await read_pointer(client))
    folders = [name for name in found.folders if name not in needed]
    _remove_folders(root, folders)
    return Leftovers(tuple(stored), tuple(folders), tuple(sorted(needed)))


def version_folders(root: Path) -> list[str]:
    """Names of the version folders, newest manifest first."""
    manifests = sorted(root.glob("*/manifest.json"), key=lambda path: (-path.stat().st_mtime, path))
    return [path.parent.name for path in manifests]


def _remove_folders(root: Path, names: Iterable[str]) -> None:
    """Each is renamed first, so that nobody finds half a version."""
    for name in names:
        gone = root / f".{name}.gone"
        (root / name).rename(gone)
        shutil.rmtree(gone)
