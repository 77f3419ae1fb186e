"""Co-purchase: cosines worked by hand, frozen at their time; habit is added at each case's own."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.evaluation.cases import Cases, Recommender
from training.evaluation.co_purchase import MIX, CoPurchase, co_purchase, habit_co_purchase
from training.evaluation.counting_arms import habit

DAY_MS = 86_400_000
Basket = tuple[int, int, list[str]]
Case = tuple[int, int, set[str], set[str]]
# milk stands in 4 baskets, eggs in 2, tea in 2, honey in 1.
PAST: list[Basket] = [
    (1, 0, ["milk", "eggs"]),
    (2, 0, ["milk", "eggs", "tea"]),
    (2, 1, ["milk"]),
    (3, 1, ["tea", "honey"]),
    (3, 2, ["milk"]),
]
FROZEN_MS = 10 * DAY_MS


def purchases_of(*baskets: Basket) -> pl.DataFrame:
    """Baskets of (household, day, phrases); a phrase that stands twice is bought as two types."""
    rows = [
        (household, number, day * DAY_MS, f"T/{place}", phrase)
        for number, (household, day, phrases) in enumerate(baskets)
        for place, phrase in enumerate(phrases)
    ]
    names = ["household_id", "basket_id", "time_ms", "type_id", "phrase"]
    return pl.DataFrame(rows, schema=names, orient="row")


def asked(arm: Recommender, *cases: Case, novel: bool = False) -> list[list[str]]:
    """Lists for cases of (household, day, seen, owned)."""
    size = len(cases)
    made = Cases(
        task="rest_of_basket" if any(seen for _, _, seen, _ in cases) else "next_basket",
        rows=np.arange(size),
        households=np.array([case[0] for case in cases], np.int64),
        baskets=np.zeros(size, np.int64),
        times_ms=np.array([case[1] * DAY_MS for case in cases], np.int64),
        seen=[frozenset(case[2]) for case in cases],
        truths=[frozenset()] * size,
        owned=[frozenset(case[3]) for case in cases],
        new_truths=[frozenset()] * size,
        events=np.zeros(size, np.int64),
    )
    return arm(made, novel)


def cosine(together: CoPurchase, one: str, other: str) -> float:
    return float(together.cosines[together.phrases.index(one), together.phrases.index(other)])


def test_cosines_by_hand() -> None:
    together = CoPurchase(purchases_of(*PAST), FROZEN_MS)
    assert together.phrases == ["eggs", "honey", "milk", "tea"]
    assert together.counts.tolist() == [2, 1, 4, 2]
    assert together.cosines.dtype == np.float32
    assert cosine(together, "milk", "eggs") == pytest.approx(2 / np.sqrt(4 * 2))
    assert cosine(together, "tea", "milk") == pytest.approx(1 / np.sqrt(2 * 4))
    assert cosine(together, "tea", "honey") == pytest.approx(1 / np.sqrt(2 * 1))
    assert cosine(together, "eggs", "honey") == 0.0
    assert not together.cosines.diagonal().any()


def test_a_phrase_of_two_types_counts_once_a_basket() -> None:
    twice = CoPurchase(purchases_of((1, 0, ["milk", "milk", "eggs"])), FROZEN_MS)
    assert twice.counts.tolist() == [1, 1]
    assert cosine(twice, "eggs", "milk") == 1.0


def test_scores_are_sums_over_the_known_seeds() -> None:
    together = CoPurchase(purchases_of(*PAST), FROZEN_MS)
    by_hand = [1 / 2, 1 / np.sqrt(2), 1 / np.sqrt(8), 0.0]  # eggs–tea, honey–tea, milk–tea, tea itself
    assert together.scores({"tea"}) == pytest.approx(by_hand)
    both = together.scores(["tea", "milk", "caviar"])
    assert both == pytest.approx(together.scores(["tea"]) + together.scores(["milk"]))
    assert not together.scores(["caviar"]).any()
    assert not together.scores([]).any()


def test_what_was_seen_of_a_basket_are_the_seeds() -> None:
    arm = co_purchase(purchases_of(*PAST), FROZEN_MS)
    assert asked(arm, (1, 11, {"tea"}, {"tea", "milk"})) == [["honey", "eggs", "milk"]]
    assert asked(arm, (1, 11, {"tea"}, {"tea", "milk"}), novel=True) == [["honey", "eggs"]]


def test_before_a_basket_the_last_one_is_the_seed_also_after_the_freeze() -> None:
    table = purchases_of(*PAST, (1, 20, ["tea"]), (1, 30, ["milk"]))
    arm = co_purchase(table, FROZEN_MS)
    assert asked(arm, (1, 25, set(), set())) == [["honey", "eggs", "milk", "tea"]]
    # The basket of the case's own second is no history yet.
    assert asked(arm, (1, 30, set(), set())) == [["honey", "eggs", "milk", "tea"]]


def test_without_a_seed_the_most_popular_come_first() -> None:
    arm = co_purchase(purchases_of(*PAST), FROZEN_MS)
    assert asked(arm, (99, 11, set(), set())) == [["milk", "eggs", "tea", "honey"]]


def test_cosines_know_nothing_from_the_freeze_on() -> None:
    later: list[Basket] = [(1, 10, ["milk", "honey"]), (2, 11, ["caviar", "tea"])]
    past, all_year = purchases_of(*PAST), purchases_of(*PAST, *later)
    one, other = CoPurchase(past, FROZEN_MS), CoPurchase(all_year, FROZEN_MS)
    assert one.phrases == other.phrases
    assert np.array_equal(one.cosines, other.cosines)
    cases: list[Case] = [(3, 12, {"tea"}, {"tea"}), (1, 12, {"milk", "caviar"}, set())]
    assert asked(co_purchase(past, FROZEN_MS), *cases) == asked(co_purchase(all_year, FROZEN_MS), *cases)


def test_with_no_weight_on_co_purchase_only_habit_remains() -> None:
    table = purchases_of(*PAST)
    cases: list[Case] = [(1, 11, {"tea"}, {"tea"}), (3, 11, {"eggs"}, {"eggs", "tea"})]
    assert asked(habit_co_purchase(table, FROZEN_MS, 0.0), *cases) == asked(habit(table), *cases)


def test_habit_and_co_purchase_are_added_as_standard_scores() -> None:
    # Household 1, tea seen, over (eggs, honey, milk, tea): habit (1, 0, 1, 0) up to a factor: z = ±1.
    # Co-purchase (0.5, 0.7071, 0.3536, 0): mean 0.3902, deviation 0.2579: z = 0.426, 1.229, -0.142, -1.513.
    table = purchases_of(*PAST)
    order = [
        asked(habit_co_purchase(table, FROZEN_MS, mix), (1, 11, {"tea"}, set()))[0] for mix in (1.0, 3.0)
    ]
    assert order == [["eggs", "milk", "honey"], ["honey", "eggs", "milk"]]
    # honey passes milk at 2 / (1.229 + 0.142) = 1.46 and eggs at 2 / (1.229 - 0.426) = 2.49.
    between = asked(habit_co_purchase(table, FROZEN_MS, 2.0), (1, 11, {"tea"}, set()))
    assert between == [["eggs", "honey", "milk"]]


def test_each_task_has_its_mix_and_novel_lists_leave_out_what_is_owned() -> None:
    table = purchases_of(*PAST)
    arm = habit_co_purchase(table, FROZEN_MS)
    case: Case = (1, 11, {"tea"}, {"tea", "milk", "eggs"})
    assert asked(arm, case) == asked(habit_co_purchase(table, FROZEN_MS, MIX["rest_of_basket"]), case)
    assert asked(arm, case, novel=True) == [["honey"]]


def test_nothing_was_sold_before_the_freeze() -> None:
    table = purchases_of((1, 20, ["tea"]))
    assert asked(co_purchase(table, FROZEN_MS), (1, 30, set(), set())) == [[]]
    assert asked(habit_co_purchase(table, FROZEN_MS), (1, 30, set(), set())) == [["tea"]]


shopping = st.lists(
    st.tuples(
        st.integers(1, 3),
        st.integers(0, 20),
        st.lists(st.sampled_from(["milk", "eggs", "bread", "beer", "tea"]), min_size=1, max_size=4),
    ),
    min_size=1,
    max_size=20,
)


@settings(max_examples=40, deadline=None)
@given(shopping)
def test_cosines_are_those_of_the_basket_matrix(baskets: list[Basket]) -> None:
    together = CoPurchase(purchases_of(*baskets), FROZEN_MS)
    held = [set(phrases) for _, day, phrases in baskets if day < 10]
    matrix = np.array([[phrase in basket for phrase in together.phrases] for basket in held], float)
    matrix = matrix.reshape(len(held), len(together.phrases))
    products = matrix.T @ matrix
    scale = np.sqrt(np.outer(products.diagonal(), products.diagonal()))
    np.fill_diagonal(products, 0.0)
    assert together.cosines == pytest.approx(products / scale, abs=1e-6)


@settings(max_examples=40, deadline=None)
@given(shopping, st.integers(0, 20))
def test_what_happens_at_or_after_a_cases_time_changes_nothing(baskets: list[Basket], day: int) -> None:
    everything = purchases_of(*baskets)
    past = everything.filter(pl.col("time_ms") < day * DAY_MS)
    frozen_ms = min(day * DAY_MS, FROZEN_MS)
    cases: list[Case] = [(household, day, set(), {"milk"}) for household in (1, 2, 3)]
    for make in (co_purchase, habit_co_purchase):
        for novel in (False, True):
            lists = asked(make(everything, frozen_ms), *cases, novel=novel)
            assert lists == asked(make(past, frozen_ms), *cases, novel=novel)
