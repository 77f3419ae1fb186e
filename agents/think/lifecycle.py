"""What people do with mapping versions: try, promote, roll back. Each is one swap of the pointer in Redis.

A version is brought to Redis as a whole before it is tried or promoted. What is decided is also written to
the folder's ``current.json`` where that can be: a Redis that lost everything comes back with it. The rule
does not rest on it, though: Redis itself remembers what was decided against (`agents.think.choices`), since
each worker may have a folder of its own, read-only and of yesterday.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import redis.asyncio

from agents.think.choices import Stored, end_trial, promote, roll_back, try_out, version_before
from agents.think.mapping import LoadOptions, LoadOutcome, stage_mapping
from agents.think.stored import read_pointer, read_stored, swap
from agents.think.version_folder import name_current, read_manifest
from streams.errors import MappingError
from streams.redis_errors import store_errors
from streams.think_entry import ThinkPointer

_DOING: Final = "The Think mapping's pointer was not changed"


@dataclass(frozen=True, slots=True)
class Change:
    """What is served after a decision.

    version: in use. before: in use until now. previous: what a rollback finds. canary, share: on trial.
    held: what loaders follow no more. named: whether the folder's current.json names `version` now.
    """

    version: str
    before: str
    previous: str | None = None
    canary: str | None = None
    share: float = 0.0
    held: tuple[str, ...] = ()
    named: bool = False


async def start_canary(
    client: redis.asyncio.Redis, folder: Path, version: str, share: float, options: LoadOptions
) -> Change:
    """Show `version` to a stable `share` of the users, 0 to 1. Raises MappingError, StoreError."""
    with store_errors(_DOING):
        before = await read_pointer(client)
    try_out(before, Stored(version, "", 0), share)  # what makes no sense is refused before a long load
    stored = await _staged(client, folder, version, options)
    with store_errors(_DOING):
        before = await read_pointer(client)
        after = await swap(client, lambda pointer: try_out(pointer, stored, share))
    return _change(before, after)


async def stop_canary(client: redis.asyncio.Redis) -> Change:
    """Show everybody the version in use again. Raises MappingError, StoreError."""
    with store_errors(_DOING):
        before = await read_pointer(client)
        after = await swap(client, end_trial)
    return _change(before, after)


async def promote_version(
    client: redis.asyncio.Redis, folder: Path, version: str | None, options: LoadOptions
) -> Change:
    """Serve `version` to everybody; None: the one on trial. Raises MappingError, StoreError."""
    with store_errors(_DOING):
        before = await read_pointer(client)
    chosen = version or _on_trial(before)
    stored = await _staged(client, folder, chosen, options)
    with store_errors(_DOING):
        after = await swap(client, lambda pointer: promote(pointer, stored))
    return _change(before, after, named=name_current(folder, after.version))


async def roll_back_version(client: redis.asyncio.Redis, folder: Path) -> Change:
    """Serve the version before to everybody, and end a trial. Raises MappingError, StoreError."""
    with store_errors(_DOING):
        before = await read_pointer(client)
        stored = await read_stored(client, version_before(before))
        if stored is None:
            raise _gone(version_before(before))
        after = await swap(client, lambda pointer: _checked_roll_back(pointer, stored))
    return _change(before, after, named=name_current(folder, after.version))


def _checked_roll_back(pointer: ThinkPointer | None, before: Stored) -> ThinkPointer:
    if version_before(pointer) != before.version:
        raise MappingError(
            "Somebody else changed the mapping's pointer at the same moment. Theirs stands.",
            action="`aigq think show` says what is served now.",
        )
    return roll_back(pointer, before)


async def _staged(client: redis.asyncio.Redis, folder: Path, version: str, options: LoadOptions) -> Stored:
    """The version, brought to Redis if it is not there; a version that is there needs no folder."""
    with store_errors(_DOING):
        stored = await read_stored(client, version)
    if stored is not None and not (folder / version).is_dir():
        return stored
    manifest = read_manifest(folder, version)
    report = await stage_mapping(client, folder, version, options)
    if report.outcome is LoadOutcome.BUSY:
        raise MappingError(
            f"Another loader is at work, so {version} could not be brought to Redis. Nothing was changed.",
            action="Try again when it is done; a rollback need not wait.",
        )
    return Stored(version, manifest.digest, manifest.triggers)


def _on_trial(pointer: ThinkPointer | None) -> str:
    if pointer is None or pointer.canary is None:
        raise MappingError(
            "There is no canary to promote. Nothing was changed.", action="Name the version to promote."
        )
    return pointer.canary.version


def _gone(version: str) -> MappingError:
    return MappingError(
        f"Mapping {version} is in Redis no more, so there is nothing to go back to. Nothing was changed.",
        action="Promote a version that you have in a folder: `aigq think promote VERSION`.",
    )


def _change(before: ThinkPointer | None, after: ThinkPointer, *, named: bool = False) -> Change:
    canary = after.canary
    return Change(
        version=after.version,
        before=before.version if before else "",
        previous=after.previous,
        canary=canary.version if canary else None,
        share=canary.share if canary else 0.0,
        held=after.held,
        named=named,
    )
