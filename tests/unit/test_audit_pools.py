"""Pools of the audit: the best of five is known, a little better, and nothing of that is in the question."""

from __future__ import annotations

import numpy as np
import pytest

from streams.errors import DatasetError
from streams.query_text import normalise_query
from tests.audit_shop import BEST, RULE, TRIGGER, audit_dataset
from training.datasets.dataset import Dataset
from training.think.audit.pool_values import pool_values
from training.think.audit.pools import OPTIONS, Pool, Question, pools


@pytest.fixture(scope="module")
def data() -> Dataset:
    return audit_dataset()


@pytest.fixture(scope="module")
def found(data: Dataset) -> list[Pool]:
    return pools(data, 40, 0, RULE)


def test_the_best_of_each_pool_is_better_by_no_less_and_no_more_than_the_margin(found: list[Pool]) -> None:
    for pool in found:
        others = [value for place, value in enumerate(pool.values) if place != pool.best]
        margins = [pool.values[pool.best] - value for value in others]
        assert len(margins) == OPTIONS - 1
        assert min(margins) >= RULE.low
        assert max(margins) <= RULE.high


def test_values_are_shares_of_the_held_out_baskets_alone(data: Dataset, found: list[Pool]) -> None:
    start_ms, end_ms = data.split.validate.start_ms, data.split.validate.end_ms
    baskets: dict[int, set[str]] = {}
    for basket, time_ms, phrase in data.purchases.select("basket_id", "time_ms", "phrase").iter_rows():
        if start_ms <= time_ms < end_ms:
            baskets.setdefault(basket, set()).add(phrase)
    pool = next(one for one in found if one.question.trigger == TRIGGER)
    holding = [goods for goods in baskets.values() if TRIGGER in goods]
    counted = [sum(text in goods for goods in holding) / len(holding) for text in pool.question.options]
    assert pool.values == pytest.approx(counted)


def test_what_the_shop_was_made_with_comes_out_best_after_its_trigger(found: list[Pool]) -> None:
    after = [pool for pool in found if pool.question.trigger == TRIGGER]
    assert after
    assert {pool.question.options[pool.best] for pool in after} == {BEST}


def test_the_same_seed_gives_the_same_pools_and_another_seed_others(data: Dataset, found: list[Pool]) -> None:
    assert pools(data, 40, 0, RULE) == found
    assert pools(data, 40, 1, RULE) != found


def test_the_place_of_the_best_option_tells_nothing(data: Dataset) -> None:
    places = np.bincount([pool.best for pool in pools(data, 100, 3, RULE)], minlength=OPTIONS)
    assert places.min() >= 8, "of a hundred about twenty are expected at each place"


def test_a_question_holds_no_value_and_no_answer() -> None:
    assert set(Question.__slots__) == {"name", "history", "options", "notes"}


def test_options_are_new_to_the_history_and_the_trigger_stands_in_front(found: list[Pool]) -> None:
    for pool in found:
        lines = pool.question.history.lines
        known = {normalise_query(line.text) for line in lines}
        assert not known & {normalise_query(option) for option in pool.question.options}
        assert [line.index for line in lines] == list(range(1, len(lines) + 1))
        assert lines[0].days_ago == 0


def test_each_household_asks_once_and_the_dressed_option_is_neither_best_nor_first(found: list[Pool]) -> None:
    assert len({pool.question.name for pool in found}) == len(found)
    assert all(pool.weaker not in (0, pool.best) for pool in found)


def test_queries_of_another_popularity_are_no_options(data: Dataset, found: list[Pool]) -> None:
    popularity = dict(data.lexicon)
    for pool in found:
        best = popularity[pool.question.options[pool.best]]
        ratios = [popularity[option] / best for option in pool.question.options]
        assert max(ratios) <= RULE.popularity
        assert min(ratios) >= 1 / RULE.popularity


def test_triggers_are_goods_of_enough_baskets_and_queries_stand_in_the_lexicon(data: Dataset) -> None:
    values = pool_values(data, RULE.trigger_baskets)
    assert set(values.triggers) == {TRIGGER, "milk"}
    assert set(values.queries) <= set(data.queries)
    assert values.shares.shape == (2, len(values.queries))
    assert "food" not in pool_values(data, 1).triggers, "a category is no title"


def test_too_few_pools_are_an_error_that_says_how_many_there_are(data: Dataset) -> None:
    with pytest.raises(DatasetError, match=r"The data give \d+ pools") as caught:
        pools(data, 100_000, 0, RULE)
    assert "--cases" in caught.value.action
