"""Ids and queries that break whatever trusts them go through a real worker, and their lists are read back."""

from __future__ import annotations

import asyncio
from collections import Counter

import orjson
import pytest

from agents.erasure.export import person_data
from streams.hint_store import AsyncHintReader
from streams.query_text import normalise_query
from streams.redis_keys import hints_key
from tests.hostile import IDS, QUERIES
from tests.shop import Shop, wait_until
from tests.support import NOON_MS, event_json

pytestmark = pytest.mark.timeout(240)
MEGABYTE = (1 << 20) - 2000  # the largest that Kafka takes


def people(shop: Shop) -> list[str]:
    """Every hostile id, made one that no other test uses."""
    return [f"{text[:200]}{shop.name}" for text in IDS.values()]


def visits(users: list[str]) -> list[tuple[bytes | None, bytes | None]]:
    records: list[tuple[bytes | None, bytes | None]] = []
    for user in users:
        for place, text in enumerate(("oat milk", "bananas")):
            event = event_json(
                text=text,
                at_ms=NOON_MS + place * 60_000,
                user=user,
                event_id=f"{user}-{place}",
                session_id=user[:256],
            )
            records.append((user.encode(), orjson.dumps(event)))
    return records


def refused(shop: Shop) -> list[tuple[bytes, bytes, str]]:
    """Key, value and the reason why it cannot be used."""
    good = orjson.dumps(event_json(user=shop.user(1)))
    key = shop.user(1).encode()
    return [
        (key, good.replace(key, b"x" * MEGABYTE), "too_large"),
        (key, good.replace(key, b"x" * 257), "bad_user_id"),
        (key, good.replace(key, b"\\ud800"), "not_json"),
        (key, good.replace(key, b"\xed\xa0\x80"), "not_json"),
        (key, good.replace(b'"' + key + b'"', b"NaN"), "bad_user_id"),
        (key, good.replace(b'"' + key + b'"', b"1e400"), "bad_user_id"),
        (key, good.replace(b'"' + key + b'"', b"true"), "bad_user_id"),
        (key, good.replace(b'"' + key + b'"', b"[" * 100_000), "not_json"),
        (key, good[:-1] + b',"event_attributes":{"object":{"price":NaN}}}', "bad_event_attributes"),
        (key, good.replace(str(NOON_MS).encode(), b"1e400"), "bad_timestamp"),
        (key, good.replace(str(NOON_MS).encode(), b"-5"), "timestamp_too_old"),
        (b"x" * 300_000, good, "wrong_key"),
    ]


def test_people_with_hostile_ids_have_their_lists_and_the_unusable_are_kept_with_a_reason(shop: Shop) -> None:
    shop.worker("session", "hints", "feedback")
    users, bad = people(shop), refused(shop)
    shop.produce_raw([*visits(users), *((key, value) for key, value, _ in bad)])
    wait_until(lambda: all(shop.newest(user) for user in users), "a list for everybody", 90)
    clicks = []
    for user in users:
        newest = shop.newest(user)
        assert newest is not None and newest.user == user
        answer = shop.reader.get(user, limit=5)
        assert answer.hints and answer.malformed == 0
        assert {newest.list_id} >= set(answer.list_ids) - {""} or len(shop.reader.lists(user)) > 1
        attributes = {"list_id": newest.list_id, "object": {"title": newest.hints[0].query}}
        click = event_json("hint_click", user=user, event_attributes=attributes, at_ms=NOON_MS + 99_000)
        clicks.append((user.encode(), orjson.dumps(click)))
    assert asyncio.run(lists_of(shop, users)) == [shop.reader.lists(user) for user in users]
    shop.produce_raw(clicks)
    shop.wait_until_quiet()
    outcomes = {
        orjson.loads(record.value)["user"]: orjson.loads(record.value)
        for record in shop.records(shop.topics.outcomes)
    }
    assert outcomes.keys() == set(users) and all(one["joined"] for one in outcomes.values())
    letters = shop.records(shop.topics.dead_letters)
    reasons = Counter(dict(letter.headers)["aigq.reason"].decode() for letter in letters)
    assert reasons == Counter(reason for _, _, reason in bad)
    assert person_data(shop.settings, users[4])["lists"]


async def lists_of(shop: Shop, users: list[str]) -> list[object]:
    async with AsyncHintReader.from_url(shop.redis_url, timeout_s=5.0) as reader:
        for user in users:
            assert (await reader.get(user, limit=5)).hints
        return [await reader.lists(user) for user in users]


def test_hostile_queries_move_interests_and_stay_what_they_were(shop: Shop) -> None:
    shop.worker("session", "hints")
    texts = {shop.user(number): text for number, text in enumerate(QUERIES.values())}
    events = [event_json("search", text, user=user, event_id=f"{user}-q") for user, text in texts.items()]
    shop.produce(events)
    wait_until(lambda: all(shop.newest(user) for user in texts), "a list for everybody", 90)
    for user, text in texts.items():
        newest = shop.newest(user)
        assert newest is not None
        assert newest.trigger == " ".join(text.split())[: len(newest.trigger)] and newest.trigger
        shown = [normalise_query(hint.query) for hint in newest.hints]
        assert normalise_query(text) not in shown and len(set(shown)) == len(shown)
    assert shop.records(shop.topics.dead_letters) == []
    assert hints_key("a\nb\0") == b"aigq:1:hints:a\nb\0"
