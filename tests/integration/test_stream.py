from __future__ import annotations

import orjson
import pytest

from tests.shop import Shop, get, wait_until
from tests.support import NOON_MS, event_json

pytestmark = pytest.mark.timeout(240)


def visit(shop: Shop, number: int, start_ms: int = NOON_MS) -> list[dict[str, object]]:
    """A user who searches and buys, a minute between the two."""
    user = shop.user(number)
    return [
        event_json(
            action="search", text="oat milk", at_ms=start_ms + number, user=user, event_id=f"{user}-1"
        ),
        event_json(text="bananas", at_ms=start_ms + 60_000 + number, user=user, event_id=f"{user}-2"),
    ]


def test_events_become_lists_that_a_backend_reads_and_operators_see_it(shop: Shop) -> None:
    worker = shop.worker()
    shop.produce(event for number in range(40) for event in visit(shop, number))
    wait_until(lambda: all(shop.newest(shop.user(n)) for n in range(40)), "a list for each user")
    shop.wait_until_quiet()
    newest = shop.newest(shop.user(7))
    assert newest is not None
    assert (newest.reason, newest.trigger, newest.as_of) == ("purchase", "bananas", NOON_MS + 60_007)
    assert len(newest.hints) >= 8
    assert len({hint.query for hint in newest.hints}) == len(newest.hints)
    shown = shop.reader.get(shop.user(7), now_ms=newest.as_of).queries
    assert len(shown) == 10
    assert not {"oat milk", "bananas"} & set(shown)  # just searched, just bought: held for a while
    assert [one.version for one in shop.reader.lists(shop.user(7))] == sorted(
        (one.version for one in shop.reader.lists(shop.user(7))), reverse=True
    )
    assert shop.count("aigq_events_total", outcome="applied") == 80
    assert shop.count("aigq_refresh_decisions_total", reason="first", refresh="true") == 40
    assert shop.count("aigq_freshness_seconds_count") >= 40
    assert get(f"{worker.health_url}/live")[0] == 200
    status, body = get(f"{worker.health_url}/ready")
    told = orjson.loads(body)
    assert (status, told["ready"], told["problems"]) == (200, True, {})
    answer = shop.reader.get("nobody-ever-seen", trigger="milk", limit=20)
    assert told["mapping"]["version"] == answer.mapping
    assert list(answer.sources) == ["think", "popular"]


def test_bad_records_are_set_aside_with_their_bytes_and_reason_and_the_stream_goes_on(shop: Shop) -> None:
    shop.worker("session", "hints")
    bad: list[tuple[bytes | None, bytes | None, str]] = [
        (b"k", b"not json", "not_json"),
        (b"k", None, "empty"),
        (b"k", b'{"action_name":"view","timestamp":1512129600000}', "no_person"),
        (b"other", orjson.dumps(event_json(user=shop.user(1))), "wrong_key"),
        (None, orjson.dumps(event_json(user=shop.user(1))), "wrong_key"),
        (b"k", orjson.dumps(event_json(timestamp=True)), "bad_timestamp"),
        (b"k", orjson.dumps(event_json(timestamp=4_000_000_000_000)), "timestamp_in_future"),
        (b"k", b"[" * 50_000, "not_json"),
    ]
    good = [(e["user_id"].encode(), orjson.dumps(e)) for n in range(30) for e in visit(shop, n)]
    mixed = [(key, value) for key, value, _ in bad]
    shop.produce_raw([*good[:20], *mixed, *good[20:]])
    wait_until(lambda: shop.count("aigq_events_total") == len(good) + len(bad), "every record read")
    shop.wait_until_quiet()
    assert shop.count("aigq_events_total", outcome="applied") == len(good)
    letters = shop.records(shop.topics.dead_letters)
    found = sorted(
        (letter.value, dict(letter.headers)["aigq.reason"].decode()) for letter in letters if letter.value
    )
    assert found == sorted((value, reason) for _, value, reason in bad if value)
    assert len(letters) == len(bad)
    headers = dict(letters[0].headers)
    assert headers["__streams.errors.topic"].decode() == shop.topics.events
    assert all(shop.newest(shop.user(n)) for n in range(30))


def test_a_refresh_held_back_by_the_cooldown_comes_when_it_ends_without_another_event(shop: Shop) -> None:
    shop.worker("session", "hints")
    user = shop.user(1)
    shop.produce(
        [
            event_json(text="milk", user=user, at_ms=NOON_MS, event_id="a"),
            event_json(text="wine", user=user, at_ms=NOON_MS + 1000, event_id="b"),
        ]
    )
    wait_until(lambda: len(shop.reader.lists(user)) == 2, "the second list", 30)
    newest = shop.newest(user)
    assert newest is not None
    assert (newest.trigger, newest.as_of) == ("wine", NOON_MS + 4000)


def test_roles_in_processes_of_their_own_do_what_one_process_does(shop: Shop) -> None:
    for role in ("session", "hints", "think"):
        shop.worker(role)
    shop.produce(visit(shop, 1))
    wait_until(lambda: shop.newest(shop.user(1)), "a list made by three processes")


def test_what_users_do_with_their_hints_is_joined_to_the_list_they_saw(shop: Shop) -> None:
    shop.worker("session", "hints", "feedback")
    user = shop.user(1)
    shop.produce(visit(shop, 1))
    wait_until(lambda: shop.newest(user), "the list")
    newest = shop.newest(user)
    assert newest is not None
    shown = [{"title": hint.query} for hint in newest.hints[:3]]
    attributes = {"list_id": newest.list_id, "objects": shown}
    click = {"list_id": newest.list_id, "object": shown[1], "position": {"ordinal": 2}}
    shop.produce(
        [
            event_json(
                action="hint_impression", user=user, event_attributes=attributes, at_ms=NOON_MS + 99_000
            ),
            event_json(action="hint_click", user=user, event_attributes=click, at_ms=NOON_MS + 100_000),
        ]
    )
    wait_until(lambda: shop.count("aigq_hint_outcomes_total") == 4, "the outcomes")
    outcomes = [orjson.loads(record.value) for record in shop.records(shop.topics.outcomes)]
    clicked = [o for o in outcomes if o["outcome"] == "clicked"]
    assert [(o["query"], o["joined"], o["bundle"]) for o in clicked] == [
        (newest.hints[1].query, True, newest.bundle)
    ]
    assert {o["query"] for o in outcomes if o["outcome"] == "shown"} == {s["title"] for s in shown}


def test_a_worker_that_restarts_goes_on_with_its_users(shop: Shop) -> None:
    first = shop.worker("session", "hints", AIGQ_STATE_STORE="rocksdb")
    shop.produce(visit(shop, 1))
    wait_until(lambda: shop.newest(shop.user(1)), "the first list")
    shop.wait_until_quiet()
    assert first.stop() == 0
    first.start()
    shop.produce(
        [
            event_json(
                action="view", text="bananas", user=shop.user(1), at_ms=NOON_MS + 61_000, event_id="v"
            ),
            event_json(text="wine", user=shop.user(1), at_ms=NOON_MS + 500_000, event_id="w"),
        ]
    )
    wait_until(lambda: getattr(shop.newest(shop.user(1)), "trigger", "") == "wine", "the newest list")
    newest = shop.newest(shop.user(1))
    assert newest is not None
    assert newest.reason == "purchase"  # not "first": the state was there
    assert {hint.why for hint in newest.hints} - {""}
