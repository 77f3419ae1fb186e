"""Arms that count purchases: the lists of their formulas, and nothing from the future."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.evaluation.cases import Cases, Recommender
from training.evaluation.counting_arms import (
    LONGEST_LIST,
    PurchaseLog,
    habit,
    popularity,
    user_neighbours,
)

DAY_MS = 86_400_000
Basket = tuple[int, int, list[str]]
Case = tuple[int, int, set[str], set[str]]


def purchases_of(*baskets: Basket) -> pl.DataFrame:
    """Baskets of (household, day, phrases); a phrase that stands twice is bought as two types."""
    rows = [
        (household, number, day * DAY_MS, f"T/{place}", phrase)
        for number, (household, day, phrases) in enumerate(baskets)
        for place, phrase in enumerate(phrases)
    ]
    names = ["household_id", "basket_id", "time_ms", "type_id", "phrase"]
    return pl.DataFrame(rows, schema=names, orient="row")


def cases_of(*cases: Case) -> Cases:
    """Cases of (household, day, seen, owned)."""
    size = len(cases)
    return Cases(
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


def asked(arm: Recommender, *cases: Case, novel: bool = False) -> list[list[str]]:
    return arm(cases_of(*cases), novel)


def test_popularity_counts_older_baskets_once_each() -> None:
    # Day 2's basket holds soap in three types: still one basket, fewer than tea's two.
    table = purchases_of((1, 0, ["tea", "milk"]), (2, 1, ["tea"]), (1, 2, ["soap", "soap", "soap"]))
    arm = popularity(table)
    assert asked(arm, (9, 3, set(), set())) == [["tea", "milk", "soap"]]
    assert asked(arm, (9, 2, set(), set()), (9, 0, set(), set())) == [["tea", "milk"], []]


def test_habit_prefers_recent_baskets_and_fills_up_with_popular_phrases() -> None:
    table = purchases_of((1, 0, ["old"]), (1, 200, ["recent"]), (2, 1, ["popular"]), (3, 1, ["popular"]))
    assert asked(habit(table), (1, 201, set(), set())) == [["recent", "old", "popular"]]


def test_two_old_baskets_weigh_as_much_as_one_a_half_life_later() -> None:
    # a: 2^(-91/90) + 2^(-90/90) = 0.996; b: 2^(-1/90) = 0.992. With h = 30 days: 0.247 and 0.977.
    table = purchases_of((1, 0, ["a"]), (1, 1, ["a"]), (1, 90, ["b"]))
    assert asked(habit(table), (1, 91, set(), set())) == [["a", "b"]]
    assert asked(habit(table, 30 * DAY_MS), (1, 91, set(), set())) == [["b", "a"]]
    # Beside b's 1, a: 2^(-92/90) + 2^(-91/90) = 0.989; with h = 100 days 1.061.
    later = purchases_of((1, 0, ["a"]), (1, 1, ["a"]), (1, 92, ["b"]))
    assert asked(habit(later), (1, 93, set(), set())) == [["b", "a"]]
    assert asked(habit(later, 100 * DAY_MS), (1, 93, set(), set())) == [["a", "b"]]


def test_equal_habits_go_by_popularity_then_by_name() -> None:
    table = purchases_of((1, 0, ["c", "b", "a"]), (2, 0, ["c"]))
    assert asked(habit(table), (1, 1, set(), set())) == [["c", "a", "b"]]


@pytest.mark.parametrize("make", [popularity, habit, lambda table: user_neighbours(table, 5 * DAY_MS)])
def test_seen_is_never_listed_and_novel_leaves_out_what_is_owned(
    make: Callable[[pl.DataFrame], Recommender],
) -> None:
    arm = make(purchases_of((1, 0, ["milk", "tea"]), (1, 1, ["soap"]), (2, 0, ["milk", "beer"])))
    case: Case = (1, 5, {"soap"}, {"milk", "tea", "soap"})
    assert set(asked(arm, case)[0]) == {"milk", "tea", "beer"}
    assert asked(arm, case, novel=True) == [["beer"]]


def test_a_household_that_owns_all_that_was_sold_gets_nothing_new() -> None:
    arm = popularity(purchases_of((1, 0, ["milk"]), (2, 1, ["milk"]), (2, 2, ["eggs"])))
    cases: list[Case] = [(1, 5, set(), {"milk"}), (2, 5, set(), {"milk", "eggs"})]
    assert asked(arm, *cases, novel=True) == [["eggs"], []]


def test_lists_hold_at_most_thirty_and_phrases_that_nobody_sold_are_left_out_quietly() -> None:
    table = purchases_of((1, 0, [f"thing {n:02}" for n in range(40)]))
    [listed] = asked(habit(table), (1, 1, {"never sold"}, {"never sold"}))
    assert listed == [f"thing {n:02}" for n in range(LONGEST_LIST)]


def test_neighbours_recommend_what_like_households_buy() -> None:
    table = purchases_of(
        (1, 0, ["tea", "milk"]),
        (2, 0, ["tea", "milk", "honey"]),
        (3, 0, ["beer", "crisps"]),
        (4, 0, ["beer", "crisps"]),
    )
    arm = user_neighbours(table, 1 * DAY_MS)
    assert asked(arm, (1, 9, set(), {"tea", "milk"}), novel=True)[0][0] == "honey"
    unknown = asked(arm, (77, 9, set(), set()))[0]
    assert unknown == asked(popularity(table), (77, 9, set(), set()))[0]


def test_only_the_nearest_households_are_neighbours() -> None:
    table = purchases_of((1, 0, ["tea"]), (2, 0, ["tea", "honey"]), (3, 0, ["tea", "beer", "crisps", "gum"]))
    arm = user_neighbours(table, DAY_MS, neighbours=1)
    # Household 3's phrases have score 0: as popular as honey, and first by name, but after it.
    assert asked(arm, (1, 9, set(), {"tea"}), novel=True) == [["honey", "beer", "crisps", "gum"]]


def test_neighbours_are_frozen() -> None:
    past = [(1, 0, ["tea"]), (2, 0, ["tea", "honey"])]
    later = [(2, 3, ["beer"]), (1, 3, ["beer"])]
    cases: list[Case] = [(1, 9, set(), set()), (2, 9, set(), {"tea"})]
    for novel in (False, True):
        frozen = asked(user_neighbours(purchases_of(*past, *later), 3 * DAY_MS), *cases, novel=novel)
        assert frozen == asked(user_neighbours(purchases_of(*past), 3 * DAY_MS), *cases, novel=novel)


def test_nothing_was_ever_sold() -> None:
    table = purchases_of((1, 5, ["tea"]), (1, 5, ["milk"]))
    for arm in (popularity(table), habit(table), user_neighbours(table, DAY_MS)):
        assert asked(arm, (1, 5, set(), set())) == [[]]


def test_the_last_moment_is_the_baskets_of_one_second() -> None:
    log = PurchaseLog.of(purchases_of((1, 0, ["old"]), (1, 2, ["a"]), (1, 2, ["b", "a"]), (1, 3, ["now"])))
    assert [log.phrases[item] for item in log.last_moment(1, 3 * DAY_MS)] == ["a", "b"]
    assert not len(log.last_moment(1, 0))
    assert not len(log.last_moment(8, 3 * DAY_MS))


# Within 90 days no two different histories weigh the same, so rounding cannot decide on an order.
shopping = st.lists(
    st.tuples(
        st.integers(1, 3),
        st.integers(0, 89),
        st.lists(st.sampled_from(["milk", "eggs", "bread", "beer", "tea"]), min_size=1, max_size=4),
    ),
    min_size=1,
    max_size=25,
)
days = st.lists(st.integers(0, 100), min_size=1, max_size=5)


def plain_lists(baskets: list[Basket], household: int, day: int) -> tuple[list[str], list[str]]:
    """Popularity and habit as the module's formulas say, one after the other."""
    older = [(whose, then, set(phrases)) for whose, then, phrases in sorted(baskets) if then < day]
    sold = Counter(phrase for _, _, phrases in older for phrase in phrases)
    own = {
        phrase: sum(
            2.0 ** ((then - day) / 90)
            for whose, then, phrases in older
            if whose == household and phrase in phrases
        )
        for phrase in sold
    }
    popular = sorted(sold, key=lambda phrase: (-sold[phrase], phrase))
    return popular, sorted(sold, key=lambda phrase: (-own[phrase], -sold[phrase], phrase))


@settings(max_examples=60, deadline=None)
@given(shopping, days)
def test_popularity_and_habit_agree_with_the_plain_formulas(
    baskets: list[Basket], asked_on: list[int]
) -> None:
    table = purchases_of(*baskets)
    cases: list[Case] = [(household, day, set(), set()) for day in asked_on for household in (1, 2, 3)]
    expected = [plain_lists(baskets, household, day) for household, day, _, _ in cases]
    assert asked(popularity(table), *cases) == [popular for popular, _ in expected]
    assert asked(habit(table), *cases) == [own for _, own in expected]


@settings(max_examples=40, deadline=None)
@given(shopping, st.integers(0, 90))
def test_what_happens_at_or_after_a_cases_time_changes_nothing(baskets: list[Basket], day: int) -> None:
    everything = purchases_of(*baskets)
    past = everything.filter(pl.col("time_ms") < day * DAY_MS)
    cases: list[Case] = [(household, day, set(), {"milk"}) for household in (1, 2, 3)]
    for make in (popularity, habit):
        for novel in (False, True):
            lists = asked(make(everything), *cases, novel=novel)
            assert lists == asked(make(past), *cases, novel=novel)
