"""Cases of an evaluation: what was owned before, what was seen of the basket, what is still to come."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.errors import DatasetError
from streams.hint_request import Int8
from training.datasets.complete_journey import Span
from training.evaluation.cases import cases_of, cold_starts, with_unseen_products
from training.sessions import NEXT, REST, SampleMaker, Samples, taken

DAY_MS = 86_400_000
START_MS = 1_500_000_000_000
SPAN = Span(START_MS, START_MS + 365 * DAY_MS)
PHRASES = ["milk", "eggs", "beer", "soap", "bread", "tea"]
Basket = tuple[int, int, int, list[str]]


class Letters:
    """A text encoder that counts letters."""

    name = "letters"
    dim = 26

    def embed(self, text: str) -> Int8:
        counts = np.array([text.count(chr(97 + place)) for place in range(26)], float)
        vector: Int8 = np.rint(127 * counts / max(1e-9, np.linalg.norm(counts))).astype(np.int8)
        return vector


def purchases_of(*baskets: Basket) -> pl.DataFrame:
    """Baskets of (household, basket, day, phrases); a phrase that stands twice is bought as two types."""
    rows = [
        (household, basket, START_MS + day * DAY_MS, f"T/{place}", phrase, "things", 1, 1.0)
        for household, basket, day, phrases in baskets
        for place, phrase in enumerate(phrases)
    ]
    names = ["household_id", "basket_id", "time_ms", "type_id", "phrase", "category_phrase"]
    return pl.DataFrame(rows, schema=[*names, "quantity", "sales_value"], orient="row")


def samples_of(purchases: pl.DataFrame, span: Span = SPAN) -> Samples:
    numbers = {phrase: number for number, phrase in enumerate(PHRASES)}
    return SampleMaker(Letters(), numbers, span, honest=True, opened=True).make(purchases)


@pytest.fixture(scope="module")
def purchases() -> pl.DataFrame:
    return purchases_of(
        (1, 11, 0, ["milk", "eggs", "beer", "soap", "bread"]),
        (1, 12, 7, ["milk", "tea"]),
        (1, 13, 14, ["milk", "eggs", "caviar", "soap", "tea"]),
        (2, 21, 3, ["soap"]),
    )


def test_next_basket_cases_know_what_was_bought_strictly_before(purchases: pl.DataFrame) -> None:
    cases = cases_of(samples_of(purchases), purchases, NEXT)
    first = frozenset({"milk", "eggs", "beer", "soap", "bread"})
    assert (cases.task, len(cases)) == ("next_basket", 4)
    assert cases.households.tolist() == [1, 1, 1, 2]
    assert cases.baskets.tolist() == [11, 12, 13, 21]
    assert cases.times_ms.tolist() == [START_MS + day * DAY_MS for day in (0, 7, 14, 3)]
    assert cases.owned == [frozenset(), first, first | {"tea"}, frozenset()]
    assert cases.truths == [first, {"milk", "tea"}, {"milk", "eggs", "caviar", "soap", "tea"}, {"soap"}]
    assert cases.new_truths == [first, {"tea"}, {"caviar"}, {"soap"}]
    assert cases.seen == [frozenset()] * 4
    assert cases.events.tolist() == [0, 5, 7, 0]


def test_what_was_seen_of_a_basket_is_owned_and_no_longer_to_come(purchases: pl.DataFrame) -> None:
    samples = samples_of(purchases)
    cases = cases_of(samples, purchases, REST)
    assert (cases.task, cases.baskets.tolist()) == ("rest_of_basket", [11, 13])
    assert cases.events.tolist() == [2, 9]
    first = {"milk", "eggs", "beer", "soap", "bread"}
    before: list[set[str]] = [set(), first | {"tea"}]
    for place, basket in enumerate([first, {"milk", "eggs", "caviar", "soap", "tea"}]):
        assert len(cases.seen[place]) == 2
        assert cases.seen[place] | cases.truths[place] == basket
        assert not cases.seen[place] & cases.truths[place]
        assert cases.owned[place] == before[place] | cases.seen[place]
        assert cases.new_truths[place] == cases.truths[place] - cases.owned[place]
    assert [samples.samples[row].task for row in cases.rows] == [REST, REST]


def test_every_row_counts_as_an_event_but_a_phrase_of_two_types_is_owned_once() -> None:
    purchases = purchases_of((1, 1, 0, ["milk", "milk", "tea"]), (1, 2, 1, ["beer"]))
    cases = cases_of(samples_of(purchases), purchases, NEXT)
    assert cases.events.tolist() == [0, 3]
    assert cases.owned[1] == {"milk", "tea"}


def test_baskets_of_the_same_second_are_no_history_of_each_other() -> None:
    purchases = purchases_of((1, 1, 0, ["milk"]), (1, 2, 0, ["milk", "eggs"]), (1, 3, 1, ["eggs"]))
    cases = cases_of(samples_of(purchases), purchases, NEXT)
    assert cases.owned == [frozenset(), frozenset(), {"milk", "eggs"}]
    assert cases.new_truths == [{"milk"}, {"milk", "eggs"}, frozenset()]
    assert cases.events.tolist() == [0, 0, 3]


def test_cases_follow_the_samples_and_rows_lead_back(purchases: pl.DataFrame) -> None:
    samples = samples_of(purchases)
    order = np.arange(len(samples))[::-1]
    turned = Samples([samples.samples[row] for row in order], taken(samples.contexts, order))
    plain, reverse = cases_of(samples, purchases, NEXT), cases_of(turned, purchases, NEXT)
    assert reverse.baskets.tolist() == plain.baskets.tolist()[::-1]
    assert reverse.owned == plain.owned[::-1]
    for cases, source in ((plain, samples), (reverse, turned)):
        assert [source.samples[row].basket_id for row in cases.rows] == cases.baskets.tolist()


def test_history_older_than_the_span_counts(purchases: pl.DataFrame) -> None:
    late = Span(START_MS + 10 * DAY_MS, SPAN.end_ms)
    cases = cases_of(samples_of(purchases, late), purchases, NEXT)
    assert cases.baskets.tolist() == [13]
    assert cases.events.tolist() == [7]
    assert cases.new_truths == [{"caviar"}]


def test_a_span_ends_before_its_end(purchases: pl.DataFrame) -> None:
    week = Span(START_MS + 7 * DAY_MS, START_MS + 14 * DAY_MS)
    assert cases_of(samples_of(purchases, week), purchases, NEXT).baskets.tolist() == [12]


def test_a_basket_that_the_purchases_lack_is_an_error(purchases: pl.DataFrame) -> None:
    samples = samples_of(purchases)
    with pytest.raises(DatasetError, match="Basket 13"):
        cases_of(samples, purchases.filter(pl.col("basket_id") != 13), REST)


def test_no_sample_of_the_task_gives_no_case() -> None:
    purchases = purchases_of((1, 1, 0, ["milk"]))
    cases = cases_of(samples_of(purchases), purchases, REST)
    assert (len(cases), cases.rows.shape, cases.owned) == (0, (0,), [])


def test_strata(purchases: pl.DataFrame) -> None:
    cases = cases_of(samples_of(purchases), purchases, NEXT)
    assert cold_starts(cases).tolist() == [True, False, False, True]
    assert cold_starts(cases, events_below=6).tolist() == [True, True, False, True]
    assert with_unseen_products(cases, PHRASES).tolist() == [False, False, True, False]


shopping = st.lists(
    st.tuples(
        st.integers(1, 3), st.integers(0, 6), st.lists(st.sampled_from(PHRASES), min_size=1, max_size=6)
    ),
    min_size=1,
    max_size=8,
)


def older_phrases(bought: list[tuple[int, int, list[str]]], household: int, day: int) -> set[str]:
    """What the household bought on days before."""
    return {
        phrase for whose, then, phrases in bought if whose == household and then < day for phrase in phrases
    }


@settings(max_examples=40, deadline=None)
@given(shopping, st.integers(1, 7))
def test_the_future_changes_nothing_and_new_is_what_no_older_basket_holds(
    bought: list[tuple[int, int, list[str]]], end: int
) -> None:
    baskets = [
        (household, 100 + place, day, phrases) for place, (household, day, phrases) in enumerate(bought)
    ]
    everything = purchases_of(*baskets)
    span = Span(START_MS, START_MS + end * DAY_MS)
    past = everything.filter(pl.col("time_ms") < span.end_ms)
    if past.is_empty():
        return
    samples = samples_of(past, span)
    for task in (NEXT, REST):
        with_future, without = (cases_of(samples, rows, task) for rows in (everything, past))
        assert (with_future.owned, with_future.seen) == (without.owned, without.seen)
        assert with_future.events.tolist() == without.events.tolist()
    cases = cases_of(samples, everything, NEXT)
    made = dict(zip(cases.baskets.tolist(), zip(cases.truths, cases.new_truths, strict=True), strict=True))
    assert len(made) == len(cases)
    assert made == {
        basket: (set(phrases), set(phrases) - older_phrases(bought, household, day))
        for household, basket, day, phrases in baskets
        if day < end
    }
