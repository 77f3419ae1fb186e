"""A sweep takes denied queries out of lists, mappings and popular lists, and leaves everything else alone."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import orjson
import pytest
import redis
import redis.asyncio
from typer.testing import CliRunner

from agents.deny.sweep import Sweep
from agents.deny.values import cleaned
from agents.think.entries import Pace
from agents.think.mapping import LoadOptions, load_mapping
from aigq.main import app
from streams.deny_file import terms
from streams.deny_rule import DenyKind, made
from streams.deny_rules import DenyRules
from streams.deny_store import add_rule
from streams.errors import DenyRuleError
from streams.hint_list import HEAD, HintList
from streams.hint_writer import HintWriter, PublishOutcome
from streams.redis_keys import DENY, DENY_RULES, hints_key, popular_key, think_index_key, think_key
from tests.denying import (
    SWEEP_IN_CHILD,
    WINE,
    aigq_deny,
    denied_set,
    push,
    shown,
    stored_queries,
    swept,
    with_client,
)
from tests.mapping_folders import write_version
from tests.redis_databases import empty_database, list_of

FAST = LoadOptions(Pace(batch=5, rest=0.0))
BUNDLE = "exported_models/complete-journey"


@pytest.fixture
def url(redis_url: str) -> str:
    return empty_database(redis_url, 11)


@pytest.fixture
def client(url: str) -> Any:
    with redis.Redis.from_url(url) as client:
        yield client


def load(url: str, root: Path) -> Any:
    return with_client(url, lambda store: load_mapping(store, root, FAST))


def add(url: str, *rules: Any) -> None:
    async def live(store: redis.asyncio.Redis) -> None:
        for rule in rules:
            await add_rule(store, rule)

    with_client(url, live)


def test_it_goes_from_lists_mappings_and_popular_lists_and_nothing_else_changes(
    url: str, client: redis.Redis, tmp_path: Path
) -> None:
    write_version(tmp_path, {"cheese": ["red wine", "grapes"], "pasta": ["sauce"]}, ["box wine", "milk"])
    load(url, tmp_path)
    push(client, "u1", "red wine", "milk", "red wine vinegar", as_of=1_000)
    push(client, "u1", "bread", "Dry  WINE", as_of=2_000)
    untouched = push(client, "u2", "milk")
    client.set(popular_key("shop", "de"), orjson.dumps([{"query": "wine", "score": 1.0}, {"query": "tea"}]))
    client.set("aigq:1:hints:odd", "a string")
    client.lpush(hints_key("broken"), b"{", b'{"hints": 7}', b"null")
    add(url, WINE)
    found = swept(url, WINE)
    assert (found.lists, found.entries, found.popular, found.hints) == (2, 1, 3, 6)
    assert stored_queries(client) == {"bread", "milk", "red wine vinegar", "grapes", "sauce", "tea"}
    assert denied_set(client) == {"red wine", "dry wine", "box wine", "wine"}
    assert client.lrange(hints_key("u2"), 0, -1) == [untouched]
    assert shown(url, "u1", "cheese")[:3] == ("bread", "milk", "red wine vinegar")
    again = swept(url, WINE)
    assert (again.hints, again.denied) == (0, 0)


def test_lists_keep_their_order_version_and_life(url: str, client: redis.Redis) -> None:
    for as_of in (1_000, 2_000, 3_000):
        push(client, "u", "red wine", "milk", as_of=as_of)
    before = [HintList.from_json(value) for value in client.lrange(hints_key("u"), 0, -1)]
    swept(url, WINE)
    values = client.lrange(hints_key("u"), 0, -1)
    assert all(value.startswith(HEAD) for value in values)
    after = [HintList.from_json(value) for value in values]
    assert [one.model_copy(update={"hints": ()}) for one in after] == [
        one.model_copy(update={"hints": ()}) for one in before
    ]
    assert 0 < client.pttl(hints_key("u")) <= 600_000

    async def publish(store: redis.asyncio.Redis) -> list[PublishOutcome]:
        writer = HintWriter(store, runs_kept=3, ttl_s=60)
        return await writer.publish([list_of("u", "red wine", as_of=3_000), list_of("u", "tea", as_of=4_000)])

    assert with_client(url, publish) == [PublishOutcome.OUTDATED, PublishOutcome.PUBLISHED]
    assert shown(url, "u")[:2] == ("tea", "milk")


def test_a_value_that_changes_meanwhile_is_read_again_and_never_lost(url: str, client: redis.Redis) -> None:
    """A shop writes newer lists all the while; each of them is whole or swept, and the newest is the last."""
    users = [f"u{number}" for number in range(60)]
    for user in users:
        push(client, user, "red wine", "milk", as_of=1_000)

    async def live(store: redis.asyncio.Redis) -> Any:
        writer = HintWriter(store, runs_kept=3, ttl_s=60)

        async def write() -> None:
            for as_of in range(2_000, 2_020):
                await writer.publish(
                    [list_of(user, "red wine", f"thing {as_of}", as_of=as_of) for user in users]
                )

        _, found = await asyncio.gather(write(), Sweep(store, DenyRules([WINE]), rest=0.0).run())
        return found

    with_client(url, live)
    swept(url, WINE)
    assert "red wine" not in stored_queries(client)
    assert {shown(url, user)[0] for user in users} == {"thing 2019"}
    assert {client.llen(hints_key(user)) for user in users} == {3}


def test_a_killed_sweep_leaves_whole_values_and_can_be_run_again(url: str, client: redis.Redis) -> None:
    for number in range(300):
        push(client, f"u{number}", "red wine", "milk")
    add(url, WINE)
    command = [sys.executable, "-c", SWEEP_IN_CHILD, url]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, env=os.environ | {"PYTHONPATH": "."})
    assert child.stdout is not None
    with child:
        while int(child.stdout.readline() or b"300") < 50:
            pass
        child.send_signal(signal.SIGKILL)
    left = sum(b"red wine" in client.lindex(hints_key(f"u{number}"), 0) for number in range(300))
    assert 0 < left < 300
    assert "red wine" not in shown(url, "u0")
    told = aigq_deny(url, "sweep")
    assert told["lists"] == left
    assert stored_queries(client) == {"milk"}
    listed = aigq_deny(url, "list")
    assert (listed["version"], listed["swept"]) == (1, 1)


def test_personal_data_is_swept_out_too(url: str, client: redis.Redis) -> None:
    push(client, "u", "jo@example.org", "milk", "4111 1111 1111 1111")
    assert shown(url, "u") == ("milk",)
    assert swept(url).hints == 2
    assert stored_queries(client) == {"milk"}


def test_a_look_changes_nothing(url: str, client: redis.Redis) -> None:
    push(client, "u", "red wine", "milk")
    before = {key: client.dump(key) for key in client.keys("*")}
    told = aigq_deny(url, "add", "wine", "--dry-run", bundle=BUNDLE)
    assert (told["dry_run"], told["lists"], told["hints"], told["added"]) == (True, 1, 1, [])
    assert "red wine" in told["examples"]
    assert {key: client.dump(key) for key in client.keys("*")} == before


def test_a_mapping_is_loaded_without_what_is_denied_and_counts_it(
    url: str, client: redis.Redis, tmp_path: Path
) -> None:
    add(url, WINE)
    write_version(
        tmp_path, {"cheese": ["red wine", "grapes"], "figs": ["wine", "jo@example.org"]}, ["box wine", "tea"]
    )
    assert load(url, tmp_path).left_out == 4
    assert stored_queries(client) == {"grapes", "tea"}
    assert client.scard(think_index_key("v1")) == 2
    assert load(url, tmp_path).outcome == "unchanged"
    assert shown(url, "nobody", "cheese") == ("grapes", "tea")


def test_a_rule_that_comes_while_a_mapping_is_loaded_holds_before_it_is_served(
    url: str, client: redis.Redis, tmp_path: Path
) -> None:
    queries = {f"trigger {number}": [f"wine {number}", "bread"] for number in range(200)}
    write_version(tmp_path, queries, ["tea"])
    seen: list[int] = []

    async def live(store: redis.asyncio.Redis) -> None:
        async def deny_amid() -> None:
            while not seen or seen[-1] < 50:
                await asyncio.sleep(0)
            await add_rule(store, WINE)

        options = LoadOptions(Pace(batch=5, rest=1.0), report=lambda done, _: seen.append(done))
        await asyncio.gather(load_mapping(store, tmp_path, options), deny_amid())

    with_client(url, live)
    assert stored_queries(client) == {"bread", "tea"}
    first = orjson.loads(client.get(think_key("v1", "trigger 0")))
    assert [one["query"] for one in first["queries"]] == ["bread"]


def test_values_without_anything_denied_keep_their_very_bytes() -> None:
    rules = DenyRules(terms(["wine"]))
    spaced = b'{ "trigger": "a",  "queries": [ {"query": "milk", "x": 1.50} ] , "y": null}'
    assert cleaned(spaced, rules).value is spaced
    changed = cleaned(
        b'{"version":"v","z":[1],"hints":[{"query":"wine"},{"query":"tea","q":2}],"y":{}}', rules
    )
    assert changed.value == b'{"version":"v","z":[1],"hints":[{"query":"tea","q":2}],"y":{}}'
    assert set(changed.taken) == {"wine"}


def test_commands_add_show_test_and_remove(url: str, client: redis.Redis, tmp_path: Path) -> None:
    push(client, "u", "red wine", "wine vinegar", "milk", "moonshine")
    told = aigq_deny(
        url, "add", "wine", "--except", "wine vinegar", "--reason", "alcohol", "--by", "ann", bundle=BUNDLE
    )
    (rule_id,) = told["added"]
    assert told["rules"][0]["by"] == "ann"
    assert {"red wine", "box wine"} <= denied_set(client)  # the bundle's queries, too
    assert stored_queries(client) == {"wine vinegar", "milk", "moonshine"}
    assert aigq_deny(url, "add", "wine", "--except", "wine vinegar")["there"] == [rule_id]
    words = tmp_path / "words.txt"
    words.write_text("moonshine\n# nothing\n")
    aigq_deny(url, "add", "--file", str(words), "--kind", "normalised", "--reason", "no_results")
    tested = aigq_deny(url, "test", "red wine", "wine vinegar", "Moonshine", "jo@example.org")["queries"]
    assert [[rule["text"] for rule in one["rules"]] for one in tested] == [["wine"], [], ["moonshine"], []]
    everywhere = ["training", "publishing", "reading"]
    assert [one["gates"] for one in tested] == [everywhere, [], everywhere, everywhere]
    out = tmp_path / "rules.jsonl"
    listed = aigq_deny(url, "list", "--out", str(out))
    assert [rule["reason"] for rule in listed["rules"]] == ["alcohol", "no_results"]
    ids = [rule["id"] for rule in listed["rules"]]
    assert aigq_deny(url, "remove", *ids)["removed"] == ids
    assert denied_set(client) == set()
    assert aigq_deny(url, "remove", ids[0], exit_code=1)["unknown"] == [ids[0]]
    assert aigq_deny(url, "add", "--file", str(out))["added"] == ids
    actions = [one["action"] for one in aigq_deny(url, "audit")["records"]]
    assert actions == [
        *("added", "swept", "swept", "added", "swept"),
        *("removed", "removed", "added", "added", "swept"),
    ]


def test_a_rule_that_denies_half_the_shop_must_be_meant(url: str, client: redis.Redis) -> None:
    with pytest.raises(DenyRuleError, match=r"denies .* of the bundle's"):
        aigq_deny(url, "add", "[aeo]", "--kind", "pattern", bundle=BUNDLE)
    assert not client.exists(DENY)


@pytest.mark.parametrize("kind", list(DenyKind))
def test_no_reader_and_no_store_keeps_what_a_rule_of_any_kind_denies(
    url: str, client: redis.Redis, kind: DenyKind
) -> None:
    push(client, "u", "evil thing", "milk")
    aigq_deny(url, "add", "evil thing", "--kind", str(kind))
    assert shown(url, "u") == ("milk",)
    assert "evil thing" not in stored_queries(client)
    assert made(kind, "evil thing").id == aigq_deny(url, "list")["rules"][0]["id"]


def test_a_removal_that_was_cut_off_is_finished_by_a_sweep(url: str, client: redis.Redis) -> None:
    push(client, "u", "milk")
    told = aigq_deny(url, "add", "wine", bundle=BUNDLE)
    assert "box wine" in denied_set(client)
    client.hdel(DENY_RULES, told["added"][0])  # the first step of a removal, and no other
    aigq_deny(url, "sweep")
    assert denied_set(client) == set()


def test_a_terminal_is_not_moved_by_what_people_deny(url: str, client: redis.Redis) -> None:
    push(client, "u", "\x1b[2Jevil", "milk")
    environ = {"AIGQ_REDIS_URL": url, "AIGQ_BUNDLE_DIR": "/nowhere", "COLUMNS": "200"}
    for arguments in (
        ["add", "\x1b[2Jevil", "--reason", "\x1b]0;title\x07", "--by", "\u202eann", "--dry-run"],
        ["add", "\x1b[2Jevil", "--reason", "\x1b]0;title\x07", "--by", "\u202eann"],
        ["list"],
        ["test", "\x1b[2Jevil", "[bold]x[/bold]"],
        ["audit"],
    ):
        done = CliRunner().invoke(app, ["deny", *arguments], env=environ, catch_exceptions=False)
        assert done.exit_code == 0, done.output
        assert not {"\x1b", "\x07", "\u202e"} & set(done.output)
    assert "evil" not in " ".join(stored_queries(client))


def test_a_mistake_is_explained_and_changes_nothing(url: str, client: redis.Redis, tmp_path: Path) -> None:
    for arguments in (["add", "a*", "--kind", "pattern"], ["add", "--file", str(tmp_path / "none")]):
        with pytest.raises(DenyRuleError, match=r"No rule was added\."):
            aigq_deny(url, *arguments)
    aigq_deny_usage = CliRunner().invoke(app, ["deny", "add"], env={"AIGQ_REDIS_URL": url})
    assert aigq_deny_usage.exit_code == 2
    assert client.keys("aigq:1:*deny*") == []
