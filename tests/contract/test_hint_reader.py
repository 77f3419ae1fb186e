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
from streams.hint_protocol import Command
from streams.hint_store import AsyncHintReader, HintReader
from streams.hint_writer import HintWriter
from streams.redis_keys import DENY, THINK_CURRENT, hints_key, popular_key, think_key
from tests.readings import GOLDEN_LISTS, READINGS, Reading
from tests.redis_databases import empty_database, list_of


@pytest.fixture
def url(redis_url: str) -> str:
    return empty_database(redis_url, 2)


@pytest.fixture
def client(url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(url) as client:
        yield client


class CountingReader(HintReader):
    """Counts the round trips that it makes."""

    trips = 0

    def _round_trip(self, commands: list[Command]) -> list[Any]:
        self.trips += 1
        return super()._round_trip(commands)


def trips_of(reader: CountingReader, user: str, **asked: Any) -> tuple[int, tuple[str, ...]]:
    before = reader.trips
    answer = reader.get(user, **asked)
    return reader.trips - before, answer.queries


def read(url: str, ask: dict[str, Any], *, decode: bool = False) -> HintAnswer:
    pinned, asked = ask.get("pinned", ()), {key: ask[key] for key in ask.keys() - {"pinned"}}
    with HintReader(redis.Redis.from_url(url, decode_responses=decode), pinned=pinned) as reader:
        return reader.get(**asked)


async def read_async(url: str, ask: dict[str, Any]) -> HintAnswer:
    pinned, asked = ask.get("pinned", ()), {key: ask[key] for key in ask.keys() - {"pinned"}}
    async with AsyncHintReader.from_url(url, pinned=pinned) as reader:
        return await reader.get(**asked)


def rows(answer: HintAnswer) -> list[list[str]]:
    pairs = zip(answer.hints, answer.list_ids, strict=True)
    return [[hint.query, hint.source, list_id] for hint, list_id in pairs]


@pytest.mark.parametrize("reading", READINGS, ids=lambda reading: reading.name)
def test_a_reading_is_answered_as_the_contract_says(url: str, reading: Reading) -> None:
    reading.put(url)
    answer = read(url, reading.ask | {"now_ms": 10_000})
    assert rows(answer) == reading.answer
    assert (answer.malformed, answer.denied) == (reading.malformed, reading.denied)
    assert asyncio.run(read_async(url, reading.ask | {"now_ms": 10_000})) == answer
    assert read(url, reading.ask | {"now_ms": 10_000}, decode=True) == answer


@pytest.mark.parametrize("path", GOLDEN_LISTS, ids=lambda path: path.stem)
def test_golden_lists_are_read(url: str, client: redis.Redis, path: Any) -> None:
    client.rpush(hints_key("u"), path.read_bytes())
    with HintReader.from_url(url) as reader:
        (one,) = reader.lists("u")
        assert reader.get("u").hints == one.hints


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


def test_steady_state_is_one_round_trip(url: str, client: redis.Redis) -> None:
    client.set(THINK_CURRENT, b'{"version":"v1"}')
    client.set(think_key("v1", "Milk"), b'{"trigger":"milk","queries":[{"query":"oats"}]}')
    with CountingReader(redis.Redis.from_url(url)) as reader:
        assert trips_of(reader, "u", trigger="milk") == (2, ("oats",))  # the version is not known yet
        assert trips_of(reader, "u", trigger="milk") == (1, ("oats",))
        assert trips_of(reader, "u", trigger="  MILK") == (1, ("oats",))
        assert trips_of(reader, "u", trigger="eggs") == (1, ())


def test_a_swapped_mapping_costs_one_more_round_trip_once(url: str, client: redis.Redis) -> None:
    for version, query in (("v1", "oats"), ("v2", "honey")):
        entry = f'{{"trigger":"milk","queries":[{{"query":"{query}"}}]}}'
        client.set(think_key(version, "milk"), entry)
    client.set(THINK_CURRENT, b'{"version":"v1"}')
    with CountingReader(redis.Redis.from_url(url)) as reader:
        reader.get("u", trigger="milk")
        client.set(THINK_CURRENT, b'{"version":"v2"}')
        assert trips_of(reader, "u", trigger="milk") == (2, ("honey",))
        assert trips_of(reader, "u", trigger="milk") == (1, ("honey",))
        client.delete(THINK_CURRENT)
        assert trips_of(reader, "u", trigger="milk") == (1, ())


def test_the_trigger_of_the_newest_list_is_looked_up_only_where_hints_are_missing(
    url: str, client: redis.Redis
) -> None:
    client.set(THINK_CURRENT, b'{"version":"v1"}')
    client.set(think_key("v1", "eggs"), b'{"trigger":"eggs","queries":[{"query":"bacon"}]}')
    client.rpush(hints_key("u"), list_of("u", "milk", "bread", trigger="eggs").to_json())
    with CountingReader(redis.Redis.from_url(url)) as reader:
        assert trips_of(reader, "u", limit=2) == (1, ("milk", "bread"))
        assert trips_of(reader, "u", limit=3) == (2, ("milk", "bread", "bacon"))


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
