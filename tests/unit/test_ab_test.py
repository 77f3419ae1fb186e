"""The simulated A/B test and the estimates from a log, worked by hand; the estimates are unbiased."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from streams.errors import TrainingError
from training.datasets.complete_journey import Span
from training.datasets.interface import IMPRESSIONS, ClickModel, LoggingPolicy
from training.evaluation.ab_test import (
    CTR,
    UCTR,
    Draws,
    ab_test,
    click_chances,
    click_figures,
    click_model_of,
    clicked_views,
    split_test,
)
from training.evaluation.cases import Cases
from training.evaluation.click_scores import ClickTable
from training.evaluation.logged_hints import LoggedHints, logged_hints, off_policy, target_hints
from training.sessions import NEXT

CLICKS = ClickModel()
GOODS = ["milk", "eggs", "beer", "soap", "bread", "tea", "wine", "jam"]
NUMBER = {phrase: number for number, phrase in enumerate(GOODS)}
FEW = Draws(50)


def cases_of(truths: list[set[str]], per_household: int = 1) -> Cases:
    size = len(truths)
    numbers = np.arange(size)
    frozen = [frozenset(truth) for truth in truths]
    none: list[frozenset[str]] = [frozenset()] * size
    households = numbers // per_household
    return Cases(
        "next_basket", numbers, households, numbers + 100, numbers, none, frozen, none, frozen, numbers
    )


def test_chances_are_those_of_the_click_model() -> None:
    chances = click_chances(
        [["milk", "eggs", "beer", "soap"], ["tea"], []], [{"milk", "soap"}, {"tea"}, {"tea"}], CLICKS
    )
    assert chances == pytest.approx(np.array([[0.45, 0.008, 0.0065], [0.45, 0, 0], [0, 0, 0]]))
    assert clicked_views(chances) == pytest.approx([1 - 0.55 * 0.992 * 0.9935, 0.45, 0.0])
    with pytest.raises(ValueError, match="zip"):
        click_chances([["milk"]], [], CLICKS)


def test_figures_of_a_case_are_its_views_and_places() -> None:
    figures = click_figures([["milk", "eggs", "beer"]], [{"eggs", "beer"}], CLICKS)
    assert figures[CTR] == pytest.approx([(0.01 + 0.36 + 0.2925) / 3])
    assert figures[UCTR] == pytest.approx([1 - 0.99 * 0.64 * 0.7075])


def test_lifts_are_over_the_best_traditional_arm() -> None:
    households = np.array([1, 1, 2, 3])
    views = {
        "popular": np.array([0.1, 0.1, 0.1, 0.1]),
        "habit": np.array([0.2, 0.2, 0.2, 0.2]),
        "il_grpo": np.array([0.3, 0.3, 0.3, 0.3]),
    }
    test = ab_test(views, households, ["popular", "habit"], FEW)
    assert test["best_traditional"] == "habit"
    assert test["arms"]["il_grpo"]["lift"] == pytest.approx((0.5, 0.5, 0.5))
    assert tuple(test["arms"]["habit"]["lift"]) == (0.0, 0.0, 0.0)
    assert test["arms"]["popular"]["uctr"].value == pytest.approx(0.1)
    alone = ab_test({"il_grpo": views["il_grpo"]}, households, ["popular"], FEW)
    assert (alone["best_traditional"], alone["arms"]["il_grpo"]["lift"]) == (None, None)


def test_the_split_deals_households_out_and_draws_their_clicks() -> None:
    households = np.repeat(np.arange(3000), 3)
    views = {"a": np.full(9000, 0.2), "b": np.full(9000, 0.6), "c": np.full(9000, 0.6)}
    split = split_test(views, households, seed=1)
    dealt = [set(split[arm][0].tolist()) for arm in views]
    assert [len(one) for one in dealt] == [1000, 1000, 1000]
    assert set.union(*dealt) == set(range(3000))
    assert all(len(split[arm][0]) == 3000 for arm in views)  # a household's cases stay together
    # Three standard errors of 3,000 draws: 0.022 and 0.027.
    assert split["a"][1].mean() == pytest.approx(0.2, abs=0.022)
    assert split["b"][1].mean() == pytest.approx(0.6, abs=0.027)
    again = split_test(views, households, seed=1)
    assert all(np.array_equal(split[arm][1], again[arm][1]) for arm in views)
    assert set(split_test(views, households, seed=2)["a"][0].tolist()) != dealt[0]


def test_the_click_model_is_the_data_set_s() -> None:
    other = {"clicks": {"examine": [1.0, 0.5], "attract": 0.3, "noise": 0.02}, "policy": {}}
    assert click_model_of({"interface": other}) == ClickModel((1.0, 0.5), 0.3, 0.02)
    assert click_model_of({"interface": None}) == ClickModel()


# From a log alone


def shown_table(rows: list[tuple[int, int, str, bool, float | None]]) -> pl.DataFrame:
    """Rows of (basket, position, query, clicked, propensity); basket b is of household b - 100, at time b."""
    whole = [(b - 100, b, b, NEXT, place, query, NUMBER[query], hit, p) for b, place, query, hit, p in rows]
    return pl.DataFrame(whole, IMPRESSIONS, orient="row")


def logged(rows: list[tuple[int, int, str, bool, float | None]], cases: Cases) -> LoggedHints:
    return logged_hints(shown_table(rows), Span(0, 10**9), cases, GOODS)


def level(cases: Cases, logit: float = -3.0) -> ClickTable:
    return ClickTable(np.full((len(cases), len(GOODS)), logit, np.float32), np.zeros(16, np.float32), NUMBER)


PAGE = [(100, 0, "milk", True, 0.5), (100, 1, "eggs", False, 0.25), (100, 2, "tea", False, 0.2)]


def test_logged_hints_know_their_case_and_what_the_page_showed_before() -> None:
    cases = cases_of([{"milk"}, {"tea"}])
    elsewhere = [(999, 0, "milk", False, 0.5)]  # no case's basket
    log = logged([*PAGE, *elsewhere, (101, 0, "jam", True, None)], cases)
    assert log.case.tolist() == [0, 0, 0, 1]
    assert log.phrase.tolist() == [0, 1, 5, 7]
    assert log.clicked.tolist() == [1, 0, 0, 1]
    assert log.before.tolist() == [[-1, -1], [0, -1], [0, 1], [-1, -1]]
    assert not log.has_propensities
    assert logged(PAGE, cases).has_propensities
    assert len(logged_hints(shown_table(PAGE), Span(0, 50), cases, GOODS)) == 0


def test_the_target_s_hint_gives_way_to_one_that_was_not_shown_yet() -> None:
    cases = cases_of([{"milk"}])
    log = logged(PAGE, cases)

    def shown(*queries: str) -> list[str | None]:
        numbers = target_hints(log, [list(queries)], NUMBER)
        return [GOODS[number] if number >= 0 else None for number in numbers]

    assert shown("milk", "soap", "tea", "jam") == ["milk", "soap", "tea"]
    # The log showed milk first: the arm's second place goes to its fourth hint.
    assert shown("soap", "milk", "tea", "jam") == ["soap", "jam", "tea"]
    assert shown("soap", "beer", "eggs", "milk", "wine") == ["soap", "beer", "wine"]
    assert shown("milk") == ["milk", None, None]
    assert shown() == [None, None, None]


def test_estimates_by_hand() -> None:
    # One page; the arm agrees on places 0 and 2 with weights 2 and 5, of which the first was clicked.
    cases = cases_of([{"milk", "soap"}])
    found = off_policy(
        logged(PAGE, cases), [[["milk", "soap", "tea", "jam"]]], cases, level(cases), CLICKS, FEW
    )
    assert found["ips"].value == pytest.approx(2 / 3)
    assert found["snips"].value == pytest.approx(2 / 7)
    p = 1 / (1 + np.exp(3.0))
    assert found["dr"].value == pytest.approx((3 * p + 2 * (1 - p) + 5 * (0 - p)) / 3, rel=1e-6)
    assert found["true"].value == pytest.approx((0.45 + 0.36 + 0.0065) / 3)
    assert found["mean_weight"] == pytest.approx(7 / 3)
    assert found["effective_samples"] == pytest.approx(49 / 29)
    assert found["impressions"] == 3
    assert found["agrees"]["ips"] is False  # one household: no width


def test_several_seeds_are_the_policy_that_draws_one_of_them() -> None:
    cases = cases_of([{"milk", "soap"}])
    first, second = [["milk", "soap", "tea", "jam"]], [["jam", "soap", "beer", "wine"]]
    log, table = logged(PAGE, cases), level(cases)
    both = off_policy(log, [first, second], cases, table, CLICKS, FEW)
    alone = [off_policy(log, [lists], cases, table, CLICKS, FEW) for lists in (first, second)]
    for name in ("true", "ips", "dm", "dr"):
        assert both[name].value == pytest.approx(np.mean([one[name].value for one in alone]))


def test_a_log_without_propensities_says_so() -> None:
    cases = cases_of([{"milk"}])
    for rows in ([(100, 0, "milk", True, None)], []):
        with pytest.raises(TrainingError, match="propensities"):
            off_policy(logged(rows, cases), [[["milk"]]], cases, level(cases), CLICKS, FEW)


def test_estimates_from_the_simulated_log_come_to_the_true_value() -> None:
    """Pages drawn by the logging policy with its own propensities: no estimate may be off in the mean."""
    chance = random.Random(5)
    policy, rows, truths, lists = LoggingPolicy(), [], [], []
    for case in range(6_000):
        habit = {number: chance.random() for number in chance.sample(range(8), 4)}
        scores = policy.scores(np.array([9, 7, 5, 4, 3, 2, 2, 1]), habit)
        truth = {GOODS[number] for number in habit if chance.random() < 0.5} or {"jam"}
        for position, (number, p) in enumerate(policy.draw(scores, chance)):
            hit = chance.random() < CLICKS.click_probability(position, GOODS[number] in truth)
            rows.append((100 + case, position, GOODS[number], hit, p))
        truths.append(truth)
        ordered = sorted(habit, key=lambda number: -habit[number])
        lists.append([GOODS[number] for number in [*ordered, *(n for n in range(8) if n not in habit)]])
    cases = cases_of(truths, per_household=4)
    found = off_policy(logged(rows, cases), [lists], cases, level(cases), CLICKS, Draws(200))
    assert found["mean_weight"] == pytest.approx(1.0, abs=0.03)
    for name in ("ips", "snips", "dr"):
        estimate = found[name]
        error = (estimate.high - estimate.low) / (2 * 1.96)
        assert estimate.value == pytest.approx(found["true"].value, abs=3 * error)
        assert error < 0.01
    assert found["logged"].value < found["true"].value
    own = click_chances(lists, cases.truths, CLICKS).mean()
    assert found["true"].value == pytest.approx(own, rel=0.15)
    wrong = replace(logged(rows, cases), propensity=np.full(len(rows), 0.125))
    assert off_policy(wrong, [lists], cases, level(cases), CLICKS, FEW)["agrees"]["ips"] is False
