"""One truth for short lists, too: what the live agent fills up from Redis is what a replay fills up."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import redis.asyncio

from agents.hints.bundle import Bundle, load_bundle
from agents.hints.generation import Generation
from agents.hints.think_source import ThinkSource
from agents.offline_replay import OfflineResult, offline_replay, write_result
from agents.offline_sessions import OfflineSessions
from agents.session.step import Rules
from agents.think.mapping import load_mapping
from streams.hint_list import HintList
from streams.hint_request import HintRequest, decode_request
from streams.metrics import Metrics
from streams.record_log import local_log
from streams.replay_order import ordered_records, scan_log
from streams.settings import Settings, load_settings
from streams.topics import Topics
from tests.logs import CLEAN
from tests.mapping_folders import write_version
from tests.redis_databases import empty_database

NOW_MS = 1_800_000_000_000
MORE = 6  # hints that every list lacks, since the bundle says so


@pytest.fixture(scope="module")
def settings() -> Settings:
    return load_settings({})


@pytest.fixture(scope="module")
def bundle(settings: Settings) -> Bundle:
    """A bundle that promises more hints than its graph writes: each list is short."""
    whole = load_bundle(settings.bundle_dir)
    shapes = whole.manifest.shapes.model_copy(update={"K": whole.manifest.shapes.K + MORE})
    return replace(whole, manifest=whole.manifest.model_copy(update={"shapes": shapes}))


@pytest.fixture(scope="module")
def requests(settings: Settings, bundle: Bundle) -> list[HintRequest]:
    """Each user's newest request of the log."""
    sessions = OfflineSessions(
        Rules(bundle.encoder, bundle.name), Topics.of(settings).events, settings.partitions, None
    )
    with local_log(CLEAN) as log:
        for record in ordered_records(log, scan_log(log, NOW_MS), NOW_MS):
            sessions.apply(record)
    sessions.settle_owed()
    return [decode_request(sessions.requests[user][1]) for user in sorted(sessions.requests)]


@pytest.fixture
def folder(tmp_path: Path, requests: list[HintRequest]) -> Path:
    """A mapping with entries for every second trigger of the log."""
    triggers = sorted({trigger for request in requests for trigger in request.triggers})
    entries = {
        trigger: [f"{name} with {trigger}" for name in ("lid", "bag", "sauce", "bread")]
        for trigger in triggers[::2]
    }
    write_version(tmp_path / "think", entries)
    return tmp_path / "think"


@pytest.fixture
def replayed(settings: Settings, bundle: Bundle) -> Any:
    def run(mapping: Path | None = None) -> OfflineResult:
        rules = Rules(bundle.encoder, bundle.name)
        return offline_replay(CLEAN, settings, rules, bundle, now_ms=NOW_MS, mapping=mapping)

    return run


def live(url: str, bundle: Bundle, requests: list[HintRequest], folder: Path | None) -> list[HintList]:
    """What the live agent composes, with the mapping in `folder` loaded into Redis."""

    async def compose() -> list[HintList]:
        async with redis.asyncio.Redis.from_url(url) as client:
            if folder is not None:
                await load_mapping(client, folder)
            generation = Generation(bundle, Metrics(), ThinkSource(client))
            return [one.hints for one in await generation.lists(requests)]

    return asyncio.run(compose())


def without_times(lists: Any) -> list[HintList]:
    return [one.model_copy(update={"generated_at": 0}) for one in lists]


def test_a_replay_with_the_mapping_s_folder_fills_up_what_the_live_agent_fills_up(
    redis_url: str, bundle: Bundle, requests: list[HintRequest], folder: Path, replayed: Any
) -> None:
    url = empty_database(redis_url, 8)
    found = live(url, bundle, requests, folder)
    assert without_times(found) == without_times(replayed(folder).lists)
    filled = [hint for one in found for hint in one.hints if hint.source == "think"]
    assert len(filled) >= 10
    assert {hint.mapping for hint in filled} == {"v1"}
    assert all(hint.query.endswith(f"with {hint.why}") for hint in filled)


def test_without_a_mapping_both_leave_lists_short(
    redis_url: str, bundle: Bundle, requests: list[HintRequest], replayed: Any
) -> None:
    url = empty_database(redis_url, 8)
    found = live(url, bundle, requests, None)
    assert without_times(found) == without_times(replayed().lists)
    assert {hint.source for one in found for hint in one.hints} == {"direct"}
    assert {one.mapping for one in found} == {None}


def test_redis_being_away_leaves_lists_short(
    bundle: Bundle, requests: list[HintRequest], replayed: Any
) -> None:
    found = live("redis://127.0.0.1:1/0", bundle, requests, None)
    assert without_times(found) == without_times(replayed().lists)


def test_the_same_log_and_mapping_give_the_same_bytes(replayed: Any, folder: Path, tmp_path: Path) -> None:
    write_result(replayed(folder), tmp_path / "one")
    write_result(replayed(folder), tmp_path / "two")
    write_result(replayed(), tmp_path / "without")
    one = (tmp_path / "one").read_bytes()
    assert one == (tmp_path / "two").read_bytes()
    assert one != (tmp_path / "without").read_bytes()
