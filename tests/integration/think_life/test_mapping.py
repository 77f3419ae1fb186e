"""Mapping versions on a real Redis: whole or not at all, kept for a rollback, and healed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import redis

from agents.think.mapping import LoadOutcome, LoadReport
from streams.errors import MappingError
from streams.redis_keys import THINK_CURRENT, THINK_VERSIONS, popular_key, think_index_key, think_key
from tests.mapping_folders import write_version
from tests.think_life import TRIGGERS, keys_of, load, load_new, shown, snapshot, write_named

LOADED, UNCHANGED = LoadOutcome.LOADED, LoadOutcome.UNCHANGED


def test_a_loaded_version_is_what_readers_see(url: str, tmp_path: Path) -> None:
    report = load_new(url, tmp_path, "v1")
    assert report == LoadReport(LOADED, "v1", triggers=250, popular=1)
    assert shown(url) == ("v1 Trigger 7", "v1 beer")


def test_the_same_version_again_changes_nothing(url: str, client: redis.Redis, tmp_path: Path) -> None:
    load_new(url, tmp_path, "v1")
    before = snapshot(client)
    assert load(url, tmp_path) == LoadReport(UNCHANGED, "v1", triggers=250)
    assert snapshot(client) == before


def test_the_version_before_stays_and_older_ones_go(url: str, client: redis.Redis, tmp_path: Path) -> None:
    load_new(url, tmp_path, "v1")
    assert load_new(url, tmp_path, "v2").previous == "v1"
    assert (keys_of(client, "v1"), keys_of(client, "v2")) == (251, 251)
    report = load_new(url, tmp_path, "v3")
    assert (report.previous, report.removed) == ("v2", ("v1",))
    assert [keys_of(client, version) for version in ("v1", "v2", "v3")] == [0, 251, 251]
    assert set(client.hkeys(THINK_VERSIONS)) == {b"v2", b"v3"}


def test_a_rollback_names_the_version_before(url: str, tmp_path: Path) -> None:
    load_new(url, tmp_path, "v1")
    load_new(url, tmp_path, "v2")
    assert shown(url) == ("v2 Trigger 7", "v2 beer")
    report = load_new(url, tmp_path, "v1")
    assert (report.outcome, report.previous) == (LOADED, "v2")
    assert shown(url) == ("v1 Trigger 7", "v1 beer")


LOSSES: dict[str, Callable[[redis.Redis], object]] = {
    "everything": lambda client: [client.delete(key) for key in client.keys("aigq:1:*")],
    "the pointer": lambda client: client.delete(THINK_CURRENT),
    "the popular list": lambda client: client.delete(popular_key()),
    "the index": lambda client: client.delete(think_index_key("v1")),
    "part of the index": lambda client: client.spop(think_index_key("v1"), 9),
    "half of the entries": lambda client: client.delete(*(think_key("v1", one) for one in TRIGGERS[::2])),
    "the list of versions and an entry's index": lambda client: (
        client.delete(THINK_VERSIONS),
        client.spop(think_index_key("v1")),
    ),
    "the pointer, to a stranger": lambda client: client.set(THINK_CURRENT, "x"),
}


@pytest.mark.parametrize("loss", LOSSES)
def test_what_redis_lost_is_filled_in(url: str, client: redis.Redis, tmp_path: Path, loss: str) -> None:
    load_new(url, tmp_path, "v1")
    LOSSES[loss](client)
    assert load(url, tmp_path).outcome is LOADED
    assert keys_of(client, "v1") == 251
    assert shown(url, TRIGGERS[0]) == ("v1 Trigger 0", "v1 beer")
    assert load(url, tmp_path).outcome is UNCHANGED


def test_a_look_at_an_unchanged_version_prolongs_the_popular_list(
    url: str, client: redis.Redis, tmp_path: Path
) -> None:
    load_new(url, tmp_path, "v1")
    client.expire(popular_key(), 5)
    assert load(url, tmp_path).outcome is UNCHANGED
    assert client.ttl(popular_key()) > 3600


def test_a_faulty_version_changes_nothing(url: str, client: redis.Redis, tmp_path: Path) -> None:
    load_new(url, tmp_path, "v1")
    before = snapshot(client)
    folder = write_named(tmp_path, "v2")
    lines = (folder / "mapping.jsonl").read_bytes()
    (folder / "mapping.jsonl").write_bytes(lines[:-9])
    with pytest.raises(MappingError, match=r"v2/mapping\.jsonl is not the file"):
        load(url, tmp_path)
    assert snapshot(client) == before


def test_other_content_under_the_served_name_is_refused(
    url: str, client: redis.Redis, tmp_path: Path
) -> None:
    load_new(url, tmp_path, "v1")
    before = snapshot(client)
    write_version(tmp_path, {"milk": ["oats"]}, version="v1")
    with pytest.raises(MappingError, match="other content"):
        load(url, tmp_path)
    assert snapshot(client) == before


def test_other_content_under_a_name_not_served_replaces_it_whole(
    url: str, client: redis.Redis, tmp_path: Path
) -> None:
    load_new(url, tmp_path, "v1")
    load_new(url, tmp_path, "v2")
    write_version(tmp_path, {"milk": ["oats"]}, [], version="v1")
    assert load(url, tmp_path).outcome is LOADED
    assert keys_of(client, "v1") == 2
    assert shown(url, "MILK") == ("oats",)
