"""Compare-and-set on one real Redis: newer wins, whoever comes late, however many write."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

import pytest
import redis
import redis.asyncio

from streams.hint_list import HintList
from streams.hint_writer import HintWriter, PublishOutcome
from streams.redis_keys import hints_key
from tests.redis_databases import empty_database, list_of

PUBLISHED, OUTDATED = PublishOutcome.PUBLISHED, PublishOutcome.OUTDATED
T = TypeVar("T")
RUNS_KEPT = 3
TTL_S = 1000


@pytest.fixture
def url(redis_url: str) -> str:
    return empty_database(redis_url, 1)


def publish(url: str, *batches: list[HintList]) -> list[list[PublishOutcome]]:
    async def write(writer: HintWriter) -> list[list[PublishOutcome]]:
        return [await writer.publish(batch) for batch in batches]

    return with_writer(url, write)


def with_writer(url: str, act: Callable[[HintWriter], Awaitable[T]]) -> T:
    async def run() -> T:
        async with redis.asyncio.Redis.from_url(url) as client:
            return await act(HintWriter(client, runs_kept=RUNS_KEPT, ttl_s=TTL_S))

    return asyncio.run(run())


def stored(url: str, user: str) -> list[HintList]:
    with redis.Redis.from_url(url) as client:
        return [HintList.from_json(value) for value in client.lrange(hints_key(user), 0, -1)]


def test_runs_stand_newest_first_and_no_more_than_are_kept(url: str) -> None:
    runs = [list_of("u", "milk", as_of=as_of) for as_of in range(1, 6)]
    assert publish(url, runs) == [[PUBLISHED] * 5]
    assert stored(url, "u") == runs[:1:-1]


def test_an_older_list_changes_nothing(url: str) -> None:
    newer = list_of("u", "milk", as_of=5, offset=9)
    older = [list_of("u", "bread", as_of=4, offset=99), list_of("u", "bread", as_of=5, offset=8)]
    assert publish(url, [newer], older) == [[PUBLISHED], [OUTDATED] * 2]
    assert stored(url, "u") == [newer]


def test_another_list_of_the_same_version_is_outdated(url: str) -> None:
    first, second = list_of("u", "milk", as_of=5), list_of("u", "bread", as_of=5)
    assert publish(url, [first], [second]) == [[PUBLISHED], [OUTDATED]]
    assert stored(url, "u") == [first]


def test_the_very_same_list_again_is_published_still_and_stands_once(url: str) -> None:
    one = list_of("u", "milk")
    assert publish(url, [one], [one]) == [[PUBLISHED], [PUBLISHED]]
    assert stored(url, "u") == [one]


def test_a_batch_keeps_users_apart_and_answers_in_order(url: str) -> None:
    batch = [list_of("u", as_of=2), list_of("v", as_of=1), list_of("u", as_of=1), list_of("é\n:", as_of=1)]
    assert publish(url, batch) == [[PUBLISHED, PUBLISHED, OUTDATED, PUBLISHED]]
    assert stored(url, "é\n:") == [batch[3]]


def test_an_empty_batch_is_no_work(url: str) -> None:
    assert publish(url, []) == [[]]


def test_each_publication_renews_the_life_of_the_key(url: str) -> None:
    publish(url, [list_of("u", as_of=1)])
    with redis.Redis.from_url(url) as client:
        client.expire(hints_key("u"), 5)
        publish(url, [list_of("u", as_of=2)])
        assert TTL_S - 60 < client.ttl(hints_key("u")) <= TTL_S


@pytest.mark.parametrize(
    "foreign",
    [
        b"",
        b"not json",
        b'{"hints":[]}',
        b'{"version":"999999999999999-999999999999999","list_id":"to',
        b'{"version":"99999999999999999-9999999999999","list":{}}',
        b'{"version":9}',
        list_of("u", "milk", as_of=9).to_json()[:-5],
    ],
)
def test_a_foreign_or_torn_value_at_the_head_is_replaced(url: str, foreign: bytes) -> None:
    kept, new = list_of("u", "bread", as_of=1), list_of("u", "milk", as_of=2)
    with redis.Redis.from_url(url) as client:
        client.rpush(hints_key("u"), foreign, foreign, kept.to_json())
    assert publish(url, [new]) == [[PUBLISHED]]
    assert stored(url, "u") == [new, kept]


def test_a_foreign_value_does_not_let_an_older_list_in(url: str) -> None:
    kept = list_of("u", "bread", as_of=9)
    with redis.Redis.from_url(url) as client:
        client.rpush(hints_key("u"), b"torn", kept.to_json())
    assert publish(url, [list_of("u", "milk", as_of=2)]) == [[OUTDATED]]
    assert stored(url, "u") == [kept]


def test_a_key_of_another_kind_is_replaced(url: str) -> None:
    with redis.Redis.from_url(url) as client:
        client.set(hints_key("u"), "text")
    one = list_of("u", "milk")
    assert publish(url, [one]) == [[PUBLISHED]]
    assert stored(url, "u") == [one]


def test_scripts_forgotten_by_redis_are_sent_again(url: str) -> None:
    async def write(writer: HintWriter) -> list[PublishOutcome]:
        first = await writer.publish([list_of("u", as_of=1), list_of("v", as_of=1)])
        with redis.Redis.from_url(url) as client:
            client.script_flush()
        return first + await writer.publish([list_of("u", as_of=2), list_of("v", as_of=2)])

    assert with_writer(url, write) == [PUBLISHED] * 4


def test_scripts_forgotten_in_the_middle_of_a_batch_lose_no_list(url: str) -> None:
    async def write(writer: HintWriter) -> list[list[PublishOutcome]]:
        flushing = True

        async def flush() -> None:
            async with redis.asyncio.Redis.from_url(url) as client:
                while flushing:
                    await client.script_flush()

        flusher = asyncio.create_task(flush())
        batches = [[list_of(f"u{user}", as_of=run + 1) for user in range(200)] for run in range(10)]
        outcomes = [await writer.publish(batch) for batch in batches]
        flushing = False
        await flusher
        return outcomes

    outcomes = with_writer(url, write)
    assert all(outcome is PUBLISHED for batch in outcomes for outcome in batch)


@pytest.mark.parametrize("seed", range(3))
def test_of_many_writers_at_once_the_newest_of_each_user_wins(url: str, seed: int) -> None:
    """Eight connections write the same users' runs in orders of their own; every run twice."""
    chance = random.Random(seed)
    users = [f"u{number}" for number in range(5)]
    runs = [list_of(user, f"q{run}", as_of=100 + run // 3, offset=run) for user in users for run in range(30)]

    async def writer(number: int) -> list[tuple[HintList, PublishOutcome]]:
        mine = runs[number % 4 :: 4]
        chance.shuffle(mine)
        async with redis.asyncio.Redis.from_url(url) as client:
            hint_writer = HintWriter(client, runs_kept=RUNS_KEPT, ttl_s=TTL_S)
            done = []
            for start in range(0, len(mine), 4):
                batch = mine[start : start + 4]
                done += list(zip(batch, await hint_writer.publish(batch), strict=True))
            return done

    async def race() -> list[list[tuple[HintList, PublishOutcome]]]:
        return await asyncio.gather(*(writer(number) for number in range(8)))

    done = [pair for pairs in asyncio.run(race()) for pair in pairs]
    for user in users:
        standing = stored(url, user)
        assert standing[0] == max((one for one in runs if one.user == user), key=lambda one: one.version)
        assert [one.version for one in standing] == sorted({one.version for one in standing}, reverse=True)
        assert (standing[0], PUBLISHED) in done
        published = {one.version for one, outcome in done if one.user == user and outcome is PUBLISHED}
        assert {one.version for one in standing} <= published
