"""The Redis rights that docs/operations.md lists are enough: users who have these alone do their work."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import redis
import redis.asyncio

from agents.deny import withdraw
from agents.deny.gate import DenyGate
from agents.deny.gated_writer import GatedHintWriter
from agents.deny.verdicts import verdict
from agents.deny.withdraw import Change
from agents.hints.think_source import ThinkSource
from agents.redis_alive import NOT_YET, RedisAlive
from agents.think.lifecycle import promote_version, roll_back_version, start_canary, stop_canary
from agents.think.mapping import LoadOptions, LoadOutcome, load_mapping
from agents.think.old_versions import find_leftovers, remove_leftovers
from aigq.redis_findings import look_at_redis
from aigq.think_serving import served_entry, served_state
from streams.deny_rule import DenyRule
from streams.deny_rules import DenyRules
from streams.deny_store import audit
from streams.erase_request import Cause, EraseRequest
from streams.hint_request import Behaviour, HintRequest, Version
from streams.hint_store import HintReader
from streams.hint_writer import HintWriter, PublishOutcome
from streams.metrics import Metrics
from streams.redis_keys import think_key
from streams.settings import Settings
from tests.denying import WINE
from tests.docs.pages import rows, section, text_of, ticked
from tests.mapping_folders import write_version
from tests.redis_databases import empty_database, list_of

PASSWORD = "rights"  # noqa: S105  # of the test's own users
TABLE = rows(section(text_of("docs/operations.md"), "Redis"))
RIGHTS = {row[0].split(" ")[0]: ticked(row[1]) for row in TABLE}
KEYS = {row[0].split(" ")[0]: ticked(row[2]) for row in TABLE}
ROLES = [role for role in RIGHTS if role != "everybody"]
FORBIDDEN = (
    *("FLUSHALL", "FLUSHDB", "CONFIG GET *", "CONFIG SET maxmemory 1", "KEYS *", "SHUTDOWN NOSAVE", "SAVE"),
    *("DEBUG SLEEP 1", "REPLICAOF NO ONE", "SCRIPT FLUSH", "FUNCTION FLUSH", "ACL LIST", "ACL SETUSER a"),
    *("CLIENT KILL TYPE normal", "CLIENT PAUSE 1", "CLIENT LIST", "MONITOR", "SWAPDB 0 1", "MODULE LIST"),
    *("RANDOMKEY", "RESTORE aigq:1:doctor 0 x", "DUMP aigq:1:doctor", "RENAME aigq:1:doctor aigq:1:x"),
)


@pytest.fixture
def url_of(redis_url: str) -> Iterator[dict[str, str]]:
    """Role → URL of a user with its rights alone."""
    url = empty_database(redis_url, 9)
    with redis.Redis.from_url(url) as admin:
        for role in RIGHTS:
            allowed = [f"+{name.lower().replace(' ', '|')}" for name in (*RIGHTS["everybody"], *RIGHTS[role])]
            admin.execute_command(
                "ACL", "SETUSER", f"docs-{role}", "reset", "on", f">{PASSWORD}", *KEYS[role], *allowed
            )
        yield {role: url.replace("://", f"://docs-{role}:{PASSWORD}@", 1) for role in RIGHTS}
        for role in RIGHTS:
            admin.execute_command("ACL", "DELUSER", f"docs-{role}")
        for key in admin.scan_iter("aigq:1:*"):
            admin.delete(key)


def test_a_reader_reads_with_a_readers_rights(url_of: dict[str, str]) -> None:
    with HintReader.from_url(url_of["reader"], pinned=["gift cards"]) as reader:
        assert reader.get("nobody", trigger="milk", application="a").queries == ("gift cards",)
        assert reader.lists("nobody") == ()


def test_a_writer_publishes_with_a_writers_rights(url_of: dict[str, str]) -> None:
    async def publish() -> list[PublishOutcome]:
        async with redis.asyncio.Redis.from_url(url_of["writer"]) as client:
            writer = HintWriter(client, runs_kept=3, ttl_s=60)
            return await writer.publish([list_of("u1", "milk"), list_of("u1", "milk", as_of=5)])

    assert asyncio.run(publish()) == [PublishOutcome.PUBLISHED, PublishOutcome.OUTDATED]


@pytest.mark.parametrize("role", ["writer", "loader", "reader"])
def test_a_worker_sees_with_its_rights_that_redis_answers(url_of: dict[str, str], role: str) -> None:
    async def problem() -> str:
        async with redis.asyncio.Redis.from_url(url_of[role]) as client:
            alive = RedisAlive(client, "w1", writes=role != "reader")
            task = asyncio.create_task(alive.run())
            while alive.problem(time.monotonic()) == NOT_YET:
                await asyncio.sleep(0.01)
            task.cancel()
            return alive.problem(time.monotonic())

    assert asyncio.run(problem()) == ""


def test_a_writer_erases_with_a_writers_rights(url_of: dict[str, str]) -> None:
    async def erase() -> list[int]:
        async with redis.asyncio.Redis.from_url(url_of["writer"]) as client:
            writer = HintWriter(client, runs_kept=3, ttl_s=60)
            await writer.publish([list_of("u1", "milk")])
            return await writer.erase([EraseRequest("u1", Version(9_000, 0), Cause.CONSENT, 9_000)])

    assert asyncio.run(erase()) == [1]


def test_a_writer_reads_what_short_lists_are_filled_with(url_of: dict[str, str], tmp_path: Path) -> None:
    write_version(tmp_path, {"milk": ["bread"]}, version="v1")

    async def entries() -> list[str]:
        async with redis.asyncio.Redis.from_url(url_of["loader"]) as client:
            await load_mapping(client, tmp_path)
        async with redis.asyncio.Redis.from_url(url_of["writer"]) as client:
            (found,) = await ThinkSource(client).entries([_asked("milk")])
        return [one.query for entry in found.entries for one in entry]

    assert asyncio.run(entries()) == ["bread"]


def _asked(text: str) -> HintRequest:
    """A request after one behaviour."""
    vectors = np.zeros((1, 4), np.float32)
    return HintRequest("u1", Version(0, 0), "first", 1.0, "any", (Behaviour(5, 0, text),), vectors, vectors)


def test_a_loader_loads_swaps_and_removes_with_a_loaders_rights(
    url_of: dict[str, str], tmp_path: Path
) -> None:
    async def load() -> list[LoadOutcome]:
        outcomes = []
        async with redis.asyncio.Redis.from_url(url_of["loader"]) as client:
            for version in ("v1", "v2", "v3"):  # the third removes the first
                write_version(tmp_path, {"milk": [f"bread {version}"]}, version=version)
                outcomes.append((await load_mapping(client, tmp_path)).outcome)
            outcomes.append((await load_mapping(client, tmp_path)).outcome)
        return outcomes

    assert asyncio.run(load()) == [*[LoadOutcome.LOADED] * 3, LoadOutcome.UNCHANGED]


def test_people_decide_delete_and_look_with_a_loaders_rights(url_of: dict[str, str], tmp_path: Path) -> None:
    url = url_of["loader"]
    write_version(tmp_path, {"milk": ["bread"]}, version="v2")
    write_version(tmp_path, {"milk": ["oats"]}, version="v1")

    async def decide() -> list[str]:
        async with redis.asyncio.Redis.from_url(url) as client:
            await load_mapping(client, tmp_path)
            await start_canary(client, tmp_path, "v2", 0.5, LoadOptions())
            await stop_canary(client)
            changes = [
                await promote_version(client, tmp_path, "v2", LoadOptions()),
                await roll_back_version(client, tmp_path),
            ]
            found = await find_leftovers(client, tmp_path, keep=9)
            assert (await remove_leftovers(client, tmp_path, found)).stored == ("v2",)
            await client.delete(think_key("v1", "milk"))  # what Redis lost is filled in
            assert (await load_mapping(client, tmp_path)).outcome is LoadOutcome.LOADED
        return [change.version for change in changes]

    assert asyncio.run(decide()) == ["v2", "v1"]
    settings = Settings(redis_url=url, think_dir=tmp_path)
    assert served_state(settings).stored == {"v1": "whole"}
    assert served_entry(settings, "milk").queries[0].query == "oats"


def test_a_loader_of_an_earlier_release_loads_without_the_right_to_look_at_memory(
    url_of: dict[str, str], redis_url: str, tmp_path: Path
) -> None:
    with redis.Redis.from_url(redis_url) as admin:
        admin.execute_command("ACL", "SETUSER", "docs-loader", "-info")
    write_version(tmp_path, {"milk": ["bread"]})

    async def load() -> LoadOutcome:
        async with redis.asyncio.Redis.from_url(url_of["loader"]) as client:
            return (await load_mapping(client, tmp_path)).outcome

    assert asyncio.run(load()) is LoadOutcome.LOADED


def test_who_denies_withdraws_and_takes_back_with_a_withdrawers_rights(
    url_of: dict[str, str], tmp_path: Path
) -> None:
    write_version(tmp_path, {"cheese": ["red wine", "grapes"]}, ["wine"])

    async def live() -> tuple[Change, Change]:
        async with redis.asyncio.Redis.from_url(url_of["loader"]) as client:
            await load_mapping(client, tmp_path)
        async with redis.asyncio.Redis.from_url(url_of["writer"]) as client:
            writer = GatedHintWriter(client, DenyGate(client), Metrics(), runs_kept=3, ttl_s=60)
            await writer.publish([list_of("u1", "red wine", "milk")])
        async with redis.asyncio.Redis.from_url(url_of["withdrawer"]) as client:
            added = await add([WINE], client)
            assert (await verdict(client, "red wine", DenyRules([WINE])))["gates"][-1] == "reading"
            removed = await withdraw.remove(client, added.added, by="ann", at_ms=2)
            assert len(await audit(client, 9)) == 3
        return added, removed

    async def add(rules: list[DenyRule], client: redis.asyncio.Redis) -> Change:
        await withdraw.preview(client, rules, ["fine wine"], lambda _done, _kind: None)
        return await withdraw.add(client, rules, ["fine wine"], lambda _done, _kind: None)

    added, removed = asyncio.run(live())
    assert (added.withdrawn.lists, added.withdrawn.entries, added.withdrawn.popular) == (1, 1, 2)
    assert removed.freed == 3


def test_the_doctor_looks_with_a_doctors_rights(url_of: dict[str, str]) -> None:
    findings = look_at_redis(Settings(redis_url=url_of["doctor"]))
    assert {finding.level for finding in findings} == {"ok"}


@pytest.mark.parametrize("role", ROLES)
def test_no_role_may_do_what_is_not_in_its_row(url_of: dict[str, str], redis_url: str, role: str) -> None:
    with redis.Redis.from_url(redis_url) as admin:
        for command in FORBIDDEN:
            answer = admin.execute_command("ACL", "DRYRUN", f"docs-{role}", *command.split())
            assert b"no permissions" in bytes(answer), command
    with redis.Redis.from_url(url_of[role]) as client:
        for command in ("FLUSHALL", "CONFIG GET *", "KEYS *"):
            with pytest.raises(redis.exceptions.NoPermissionError):
                client.execute_command(*command.split())


@pytest.mark.parametrize("role", ROLES)
def test_no_role_reaches_a_key_that_is_not_ours(url_of: dict[str, str], redis_url: str, role: str) -> None:
    with redis.Redis.from_url(redis_url) as admin:
        for command in ("GET", "LRANGE", "SET", "DEL"):
            if command in RIGHTS[role]:
                words = {"LRANGE": ["0", "1"], "SET": ["1"]}.get(command, [])
                answer = admin.execute_command(
                    "ACL", "DRYRUN", f"docs-{role}", command, "shop:cart:1", *words
                )
                assert b"no permissions" in bytes(answer), command
    if "EVAL" in RIGHTS[role]:
        with redis.Redis.from_url(url_of[role]) as client, pytest.raises(redis.exceptions.ResponseError):
            client.eval("return redis.call('FLUSHALL')", 0)


def test_a_reader_cannot_write_even_with_a_writers_commands(url_of: dict[str, str], redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as admin:
        admin.execute_command(
            "ACL", "SETUSER", "docs-reader", *(f"+{name.lower()}" for name in ("SET", "DEL"))
        )
    with redis.Redis.from_url(url_of["reader"]) as client:
        for key in ("aigq:1:hints:u1", "aigq:1:deny", "aigq:1:think:current"):
            with pytest.raises(redis.exceptions.NoPermissionError):
                client.set(key, "x")
            with pytest.raises(redis.exceptions.NoPermissionError):
                client.delete(key)


def test_a_writer_cannot_change_the_mapping_or_what_is_denied(url_of: dict[str, str]) -> None:
    with redis.Redis.from_url(url_of["writer"]) as client:
        for key in ("aigq:1:think:current", "aigq:1:deny", "aigq:1:{aigq:1:deny}:rules"):
            with pytest.raises(redis.exceptions.NoPermissionError):
                client.delete(key)
