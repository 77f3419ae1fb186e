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
from agents.think.entries import Pace, remove_version
from agents.think.lease import LOCK_S, leased
from agents.think.stored import known_versions, read_pointer
from agents.think.version_folder import CURRENT_FILE, read_current, version_folders
from streams.errors import MappingError
from streams.redis_errors import store_errors
from streams.think_entry import ThinkPointer

_DOING: Final = "Old mapping versions were not looked for"
_REMOVING: Final = "Not all old mapping versions were deleted; those that are served stay"


@dataclass(frozen=True, slots=True)
class Leftovers:
    """What may go: names of versions in Redis, and in the folder. kept: version → why it may not."""

    stored: tuple[str, ...]
    folders: tuple[str, ...]
    kept: dict[str, str]


async def find_leftovers(client: redis.asyncio.Redis, root: Path, keep: int) -> Leftovers:
    """Versions that may go; of the folder's, the newest `keep` stay as well. Raises StoreError.

    Redis must answer: without it nobody knows which folders are needed.
    """
    with store_errors(_DOING):
        pointer = await read_pointer(client)
        stored = sorted(set(await known_versions(client)) - protected(pointer))
    newest = version_folders(root)
    kept = dict.fromkeys(newest[:keep], "among the newest") | _reasons(pointer, root)
    return Leftovers(tuple(stored), tuple(name for name in newest if name not in kept), kept)


async def remove_leftovers(client: redis.asyncio.Redis, root: Path, found: Leftovers) -> Leftovers:
    """Delete them; returns what was deleted. What somebody began to serve meanwhile stays, here and there.

    Raises MappingError (a loader is at work, a folder cannot be deleted), StoreError.
    """
    with store_errors(_REMOVING):
        async with leased(client, LOCK_S) as lease:
            if lease is None:
                raise MappingError(
                    "A loader is at work. Nothing was deleted.", action="Try again when it is done."
                )
            stored = [one for one in found.stored if await remove_version(client, one, lease, Pace())]
            needed = _reasons(await read_pointer(client), root)
            folders = [name for name in found.folders if name not in needed]
            _remove_folders(root, folders)
    return Leftovers(tuple(stored), tuple(folders), found.kept | needed)


def _reasons(pointer: ThinkPointer | None, root: Path) -> dict[str, str]:
    """Version → why it is needed; what counts most last."""
    found: dict[str, str] = {}
    if (root / CURRENT_FILE).exists():
        found[read_current(root)] = f"named by {CURRENT_FILE}"
    if pointer is None:
        return found
    if pointer.previous:
        found[pointer.previous] = "a rollback finds it"
    if pointer.canary:
        found[pointer.canary.version] = "on trial"
    return found | {pointer.version: "in use"}


def _remove_folders(root: Path, names: Iterable[str]) -> None:
    """Each is renamed first, so that nobody finds half a version."""
    for name in names:
        gone = root / f".{name}.gone"
        try:
            shutil.rmtree(gone, ignore_errors=True)  # what a crash left
            (root / name).rename(gone)
            shutil.rmtree(gone)
        except OSError as error:
            raise MappingError(
                f"{root / name} cannot be deleted ({error.strerror}). What nobody needs in Redis is deleted; "
                "no folder that is needed was touched.",
                action="Give this user the right to write there, or run it where the versions are built.",
            ) from error
