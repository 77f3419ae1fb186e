"""A log's own searches and purchases: whose basket they are of, and what samples then know of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from agents.session.interest import ACTION_CODES
from streams.hint_request import HintRequest
from streams.records import Action
from tests.logs import write_jsonl
from tests.small_shop import ENCODER
from tests.support import LATER_MS, NOON_MS, event_json
from training.baskets import NO_BASKET, Basket, logged_baskets
from training.datasets.complete_journey import Span
from training.datasets.shop_log import ShopLog, read_shop_log
from training.sessions import NEXT, REST, Sample, SampleMaker

MINUTE_MS = 60_000
GOODS = ["milk", "eggs", "beer", "soap", "tea", "bread"]
Read = Callable[..., ShopLog]


def at(minute: float) -> int:
    return NOON_MS + int(minute * MINUTE_MS)


def purchase(text: str, minute: float, user: str = "u1", **fields: Any) -> dict[str, Any]:
    return event_json("purchase", text, at(minute), user, **fields)


def search(text: str, minute: float, user: str = "u1", **fields: Any) -> dict[str, Any]:
    return event_json("search", text, at(minute), user, **fields)


@pytest.fixture
def read(tmp_path: Path) -> Read:
    def reading(*events: dict[str, Any]) -> ShopLog:
        return read_shop_log(write_jsonl(tmp_path / "log.jsonl", events), now_ms=LATER_MS)

    return reading


def searched(found: ShopLog) -> list[tuple[int | None, float, float, str]]:
    """Basket, its minute, the search's own minute, text."""
    rows = found.behaviours.filter(pl.col("action") == ACTION_CODES[Action.SEARCH])
    minutes = [(pl.col(name) - NOON_MS) / MINUTE_MS for name in ("time_ms", "at_ms")]
    return rows.select("basket_id", *minutes, "text").rows()


def pairs(found: ShopLog, **changes: Any) -> list[tuple[Sample, HintRequest]]:
    numbers = {phrase: number for number, phrase in enumerate(GOODS)}
    maker = SampleMaker(ENCODER, numbers, Span(0, LATER_MS), **{"honest": True, "opened": True, **changes})
    return list(maker.pairs(found.purchases, found.behaviours))


def known(request: HintRequest) -> list[str]:
    """Texts of the window, oldest first."""
    return [behaviour.text for behaviour in reversed(request.behaviours)]


def test_a_search_belongs_to_the_basket_that_it_stands_in_or_shortly_before(read: Read) -> None:
    found = read(
        search("Fresh  MILK", 0),
        search("far too early", 9),
        search("just in time", 10),
        purchase("milk", 40),
        search("amid", 45),
        purchase("eggs", 50),
        search("after", 51),
    )
    assert searched(found) == [
        (None, 0, 0, "fresh milk"),
        (None, 9, 9, "far too early"),
        (0, 40, 10, "just in time"),
        (0, 40, 45, "amid"),
        (None, 51, 51, "after"),
    ]


def test_amid_a_basket_comes_before_the_next_basket(read: Read) -> None:
    found = read(
        purchase("milk", 0, session_id="a"),
        search("beer", 10),
        purchase("eggs", 20, session_id="a"),
        purchase("beer", 25, session_id="b"),
    )
    assert searched(found) == [(0, 0, 10, "beer")]


def test_a_search_belongs_to_nobody_elses_basket(read: Read) -> None:
    found = read(
        search("beer", 0, "u2"), purchase("milk", 1), purchase("tea", 500, "u2"), search("x", 2, "u3")
    )
    assert searched(found) == [(None, 0, 0, "beer")]  # u3 never buys
    assert found.behaviours.schema == {
        "household_id": pl.Int64,
        "basket_id": pl.Int64,
        "time_ms": pl.Int64,
        "action": pl.Int64,
        "at_ms": pl.Int64,
        "text": pl.String,
    }


def test_searches_without_text_or_consent_or_that_were_deleted_are_counted_and_left_out(read: Read) -> None:
    found = read(
        search("deleted", 0),
        event_json("user_delete", "", at(1)),
        search(" ", 2),
        search("\0", 2),
        search("hidden", 3, consent=False),
        search("milk", 4, consent=True),
        purchase("milk", 5),
    )
    assert searched(found) == [(0, 5, 4, "milk")]
    assert found.use.unused == {
        "deleted": 1,
        "search_without_query": 1,
        "search_without_text": 1,
        "consent_withdrawn": 1,
    }


def test_purchases_stand_at_their_own_times_once_a_type_under_the_baskets_name_for_it(read: Read) -> None:
    thing = {"object": {"object_id": "7", "title": "milk"}}
    other = {"object": {"object_id": "7", "title": "whole milk"}}
    found = read(
        purchase("eggs", 0),
        purchase("", 3, event_attributes=thing),
        purchase("", 5, event_attributes=other),
    )
    rows = found.behaviours.select("basket_id", "time_ms", "at_ms", "text").rows()
    assert rows == [(0, at(0), at(0), "eggs"), (0, at(0), at(3), "milk")]
    assert set(found.behaviours["text"]) == set(found.purchases["phrase"])


def test_baskets_come_in_order_of_time_and_lone_searches_between_them(read: Read) -> None:
    found = read(
        purchase("milk", 0), search("soap", 60), purchase("eggs", 100), search("beer", 99), purchase("tea", 3)
    )
    ((household, baskets),) = list(logged_baskets(found.behaviours))
    assert household == 0
    assert [(basket.basket_id, basket.time_ms) for basket in baskets] == [
        (0, at(0)),
        (NO_BASKET, at(60)),
        (1, at(100)),
    ]
    assert [_texts(basket) for basket in baskets] == [
        ([], ["milk", "tea"]),
        (["soap"], []),
        (["beer"], ["eggs"]),
    ]
    assert all(basket.logged for basket in baskets)


def test_what_is_bought_in_one_moment_is_mixed_alike_in_every_order_of_the_log(read: Read) -> None:
    orders = []
    for session in ("a", "b"):
        for goods in (GOODS, GOODS[::-1]):
            events = [purchase("tea", -100, session_id="first")] * (session == "b")
            found = read(*events, *(purchase(text, 0, session_id=session) for text in goods))
            ((_, baskets),) = list(logged_baskets(found.behaviours))
            orders.append(_texts(baskets[-1])[1])
    assert orders[0] == orders[1] != orders[2] == orders[3]  # two baskets, two orders
    assert sorted(orders[0]) == sorted(orders[2]) == sorted(GOODS)
    assert sorted(GOODS) not in orders


def test_the_next_basket_knows_older_searches_but_not_those_of_its_visit(read: Read) -> None:
    found = read(
        purchase("tea", -600),
        search("soap", -300),
        search("beer", -10),
        purchase("milk", 0),
        search("eggs", 1),
        purchase("bread", 2),
    )
    (_, request) = pairs(found, tasks=(NEXT,))[1]
    assert known(request) == ["tea", "soap"]
    assert request.version.as_of_ms == at(0)
    assert pairs(found, tasks=(NEXT,), opened=False)[1][1].version.as_of_ms == at(-300)
    assert [sample.basket_id for sample, _ in pairs(found, tasks=(NEXT,))] == [0, 1]  # none of a lone search


def test_the_rest_of_a_basket_knows_what_came_before_in_the_logs_own_order(read: Read) -> None:
    found = read(
        search("soap", -1),
        purchase("milk", 0),
        purchase("eggs", 1),
        search("bread", 2),
        purchase("beer", 3),
        search("late", 4),
        purchase("soap", 5),
        purchase("bread", 6),
        purchase("tea", 7),
    )
    ((sample, request),) = pairs(found, tasks=(REST,))
    assert known(request) == ["soap", "milk", "eggs", "bread", "beer"]
    assert sample.texts == {"tea"}  # what was searched has been asked for
    assert request.version.as_of_ms == at(3)


def test_training_cuts_a_basket_anywhere_and_never_sees_what_comes_after_the_cut(read: Read) -> None:
    goods = ["milk", "eggs", "beer", "soap"]
    events = [purchase(text, place, session_id="a") for place, text in enumerate(goods)]
    found = read(*events, search("tea", 0.5), search("bread", 2.5), search("first", -1))
    order = ["first", "milk", "tea", "eggs", "beer", "bread", "soap"]
    windows = {tuple(known(pairs(found, tasks=(REST,), honest=False, seed=seed)[0][1])) for seed in range(40)}
    assert windows == {tuple(order[:count]) for count in (1, 2, 4, 5)}


def test_a_basket_that_goes_on_beside_the_next_one_is_history_only_up_to_it(read: Read) -> None:
    """Two sessions at once, as on two devices."""
    found = read(
        purchase("milk", 0, session_id="a"),
        purchase("eggs", 5, session_id="b"),
        purchase("beer", 10, session_id="a"),
        purchase("tea", 60, session_id="c"),
    )
    contexts = [known(request) for _, request in pairs(found, tasks=(NEXT,))]
    assert contexts == [[], ["milk"], ["milk", "eggs", "beer"]]


def test_baskets_of_the_same_moment_are_no_history_of_each_other(read: Read) -> None:
    found = read(purchase("milk", 0, session_id="a"), purchase("eggs", 0, session_id="b"))
    assert [known(request) for _, request in pairs(found, tasks=(NEXT,))] == [[], []]


def _texts(basket: Basket) -> tuple[list[str], list[str]]:
    return [one.text for one in basket.searches], [one.text for one in basket.purchases]
