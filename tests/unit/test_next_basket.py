"""The next-basket task and its baselines: nothing of the basket's own second or later is ever seen."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.baselines import DAY_MS, habit, new_popularity, popularity
from training.datasets.complete_journey import Span
from training.next_basket import (
    Context,
    evaluate_next_basket,
    items_baskets,
    next_basket_task,
    recall_at_10,
)

EVER = Span(0, 10**15)
Row = tuple[int, int, int, str]


def baskets_of(rows: Sequence[Row]) -> pl.DataFrame:
    columns = ("household_id", "time_ms", "basket_id", "phrase")
    return items_baskets(pl.DataFrame(rows, schema=columns, orient="row"))


def basket(household: int, time_ms: int, number: int, *phrases: str) -> list[Row]:
    return [(household, time_ms, number, phrase) for phrase in phrases]


def test_recall_is_capped_at_ten_and_counts_a_repeated_hint_once() -> None:
    twelve = {f"item {n}" for n in range(12)}
    assert recall_at_10(sorted(twelve), twelve) == 1.0
    assert recall_at_10(["milk", "milk"], {"milk", "eggs"}) == 0.5
    assert recall_at_10([*"abcdefghij", "milk"], {"milk"}) == 0.0


def test_an_item_is_new_only_in_the_first_basket_of_its_household() -> None:
    task = next_basket_task(
        baskets_of(basket(1, 10, 1, "milk") + basket(1, 20, 2, "eggs", "milk") + basket(2, 30, 3, "milk")),
        EVER,
    )
    assert task.truths == [{"milk"}, {"eggs", "milk"}, {"milk"}]
    assert task.new_truths == [{"milk"}, {"eggs"}, {"milk"}]


def test_a_task_holds_the_baskets_of_its_span_but_newness_looks_at_the_whole_past() -> None:
    table = baskets_of(basket(1, 10, 1, "milk") + basket(1, 20, 2, "milk") + basket(1, 30, 3, "milk"))
    task = next_basket_task(table, Span(20, 30))
    assert task.contexts == [Context(1, 20)]
    assert task.new_truths == [frozenset()]


def test_baskets_of_the_same_second_do_not_know_each_other() -> None:
    table = baskets_of(basket(1, 10, 1, "milk") + basket(1, 10, 2, "eggs"))
    contexts = next_basket_task(table, EVER).contexts
    assert habit(table, contexts) == popularity(table, contexts) == [[], []]


def test_habit_prefers_recent_baskets_and_fills_up_with_popular_items() -> None:
    table = baskets_of(
        basket(1, 0, 1, "old")
        + basket(1, 200 * DAY_MS, 2, "recent")
        + basket(2, 1, 3, "popular")
        + basket(3, 1, 4, "popular")
    )
    assert habit(table, [Context(1, 201 * DAY_MS)]) == [["recent", "old", "popular"]]


def test_two_old_baskets_weigh_as_much_as_one_a_half_life_later() -> None:
    rows = basket(1, 0, 1, "a") + basket(1, 1, 2, "a") + basket(1, 90 * DAY_MS + 2, 3, "b")
    assert habit(baskets_of(rows), [Context(1, 91 * DAY_MS)]) == [["b", "a"]]
    assert habit(baskets_of(rows), [Context(1, 91 * DAY_MS)], half_life_ms=100 * DAY_MS) == [["a", "b"]]


def test_new_popularity_leaves_out_what_the_household_has_bought() -> None:
    table = baskets_of(basket(1, 0, 1, "milk") + basket(2, 1, 2, "milk") + basket(2, 2, 3, "eggs"))
    assert new_popularity(table, [Context(1, 5), Context(2, 5)]) == [["eggs"], []]


def test_an_evaluation_averages_over_baskets_and_refuses_missing_lists() -> None:
    table = baskets_of(basket(1, 10, 1, "milk") + basket(1, 20, 2, "eggs", "milk"))
    task = next_basket_task(table, EVER)
    scores = evaluate_next_basket(lambda contexts: [["milk"] for _ in contexts], task)
    assert (scores.recall_at_10, scores.baskets) == (0.75, 2)
    assert (scores.new_recall_at_10, scores.baskets_with_new) == (0.5, 2)
    with pytest.raises(ValueError, match="longer than"):
        evaluate_next_basket(lambda _: [["milk"]], task)


shopping = st.lists(
    st.tuples(st.integers(1, 3), st.integers(0, 20), st.sampled_from(["milk", "eggs", "bread", "beer"])),
    min_size=1,
    max_size=40,
)


@settings(max_examples=60, deadline=None)
@given(shopping, st.integers(0, 20))
def test_what_happens_later_never_changes_an_earlier_list(
    bought: list[tuple[int, int, str]], now: int
) -> None:
    rows: list[Row] = [
        (household, time, 100 * household + time, phrase) for household, time, phrase in bought
    ]
    everything = baskets_of(rows)
    past = everything.filter(pl.col("time_ms") < now)
    contexts = [Context(household, now) for household in (1, 2, 3)]
    for recommend in (popularity, habit, new_popularity):
        assert partial(recommend, everything)(contexts) == partial(recommend, past)(contexts)


def test_contexts_may_come_in_any_order() -> None:
    table = baskets_of(basket(1, 10, 1, "milk") + basket(1, 20, 2, "eggs", "milk") + basket(2, 30, 3, "beer"))
    contexts = [Context(1, 15), Context(1, 25), Context(2, 35)]
    assert habit(table, contexts[::-1]) == habit(table, contexts)[::-1]
