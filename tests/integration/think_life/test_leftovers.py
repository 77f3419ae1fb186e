"""Old mapping versions go when they are told to, and what somebody begins to serve meanwhile stays."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
import redis
import redis.asyncio
from typer.testing import CliRunner

from agents.think.lifecycle import start_canary
from agents.think.mapping import LoadOutcome, load_mapping
from agents.think.old_versions import find_leftovers, remove_leftovers
from aigq.main import app
from streams.errors import MappingError
from tests.think_life import (
    FAST,
    SLOW,
    aigq,
    entries_of,
    pointer_of,
    shown,
    until_written,
    with_client,
    write_named,
)


def folders(root: Path) -> list[str]:
    return sorted(path.name for path in root.iterdir() if path.is_dir())


def test_gc_lists_what_nobody_needs_and_deletes_it_only_when_told(
    url: str, served: Path, client: redis.Redis
) -> None:
    for version in ("v3", "v4", "v5"):
        write_named(served, version)
    (served / "current.json").write_text('{"version":"v5"}')
    aigq(url, served, "load", "--version", "v3")
    aigq(url, served, "promote", "v2")
    aigq(url, served, "canary", "v4")
    (served / "current.json").write_text('{"version":"v5"}')
    listed = aigq(url, served, "gc", "--keep", "0")
    assert (listed["deleted"], listed["stored"], listed["folders"]) == (False, ["v3"], ["v3"])
    assert listed["kept"] == {
        "v1": "a rollback finds it",
        "v2": "in use",
        "v4": "on trial",
        "v5": "named by current.json",
    }
    assert (entries_of(client, "v3"), (served / "v3").is_dir()) == (250, True)
    assert aigq(url, served, "gc", "--keep", "9")["folders"] == []
    assert aigq(url, served, "gc", "--keep", "0", "--yes")["stored"] == ["v3"]
    assert [entries_of(client, f"v{number}") for number in (1, 2, 3, 4)] == [250, 250, 0, 250]
    assert folders(served) == ["v1", "v2", "v4", "v5"]
    assert shown(url)[0] == "v2 Trigger 7"


def test_show_tells_what_is_served_and_a_missing_trigger(url: str, served: Path) -> None:
    aigq(url, served, "promote", "v2")
    state = aigq(url, served, "show")
    assert (state["pointer"]["version"], state["named"]) == ("v2", "v2")
    assert state["stored"] == {"v1": "whole", "v2": "whole"}
    entry = aigq(url, served, "show", "TRIGGER 7")
    assert (entry["version"], entry["queries"][0]["query"]) == ("v2", "v2 Trigger 7")
    assert aigq(url, served, "show", "trigger 7", "--version", "v1")["queries"][0]["query"] == "v1 Trigger 7"
    environ = {"AIGQ_REDIS_URL": url, "AIGQ_THINK_DIR": str(served)}
    assert CliRunner().invoke(app, ["think", "show", "no such"], env=environ).exit_code == 1


def test_a_canary_that_starts_between_look_and_deletion_keeps_its_version(
    url: str, served: Path, client: redis.Redis
) -> None:
    aigq(url, served, "load", "--version", "v2")

    async def between(other: redis.asyncio.Redis) -> None:
        found = await find_leftovers(other, served, keep=0)
        assert (found.stored, found.folders) == (("v2",), ("v2",))
        await start_canary(other, served, "v2", 0.5, FAST)
        done = await remove_leftovers(other, served, found)
        assert (done.stored, done.folders, done.kept["v2"]) == ((), (), "on trial")

    with_client(url, between)
    assert entries_of(client, "v2") == 250
    assert folders(served) == ["v1", "v2"]


def test_a_canary_that_starts_while_its_version_is_deleted_is_whole_or_refused(
    url: str, served: Path, client: redis.Redis
) -> None:
    """Both at once, many times: whoever is first wins, and nobody is pointed to half a version."""
    refused = 0

    async def both(other: redis.asyncio.Redis) -> None:
        found = await find_leftovers(other, served, keep=9)
        started, _ = await asyncio.gather(
            start_canary(other, served, "v2", 0.5, FAST),
            remove_leftovers(other, served, found),
            return_exceptions=True,
        )
        if isinstance(started, MappingError):
            raise started

    for _ in range(8):
        aigq(url, served, "load", "--version", "v2")
        try:
            with_client(url, both)
        except MappingError:
            refused += 1
        pointer = pointer_of(client)
        if pointer.canary is not None:
            assert entries_of(client, "v2") == 250
            aigq(url, served, "canary", "--stop")
        else:
            assert refused
        assert shown(url)[0] == "v1 Trigger 7"


def test_nothing_is_deleted_while_a_loader_is_at_work(url: str, served: Path) -> None:
    aigq(url, served, "load", "--version", "v2")
    write_named(served, "v3")

    async def meanwhile(other: redis.asyncio.Redis) -> None:
        task = asyncio.create_task(load_mapping(other, served, SLOW))
        await until_written(other, "v3")
        found = await find_leftovers(other, served, keep=0)
        assert "v3" in found.stored  # not whole yet, so nobody points to it
        with pytest.raises(MappingError, match="A loader is at work"):
            await remove_leftovers(other, served, found)
        assert (await task).outcome is LoadOutcome.LOADED

    with_client(url, meanwhile)
    assert folders(served) == ["v1", "v2", "v3"]


def test_what_a_crash_left_of_a_deletion_is_no_version_and_goes_with_the_next(url: str, served: Path) -> None:
    left = served / ".v2.gone"
    left.mkdir()
    (left / "manifest.json").write_text("{}")
    assert aigq(url, served, "gc", "--keep", "0")["folders"] == ["v2"]
    aigq(url, served, "gc", "--keep", "0", "--yes")
    assert folders(served) == ["v1"]
