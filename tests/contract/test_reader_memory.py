"""Round trips of a reader on a real Redis: what it keeps between two answers, and when it asks again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest
import redis

from streams import reader_memory
from streams.hint_store import HintReader
from streams.redis_keys import THINK_CURRENT, hints_key
from streams.think_merge import TRIGGERS_READ
from tests.counting_reader import CountingReader, gets, put_entry, trips_of
from tests.redis_databases import empty_database, list_of


@pytest.fixture
def url(redis_url: str) -> str:
    return empty_database(redis_url, 6)


@pytest.fixture
def client(url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(url) as client:
        yield client


def test_steady_state_is_one_round_trip(url: str, client: redis.Redis) -> None:
    client.set(THINK_CURRENT, b'{"version":"v1"}')
    put_entry(client, "v1", "Milk", "oats")
    with CountingReader(redis.Redis.from_url(url)) as reader:
        assert trips_of(reader, "u", trigger="milk") == (2, ("oats",))  # the version is not known yet
        assert trips_of(reader, "u", trigger="milk") == (1, ("oats",))
        assert trips_of(reader, "u", trigger="  MILK") == (1, ("oats",))
        assert trips_of(reader, "u", trigger="eggs") == (1, ())


def test_several_triggers_are_one_round_trip_and_a_command_each_once(url: str, client: redis.Redis) -> None:
    client.set(THINK_CURRENT, b'{"version":"v1"}')
    put_entry(client, "v1", "milk", "oats", "tea")
    put_entry(client, "v1", "eggs", "bacon")
    asked = ["milk", "eggs", "soap", "MILK", "d", "e", "f"]  # the latest five that differ count
    with CountingReader(redis.Redis.from_url(url)) as reader:
        reader.get("u", trigger=[])
        before = gets(client)
        assert trips_of(reader, "u", trigger=asked) == (1, ("oats", "bacon", "tea"))
        asked_once = gets(client)
        assert trips_of(reader, "u", trigger=asked) == (1, ("oats", "bacon", "tea"))
    assert asked_once - before == 2 + TRIGGERS_READ  # the pointer, the popular list, and each trigger's entry
    assert gets(client) - asked_once == 2  # entries are at hand


def test_triggers_that_nobody_names_are_one_round_trip_once_their_entries_are_at_hand(
    url: str, client: redis.Redis
) -> None:
    client.set(THINK_CURRENT, b'{"version":"v1"}')
    put_entry(client, "v1", "eggs", "bacon")
    for user in ("u", "v"):
        client.rpush(hints_key(user), list_of(user, "milk", trigger="eggs").to_json())
    with CountingReader(redis.Redis.from_url(url)) as reader:
        assert trips_of(reader, "u") == (2, ("milk", "bacon"))
        assert trips_of(reader, "v") == (1, ("milk", "bacon"))


def test_entries_are_read_again_once_they_are_old_and_with_every_other_pointer(
    url: str, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    client.set(THINK_CURRENT, b'{"version":"v1"}')
    put_entry(client, "v1", "milk", "oats")
    with CountingReader(redis.Redis.from_url(url)) as reader:
        reader.get("u", trigger="milk")
        put_entry(client, "v1", "milk", "honey")
        assert trips_of(reader, "u", trigger="milk") == (1, ("oats",))
        client.set(THINK_CURRENT, b'{"version":"v1","digest":"repaired"}')
        assert trips_of(reader, "u", trigger="milk") == (2, ("honey",))
        put_entry(client, "v1", "milk", "jam")
        monkeypatch.setattr(reader_memory, "ENTRY_FRESH_S", 0.0)
        assert trips_of(reader, "u", trigger="milk") == (1, ("jam",))


def test_more_triggers_than_are_kept_are_all_answered(
    url: str, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader_memory, "ENTRIES_KEPT", 3)
    client.set(THINK_CURRENT, b'{"version":"v1"}')
    for number in range(8):
        put_entry(client, "v1", f"t{number}", f"q{number}")
    with HintReader.from_url(url) as reader:
        for number in (*range(8), *range(8)):
            assert reader.get("u", trigger=[f"t{number}", "t0"]).queries[0] == f"q{number}"


def test_a_canary_s_share_of_the_users_sees_it_always_in_one_round_trip(
    url: str, client: redis.Redis
) -> None:
    for version in ("v1", "v2"):
        put_entry(client, version, "milk", f"of {version}")
    client.set(THINK_CURRENT, b'{"version":"v1","canary":{"version":"v2","share":0.3}}')
    users = [f"household-{number}" for number in range(1_000)]
    with CountingReader(redis.Redis.from_url(url)) as reader:
        reader.get("somebody", trigger="milk")
        first = [trips_of(reader, user, trigger="milk") for user in users]
        again = [reader.get(user, trigger="milk") for user in reversed(users)]
    assert {trips for trips, _ in first} == {1}
    assert [answer.queries for answer in reversed(again)] == [queries for _, queries in first]
    seen = Counter(answer.mapping for answer in again)
    assert 255 < seen["v2"] < 345  # three standard deviations around 300
    assert seen["v1"] + seen["v2"] == len(users)
    assert all(answer.queries == (f"of {answer.mapping}",) for answer in again)


def test_a_swapped_mapping_costs_one_more_round_trip_once(url: str, client: redis.Redis) -> None:
    put_entry(client, "v1", "milk", "oats")
    put_entry(client, "v2", "milk", "honey")
    client.set(THINK_CURRENT, b'{"version":"v1"}')
    with CountingReader(redis.Redis.from_url(url)) as reader:
        reader.get("u", trigger="milk")
        client.set(THINK_CURRENT, b'{"version":"v2"}')
        assert trips_of(reader, "u", trigger="milk") == (2, ("honey",))
        assert trips_of(reader, "u", trigger="milk") == (1, ("honey",))
        client.delete(THINK_CURRENT)
        assert trips_of(reader, "u", trigger="milk") == (1, ())


def test_the_triggers_of_the_newest_list_are_looked_up_only_where_think_has_a_place(
    url: str, client: redis.Redis
) -> None:
    client.set(THINK_CURRENT, b'{"version":"v1"}')
    put_entry(client, "v1", "eggs", "bacon")
    own = [f"own {number}" for number in range(12)]
    client.rpush(hints_key("u"), list_of("u", *own, trigger="eggs").to_json())
    client.rpush(hints_key("short"), list_of("short", "milk", "bread", trigger="eggs").to_json())
    with CountingReader(redis.Redis.from_url(url)) as reader:
        assert trips_of(reader, "u", limit=9) == (1, tuple(own[:9]))
        assert trips_of(reader, "u", limit=10) == (2, (*own[:9], "bacon"))
    with CountingReader(redis.Redis.from_url(url)) as reader:
        assert trips_of(reader, "short", limit=2) == (1, ("milk", "bread"))
        assert trips_of(reader, "short", limit=3) == (2, ("milk", "bread", "bacon"))
    with CountingReader(redis.Redis.from_url(url), think_places=0) as reader:
        assert trips_of(reader, "u", limit=10) == (1, tuple(own[:10]))
