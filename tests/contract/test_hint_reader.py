"""Both Python readers on a real Redis: the same answers, one round trip, and no surprise value raises."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
import redis
import redis.asyncio

from streams.errors import StoreRefusedError
from streams.hint_answer import HintAnswer
from streams.hint_store import AsyncHintReader, HintReader
from streams.hint_writer import HintWriter
from streams.redis_keys import DENY, THINK_CURRENT, hints_key, popular_key
from tests.counting_reader import put_entry
from tests.readings import GOLDEN_LISTS, READINGS, Reading
from tests.redis_databases import empty_database, list_of


@pytest.fixture
def url(redis_url: str) -> str:
    return empty_database(redis_url, 2)


@pytest.fixture
def client(url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(url) as client:
        yield client


def parts(ask: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """What the reader is made with, and what it is asked."""
    made = {key: ask[key] for key in ask.keys() & {"pinned", "think_places"}}
    return made, {key: ask[key] for key in ask.keys() - made.keys()}


def read(url: str, ask: dict[str, Any], *, decode: bool = False) -> HintAnswer:
    made, asked = parts(ask)
    with HintReader(redis.Redis.from_url(url, decode_responses=decode), **made) as reader:
        return reader.get(**asked)


async def read_async(url: str, ask: dict[str, Any]) -> HintAnswer:
    made, asked = parts(ask)
    async with AsyncHintReader.from_url(url, **made) as reader:
        return await reader.get(**asked)


def rows(answer: HintAnswer) -> list[list[str]]:
    pairs = zip(answer.hints, answer.list_ids, strict=True)
    return [[hint.query, hint.source, list_id] for hint, list_id in pairs]


@pytest.mark.parametrize("reading", READINGS, ids=lambda reading: reading.name)
def test_a_reading_is_answered_as_the_contract_says(url: str, reading: Reading) -> None:
    reading.put(url)
    answer = read(url, reading.ask | {"now_ms": 10_000})
    assert rows(answer) == reading.answer
    if reading.mappings is not None:
        assert [hint.mapping for hint in answer.hints] == reading.mappings
    assert (answer.malformed, answer.denied) == (reading.malformed, reading.denied)
    assert asyncio.run(read_async(url, reading.ask | {"now_ms": 10_000})) == answer
    assert read(url, reading.ask | {"now_ms": 10_000}, decode=True) == answer


@pytest.mark.parametrize("path", GOLDEN_LISTS, ids=lambda path: path.stem)
def test_golden_lists_are_read(url: str, client: redis.Redis, path: Any) -> None:
    client.rpush(hints_key("u"), path.read_bytes())
    client.set(THINK_CURRENT, b'{"version":"3f2a9c0d1b7e"}')  # of the think hints in them
    with HintReader.from_url(url) as reader:
        (one,) = reader.lists("u")
        assert reader.get("u", now_ms=one.generated_at).hints == one.hints


def test_the_answer_tells_what_it_rests_on(url: str, client: redis.Redis) -> None:
    newest = list_of("u", "milk", as_of=5_000, trigger="eggs", generated_at=5_100)
    client.rpush(hints_key("u"), newest.to_json(), list_of("u", "bread", as_of=4_000).to_json())
    client.set(THINK_CURRENT, b'{"version":"v7"}')
    client.set(popular_key(), b'[{"query":"beer"}]')
    answer = read(url, {"user": "u", "now_ms": 6_000})
    assert (answer.list_id, answer.version) == (newest.list_id, newest.version)
    assert (answer.as_of, answer.age_ms) == (5_000, 900)
    assert (answer.trigger, answer.mapping) == ("eggs", "v7")
    assert answer.sources == {"direct": 2, "popular": 1}


@pytest.mark.parametrize("user", ["", "nobody", "a:b", "Zoë 👩‍👧", "\x00\r\n", "\ud800", "x" * 100_000])
def test_an_unknown_user_of_any_name_gets_the_popular_hints(url: str, client: redis.Redis, user: str) -> None:
    client.set(popular_key(), b'[{"query":"beer"}]')
    answer = read(url, {"user": user})
    assert answer.queries == ("beer",)
    assert (answer.list_id, answer.version, answer.as_of, answer.age_ms) == ("", "", None, None)


def test_what_the_writer_wrote_is_read_newest_first(url: str) -> None:
    runs = [list_of("u", f"q{run}", as_of=run) for run in range(1, 4)]

    async def write_and_read() -> tuple[Any, ...]:
        async with redis.asyncio.Redis.from_url(url) as client:
            await HintWriter(client, runs_kept=2, ttl_s=60).publish(runs)
            return await AsyncHintReader(client).lists("u")

    assert asyncio.run(write_and_read()) == (runs[2], runs[1])
    with HintReader.from_url(url) as reader:
        assert reader.lists("u") == (runs[2], runs[1])
        assert reader.lists("nobody") == ()


@pytest.mark.parametrize("places", [0, 1, 7])
def test_an_older_list_counts_though_the_page_ends_before_it(
    url: str, client: redis.Redis, places: int
) -> None:
    """What an older list holds in whatever spelling is none of Think's; what nobody can read is skipped."""
    client.set(THINK_CURRENT, b'{"version":"v1"}')
    own = [f"own {number}" for number in range(12)]
    older = list_of("u", "Red  WINE", "cr\u00e8me", as_of=500)
    client.rpush(hints_key("u"), list_of("u", *own).to_json(), b"torn", older.to_json())
    put_entry(
        client, "v1", "cheese", "red wine", "Cr\u00c8ME", "own 11", "grapes", "wine", "figs", "tea", "x", "y"
    )
    with HintReader(redis.Redis.from_url(url), think_places=places) as reader:
        queries = reader.get("u", trigger="cheese").queries
    think = ["grapes", "wine", "figs", "tea", "x", "y"]
    assert list(queries) == {0: own[:10], 1: [*own[:9], "grapes"], 7: [*own[:3], *think, own[3]]}[places]


def test_a_hint_of_think_says_its_trigger_and_its_mapping_version(url: str, client: redis.Redis) -> None:
    client.rpush(hints_key("u"), list_of("u", "milk", trigger="milk").to_json())
    client.set(THINK_CURRENT, b'{"version":"v1"}')
    put_entry(client, "v1", "Eggs", "bacon")
    answer = read(url, {"user": "u", "trigger": ["soap", "Eggs"]})
    assert [(hint.source, hint.why, hint.mapping) for hint in answer.hints] == [
        ("direct", "", ""),
        ("think", "Eggs", "v1"),
    ]
    assert (answer.trigger, answer.triggers, answer.mapping) == ("soap", ("soap", "Eggs"), "v1")


def test_a_new_denial_counts_once_the_kept_copy_is_old(url: str, client: redis.Redis) -> None:
    client.rpush(hints_key("u"), list_of("u", "milk", "bread").to_json())
    with HintReader(redis.Redis.from_url(url), deny_fresh_s=3600.0) as slow:
        assert slow.get("u").queries == ("milk", "bread")
        client.sadd(DENY, "Milk")
        assert slow.get("u").queries == ("milk", "bread")
    with HintReader(redis.Redis.from_url(url), deny_fresh_s=0.0) as quick:
        assert quick.get("u").queries == ("bread",)
        client.srem(DENY, "Milk")
        assert quick.get("u").queries == ("milk", "bread")


def test_a_deny_set_that_is_no_set_refuses_rather_than_shows(url: str, client: redis.Redis) -> None:
    client.rpush(hints_key("u"), list_of("u", "milk").to_json())
    client.set(DENY, "milk")
    with pytest.raises(StoreRefusedError, match="aigq:1:deny"):
        read(url, {"user": "u"})


@pytest.mark.parametrize("limit", [0, -1])
def test_no_place_gives_no_hints(url: str, client: redis.Redis, limit: int) -> None:
    client.set(popular_key(), b'[{"query":"beer"}]')
    assert read(url, {"user": "u", "limit": limit}).hints == ()


def test_many_users_can_be_asked_for_at_once(url: str, client: redis.Redis) -> None:
    for number in range(50):
        client.rpush(hints_key(f"u{number}"), list_of(f"u{number}", f"q{number}").to_json())

    async def ask_all() -> list[HintAnswer]:
        async with AsyncHintReader.from_url(url) as reader:
            return await asyncio.gather(*(reader.get(f"u{number}") for number in range(50)))

    answers = asyncio.run(ask_all())
    assert [answer.queries for answer in answers] == [(f"q{number}",) for number in range(50)]
