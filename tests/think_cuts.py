"""Loads of mapping versions that tests cut in the middle, and what a version that is whole looks like.

v1 is served, and v2, which is larger, is named in current.json.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
import redis
import redis.asyncio

from agents.think.mapping import LoadOptions, LoadOutcome, load_mapping
from streams.redis_keys import think_index_key, think_key, think_progress_key
from streams.think_entry import ThinkEntry
from tests.think_life import SLOW, entries_of, load, mapping_of, until_written, with_client, write_named

LINES = 1_200
OLD = ("v1 Trigger 7", "v1 beer")
NEW = ("v2 Trigger 7", "v2 beer")


def two_versions(folder: Path) -> Path:
    """A folder with v1, and v2, which is larger and which current.json names."""
    write_named(folder, "v1")
    write_named(folder, "v2", triggers=LINES)
    return folder


def serve_v1(url: str, root: Path) -> None:
    """v1 is served as followed, not by a decision: v2 comes next."""
    name(root, "v1")
    assert load(url, root).outcome is LoadOutcome.LOADED
    name(root, "v2")


def name(root: Path, version: str) -> None:
    (root / "current.json").write_text(f'{{"version":"{version}"}}')


def cut_in_the_middle(
    url: str,
    root: Path,
    cut: Callable[[], object],
    error: type[BaseException],
    options: LoadOptions = SLOW,
) -> None:
    """Run a slow load of v2 until it has written a part; then `cut`, and see it end with the error."""

    async def run(client: redis.asyncio.Redis) -> None:
        task = asyncio.create_task(load_mapping(client, root, options))
        await until_written(client, "v2", 300)
        cut()
        with pytest.raises(error):
            await task

    with_client(url, run)


def assert_whole(client: redis.Redis, version: str, triggers: int = LINES) -> None:
    """Every entry is that version's own, and nothing else is there."""
    for trigger, queries in mapping_of(version, triggers).items():
        entry = ThinkEntry.model_validate_json(client.get(think_key(version, trigger)))
        assert [one.query for one in entry.queries] == queries
    assert entries_of(client, version) == client.scard(think_index_key(version)) == triggers
    assert not client.exists(think_progress_key(version))
