"""Simulated hints and clicks: what the policy shows is drawn as it says, and nothing is known too early."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from itertools import permutations
from math import prod

import numpy as np
import polars as pl
import pytest

from streams.errors import DatasetError
from training.datasets.complete_journey import VALIDATE, WHOLE_YEAR, Span, load_purchases
from training.datasets.interface import IMPRESSIONS, ClickModel, LoggingPolicy, impressions
from training.lexicon import build_lexicon
from training.sessions import NEXT, REST

DAY_MS = 86_400_000
START_MS = WHOLE_YEAR.start_ms
QUERIES = ["milk", "eggs", "beer", "soap", "bread"]
ALWAYS = Span(0, 2**60)
PLAIN = LoggingPolicy(temperature=1.0)
COUNTS = np.array([3, 1, 0, 0])
HABIT = {1: 1.0, 2: 3.0}


def bought(*baskets: tuple[int, int, int, list[str]]) -> pl.DataFrame:
    """Of (household, basket, time in ms from START_MS, phrases)."""
    rows = [
        (household, basket, START_MS + at_ms, f"T/{phrase}", phrase, "things", 1, 1.0)
        for household, basket, at_ms, phrases in baskets
        for phrase in phrases
    ]
    names = ["household_id", "basket_id", "time_ms", "type_id", "phrase", "category_phrase"]
    return pl.DataFrame(rows, schema=[*names, "quantity", "sales_value"], orient="row")


def some_year(baskets: int, households: int = 7, seed: int = 1) -> pl.DataFrame:
    chance = random.Random(seed)
    return bought(
        *(
            (number % households, number, number * DAY_MS // 9, chance.sample(QUERIES, chance.randint(1, 3)))
            for number in range(baskets)
        )
    )


def test_scores_mix_the_shares_of_habit_and_popularity() -> None:
    # Popularity with one more each: 4, 2, 1, 1 of 8; habit: 1 and 3 of 4.
    expected = [0.3 * 4 / 8, 0.3 * 2 / 8 + 0.7 / 4, 0.3 * 1 / 8 + 0.7 * 3 / 4, 0.3 * 1 / 8]
    assert PLAIN.scores(COUNTS, HABIT) == pytest.approx(expected)
    assert PLAIN.scores(COUNTS, {}) == pytest.approx([4 / 8, 2 / 8, 1 / 8, 1 / 8])
    assert LoggingPolicy(temperature=0.5).scores(COUNTS, HABIT) == pytest.approx(np.square(expected))


def test_a_propensity_is_the_uniform_part_and_the_share_of_what_is_left() -> None:
    scores = np.array([0.4, 0.3, 0.2, 0.1])
    first = PLAIN.propensities(scores, [])
    assert first == pytest.approx([0.05 + 0.8 * 0.4, 0.05 + 0.8 * 0.3, 0.05 + 0.8 * 0.2, 0.05 + 0.8 * 0.1])
    second = PLAIN.propensities(scores, [0])
    assert second == pytest.approx([0, 0.2 / 3 + 0.8 * 0.5, 0.2 / 3 + 0.8 / 3, 0.2 / 3 + 0.8 / 6])
    assert scores[0] == 0.4


def test_the_chances_of_all_lists_sum_to_one() -> None:
    scores = PLAIN.scores(COUNTS, HABIT)
    total = sum(
        prod(PLAIN.propensities(scores, row[:slot])[row[slot]] for slot in range(3))
        for row in permutations(range(4), 3)
    )
    assert total == pytest.approx(1.0)


def test_what_is_drawn_is_as_frequent_as_its_recorded_propensity() -> None:
    scores, draws = LoggingPolicy().scores(COUNTS, HABIT), 10_000
    seen: Counter[tuple[int, ...]] = Counter()
    chances: dict[tuple[int, ...], float] = {}
    for number in range(draws):
        row = list(LoggingPolicy().draw(scores, random.Random(number)))
        numbers = tuple(number for number, _ in row)
        assert len(set(numbers)) == 3
        seen[numbers] += 1
        chances[numbers] = prod(chance for _, chance in row)
    assert sum(chances.values()) == pytest.approx(1.0)  # all 24 lists came up
    for numbers, chance in chances.items():
        assert abs(seen[numbers] / draws - chance) < 4 * (chance * (1 - chance) / draws) ** 0.5


def test_a_lexicon_smaller_than_the_slots_is_shown_whole() -> None:
    shown = impressions(bought((1, 1, 0, ["milk"])), ["milk", "eggs"], ALWAYS, seed=0)
    assert sorted(shown["query"]) == ["eggs", "milk"]
    assert shown["propensity"][1] == pytest.approx(1.0)


def test_a_click_depends_on_position_and_on_what_is_bought() -> None:
    clicks = ClickModel()
    assert [clicks.click_probability(place, True) for place in range(3)] == pytest.approx(
        [0.45, 0.36, 0.2925]
    )
    assert clicks.click_probability(2, False) == pytest.approx(0.0065)


def test_clicks_are_as_frequent_as_the_model_says() -> None:
    purchases = some_year(4_000)
    clicks = ClickModel(attract=0.5, noise=0.1)
    shown = impressions(purchases, QUERIES, ALWAYS, seed=3, clicks=clicks)
    truth = purchases.select("basket_id", query="phrase", hit=True)
    judged = shown.join(truth, on=["basket_id", "query"], how="left").with_columns(
        pl.col("hit").fill_null(False)
    )
    rates = judged.group_by("position", "hit").agg(pl.col("clicked").mean(), pl.len())
    assert rates.height == 6
    for position, hit, rate, count in rates.iter_rows():
        chance = clicks.click_probability(position, hit)
        assert abs(rate - chance) < 4 * (chance * (1 - chance) / count) ** 0.5


def test_every_basket_gets_a_row_per_slot_with_the_baskets_time() -> None:
    purchases = some_year(50)
    shown = impressions(purchases, QUERIES, ALWAYS, seed=0)
    assert dict(shown.schema) == IMPRESSIONS
    assert shown["position"].to_list() == [0, 1, 2] * 50
    assert shown["number"].to_list() == [QUERIES.index(query) for query in shown["query"]]
    assert shown["time_ms"].is_sorted()
    assert shown.select("household_id", "basket_id", "time_ms").unique().height == 50


def test_in_the_middle_of_a_basket_what_is_in_it_is_not_shown_and_what_is_to_come_is_clicked() -> None:
    purchases = some_year(400)
    numbers = dict(
        purchases.group_by("basket_id", maintain_order=True)
        .agg(pl.col("phrase").replace_strict({query: n for n, query in enumerate(QUERIES)}))
        .iter_rows()
    )
    amid = {basket: tuple(sorted(held)[1:]) for basket, held in numbers.items() if basket % 2}
    clicks = ClickModel(examine=(1.0, 1.0, 1.0), attract=1.0, noise=0.0)
    shown = impressions(purchases, QUERIES, ALWAYS, seed=0, amid=amid, clicks=clicks)
    before, middle = (shown.filter(pl.col("task") == task) for task in (NEXT, REST))
    assert before.equals(impressions(purchases, QUERIES, ALWAYS, seed=0, clicks=clicks))
    assert set(middle["basket_id"]) == set(amid)
    for basket, number, clicked in middle.select("basket_id", "number", "clicked").iter_rows():
        assert number not in set(numbers[basket]) - set(amid[basket])
        assert clicked == (number in amid[basket])


def test_closed_queries_leave_their_share_to_the_others() -> None:
    scores = PLAIN.scores(COUNTS, HABIT)
    drawn = list(PLAIN.draw(scores, random.Random(0), closed=[1, 2]))
    assert {number for number, _ in drawn} == {0, 3}
    first, chance = drawn[0]
    assert chance == pytest.approx(0.2 / 2 + 0.8 * scores[first] / (scores[0] + scores[3]))
    assert drawn[1][1] == pytest.approx(1.0)


def test_the_same_seed_gives_the_same_rows_and_another_does_not() -> None:
    purchases = some_year(60)
    shown = impressions(purchases, QUERIES, ALWAYS, seed=5)
    assert shown.equals(impressions(purchases.sample(fraction=1, shuffle=True), QUERIES, ALWAYS, seed=5))
    assert not shown.equals(impressions(purchases, QUERIES, ALWAYS, seed=6))


def test_a_window_of_the_year_gives_the_same_rows() -> None:
    purchases = some_year(90)
    window = Span(START_MS + 3 * DAY_MS, START_MS + 5 * DAY_MS)
    whole = impressions(purchases, QUERIES, ALWAYS, seed=5)
    inside = whole.filter(pl.col("time_ms").is_between(*window, closed="left"))
    assert inside.height > 30
    assert impressions(purchases, QUERIES, window, seed=5).equals(inside)


def test_propensities_are_those_of_a_history_kept_by_hand() -> None:
    """Written again in plain Python, basket by basket, with decay instead of growth."""
    purchases = some_year(80)
    policy = LoggingPolicy()
    shown = impressions(purchases, QUERIES, ALWAYS, seed=2).partition_by("basket_id", maintain_order=True)
    truths: dict[int, list[str]] = defaultdict(list)
    for basket, phrase in purchases.select("basket_id", "phrase").iter_rows():
        truths[basket].append(phrase)
    popular: Counter[str] = Counter()
    habits: dict[int, list[tuple[int, str]]] = defaultdict(list)
    for rows in shown:
        household, basket, time_ms = rows.row(0)[:3]
        scores = {}
        habit: Counter[str] = Counter()
        for at_ms, phrase in habits[household]:
            habit[phrase] += 2 ** (-(time_ms - at_ms) / policy.half_life_ms)
        for query in QUERIES:
            share = (popular[query] + 1) / (popular.total() + len(QUERIES))
            if habit:
                share = 0.3 * share + 0.7 * habit[query] / sum(habit.values())
            scores[query] = share**2
        for query, propensity in rows.select("query", "propensity").iter_rows():
            expected = 0.2 / len(scores) + 0.8 * scores[query] / sum(scores.values())
            assert propensity == pytest.approx(expected)
            del scores[query]
        popular.update(truths[basket])
        habits[household] += [(time_ms, phrase) for phrase in truths[basket]]


@pytest.mark.parametrize("place", [0, 17, 40])
def test_what_is_bought_from_a_basket_on_changes_nothing_that_it_is_shown(place: int) -> None:
    purchases = some_year(60)
    time_ms = purchases.filter(pl.col("basket_id") == place)["time_ms"][0]
    changed = purchases.with_columns(
        pl.when(pl.col("time_ms") < time_ms).then("phrase").otherwise(pl.lit("soap")).alias("phrase")
    ).filter((pl.col("time_ms") <= time_ms) | (pl.col("household_id") != 3))
    until = pl.col("time_ms") <= time_ms
    before, after = (
        impressions(frame, QUERIES, ALWAYS, seed=1).filter(until).drop("clicked")
        for frame in (purchases, changed)
    )
    assert before.height == 3 * (place + 1)
    assert before.equals(after)


def test_baskets_of_the_same_moment_are_no_history_of_each_other() -> None:
    first = (1, 10, 0, ["milk"])
    together = impressions(bought(first, (1, 11, 0, ["eggs"])), QUERIES, ALWAYS, seed=0)
    alone = impressions(bought((1, 11, 0, ["eggs"])), QUERIES, ALWAYS, seed=0)
    later = impressions(bought(first, (1, 11, 1, ["eggs"])), QUERIES, ALWAYS, seed=0)
    of_second = pl.col("basket_id") == 11
    assert together.filter(of_second).equals(alone)
    assert not later.filter(of_second)["propensity"].equals(alone["propensity"])


def test_a_query_counts_once_a_basket_and_others_not_at_all() -> None:
    plain = bought((1, 1, 0, ["milk"]), (1, 2, DAY_MS, ["eggs"]))
    noisy = bought((1, 1, 0, ["milk", "milk", "caviar"]), (1, 2, DAY_MS, ["eggs"]))
    assert impressions(plain, QUERIES, ALWAYS, seed=0).equals(impressions(noisy, QUERIES, ALWAYS, seed=0))


def test_more_slots_than_positions_is_refused() -> None:
    with pytest.raises(DatasetError, match="3 positions"):
        impressions(some_year(2), QUERIES, ALWAYS, seed=0, policy=LoggingPolicy(slots=4))


def test_real_households_click_what_they_buy() -> None:
    purchases = load_purchases(Span(VALIDATE.start_ms, VALIDATE.start_ms + 4 * DAY_MS))
    queries = [query for query, _ in build_lexicon(purchases)]
    shown = impressions(purchases, queries, ALWAYS, seed=0)
    assert shown.height == 3 * purchases["basket_id"].n_unique()
    assert shown["propensity"].min() > 0.2 / len(queries)
    truth = purchases.select("basket_id", query="phrase").unique()
    hits = shown.join(truth, on=["basket_id", "query"], how="semi")
    assert 0.3 < hits["clicked"].mean() < 0.45
    assert hits["clicked"].sum() > 0.8 * shown["clicked"].sum()
