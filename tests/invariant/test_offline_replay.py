from __future__ import annotations

import random
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest

from agents.hints.bundle import Bundle, load_bundle
from agents.offline_replay import OfflineProgress, OfflineResult, offline_replay, write_result
from agents.replay_compare import HINTS, LIST_MISSING, NO_LIST_EXPECTED, compare, read_result
from agents.session.refresh import RefreshPolicy
from agents.session.step import Rules
from streams.deny_rule import DenyKind, made
from streams.deny_rules import DenyRules
from streams.errors import DatasetError, ReplayError
from streams.hint_list import HintList
from streams.settings import Settings, load_settings
from tests.logs import CLEAN, FOREIGN, write_jsonl
from tests.support import NOON_MS, event_json

NOW_MS = 1_800_000_000_000
WORDS = ("milk", "bread", "soda", "cat food", "frozen pizza", "bananas", "beer", "diapers", "Brötchen", "奶")


@pytest.fixture(scope="module")
def settings() -> Settings:
    return load_settings({})


@pytest.fixture(scope="module")
def bundle(settings: Settings) -> Bundle:
    return load_bundle(settings.bundle_dir)


@pytest.fixture(scope="module")
def rules(bundle: Bundle) -> Rules:
    return Rules(bundle.encoder, bundle.name)


@pytest.fixture
def replayed(settings: Settings, bundle: Bundle, rules: Rules) -> Any:
    def run(path: Path, **options: Any) -> OfflineResult:
        chosen = {"settings": settings, "rules": rules, "now_ms": NOW_MS} | options
        return offline_replay(path, chosen.pop("settings"), chosen.pop("rules"), bundle, **chosen)

    return run


def sessions(users: int = 12, each: int = 40, seed: int = 3) -> list[dict[str, Any]]:
    """Visits of several users at once, in time order, every event at a time of its own."""
    chance = random.Random(seed)
    return [
        event_json(
            action=chance.choice(("view", "click", "search", "add_to_cart", "purchase")),
            text=chance.choice(WORDS),
            at_ms=NOON_MS + number * 3_000 + chance.randrange(3_000),
            user=f"u{chance.randrange(users)}",
            event_id=f"e{number}",
        )
        for number in range(users * each)
    ]


def written(result: OfflineResult, path: Path) -> bytes:
    write_result(result, path)
    return path.read_bytes()


def lists_of(result: OfflineResult) -> list[dict[str, Any]]:
    """The lists without what depends on offsets."""
    return [entry.model_dump(exclude={"version", "list_id"}) for entry in result.lists]


@pytest.mark.parametrize("log", [CLEAN, FOREIGN])
def test_a_log_replayed_twice_gives_the_same_bytes(replayed: Any, log: Path, tmp_path: Path) -> None:
    first = written(replayed(log, trace=tmp_path / "t1"), tmp_path / "one")
    time.sleep(0.005)  # a wall clock in the result would have moved
    second = written(replayed(log, trace=tmp_path / "t2"), tmp_path / "two")
    assert first == second
    assert (tmp_path / "t1").read_bytes() == (tmp_path / "t2").read_bytes()
    assert compare(replayed(log), tmp_path / "one") == []


def test_sessions_replayed_twice_give_the_same_bytes(replayed: Any, tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "log", sessions())
    first, second = (written(replayed(path), tmp_path / name) for name in ("one", "two"))
    assert first == second
    assert len(first.splitlines()) == 12


def test_a_foreign_shop_gets_lists_for_all_its_users(replayed: Any) -> None:
    result = replayed(FOREIGN)
    assert result.dead_letters == {
        "bad_timestamp": 1,
        "no_person": 1,
        "not_json": 2,
        "search_without_query": 1,
        "timestamp_too_old": 1,
    }
    assert sum(result.outcomes.values()) == result.events == 59
    assert result.outcomes["duplicate"] == result.outcomes["withdrawn"] == 1
    assert [entry.user for entry in result.lists] == sorted(entry.user for entry in result.lists)
    assert (len(result.lists), result.users) == (13, 14)  # who withdrew consent has no list any more
    assert all(entry.hints for entry in result.lists)
    by_user = {entry.user: entry for entry in result.lists}
    assert by_user["1002"].trigger == "耳机收纳盒"
    assert by_user["1001"].trigger == "Tischdecke Leinen"


def test_the_order_of_lines_does_not_matter_when_times_differ(replayed: Any, tmp_path: Path) -> None:
    rows = sessions()
    shuffled = random.Random(1).sample(rows, len(rows))
    in_order = replayed(write_jsonl(tmp_path / "one", rows))
    sorted_here = replayed(write_jsonl(tmp_path / "two", shuffled))
    assert (in_order.reordered, sorted_here.reordered) == (False, True)
    assert sorted_here.lists == in_order.lists


def test_lists_do_not_depend_on_batches_or_partitions(
    replayed: Any, settings: Settings, tmp_path: Path
) -> None:
    path = write_jsonl(tmp_path / "log", sessions())
    usual = replayed(path)
    one_by_one = replayed(path, settings=settings.model_copy(update={"batch_limit": 1}))
    one_partition = replayed(path, settings=settings.model_copy(update={"partitions": 1}))
    assert one_by_one.lists == usual.lists
    assert lists_of(one_partition) == lists_of(usual)


def test_a_duplicate_changes_no_list(replayed: Any, tmp_path: Path) -> None:
    rows = sessions()
    doubled = [row for row in rows for _ in range(2)]
    once = replayed(write_jsonl(tmp_path / "one", rows))
    twice = replayed(write_jsonl(tmp_path / "two", doubled))
    assert twice.outcomes["duplicate"] == len(rows)
    assert lists_of(twice) == lists_of(once)


def test_a_refresh_that_a_cooldown_holds_back_is_settled_at_the_end(replayed: Any, tmp_path: Path) -> None:
    rows = [event_json(at_ms=NOON_MS), event_json(text="bread", at_ms=NOON_MS + 5_000)]
    trace = tmp_path / "trace"
    result = replayed(write_jsonl(tmp_path / "log", rows), trace=trace)
    [entry] = result.lists
    assert (entry.as_of, entry.generated_at) == (NOON_MS + 30_000, NOON_MS + 30_000)
    assert (entry.reason, entry.trigger) == ("purchase", "bread")
    assert result.decisions == {"cooldown": 1, "first": 1, "purchase": 1}
    outcomes = [orjson.loads(line)["action"] for line in trace.read_bytes().splitlines()]
    assert outcomes == ["purchase", "purchase", "cooldown_over"]


def test_only_the_asked_range_is_applied(replayed: Any, tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "log", sessions())
    result = replayed(path, start_ms=NOON_MS + 300_000, end_ms=NOON_MS + 600_000)
    assert (result.events, result.skipped) == (100, 380)
    assert all(NOON_MS + 300_000 <= entry.as_of < NOON_MS + 630_000 for entry in result.lists)


def test_a_changed_rule_is_shown_by_user_with_what_and_why(
    replayed: Any, rules: Rules, tmp_path: Path
) -> None:
    path = write_jsonl(tmp_path / "log", sessions())
    traces = {"expect_trace": tmp_path / "before", "trace": tmp_path / "after"}
    write_result(replayed(path, trace=traces["expect_trace"]), tmp_path / "expected")
    slower = replace(rules, refresh=RefreshPolicy(cooldown_ms=120_000))
    changed = replayed(path, rules=slower, trace=traces["trace"])
    differences = compare(changed, tmp_path / "expected", **traces)
    expected, got = read_result(tmp_path / "expected"), {entry.user: entry for entry in changed.lists}
    assert [d.user for d in differences] == sorted(user for user in expected if expected[user] != got[user])
    by_hints = next(entry for entry in differences if entry.kind == HINTS)
    assert by_hints.expected != by_hints.got
    assert "hints differ at " in by_hints.why
    assert " -> cooldown (drift " in by_hints.why


def test_deny_rules_hold_offline_and_every_other_hint_keeps_its_place(replayed: Any, tmp_path: Path) -> None:
    log = write_jsonl(tmp_path / "log.jsonl", sessions())
    mapping = Path("exported_models/think-complete-journey")
    free = replayed(log, mapping=mapping)
    query = free.lists[0].hints[0].query
    denied = DenyRules([made(DenyKind.NORMALISED, query)])
    held = replayed(log, mapping=mapping, denied=denied)
    assert held.dropped["denied"] >= sum(query in _queries(one) for one in free.lists) > 0
    for before, after in zip(free.lists, held.lists, strict=True):
        assert query not in _queries(after)
        if query not in _queries(before):
            assert after == before


def _queries(one: HintList) -> list[str]:
    return [hint.query for hint in one.hints]


def test_lists_that_came_or_went_are_shown(replayed: Any, tmp_path: Path) -> None:
    rows = [event_json(user="anna"), event_json(user="ben", at_ms=NOON_MS + 1)]
    only_anna, only_ben = (write_jsonl(tmp_path / row["user_id"], [row]) for row in rows)
    write_result(replayed(only_anna), tmp_path / "expected")
    missing, new = compare(replayed(only_ben), tmp_path / "expected")
    assert (missing.user, missing.kind, missing.got) == ("anna", LIST_MISSING, ())
    assert (new.user, new.kind, new.expected) == ("ben", NO_LIST_EXPECTED, ())


def test_a_log_without_a_usable_event_gives_no_list_and_compares(replayed: Any, tmp_path: Path) -> None:
    result = replayed(write_jsonl(tmp_path / "log", [b"bad", event_json(action="teleport")]))
    assert written(result, tmp_path / "out") == b""
    assert compare(result, tmp_path / "out") == []


def test_what_is_no_result_is_refused(replayed: Any, tmp_path: Path) -> None:
    result = replayed(CLEAN)
    with pytest.raises(ReplayError, match=r"clean-shop\.jsonl, line 1"):
        compare(result, CLEAN)
    with pytest.raises(DatasetError, match="There is no log"):
        compare(result, tmp_path / "missing")


def test_progress_tells_of_events_then_lists(replayed: Any, tmp_path: Path) -> None:
    told: list[OfflineProgress] = []
    replayed(write_jsonl(tmp_path / "log", sessions()), progress=told.append)
    assert told[0] == OfflineProgress("events", 0, 480)
    assert told[-1] == OfflineProgress("lists", 12, 12)
