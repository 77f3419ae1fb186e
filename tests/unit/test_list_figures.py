"""What lists are like beside their hits: categories, likeness, diversity, novelty, coverage; by hand."""

from __future__ import annotations

import math

import pytest

from streams.errors import TrainingError
from tests.small_vocabulary import Plane, plane_vocabulary, purchases_of
from training.evaluation.metrics import (
    OVER_ALL,
    category_hit_rate,
    intra_list_diversity,
    novelty,
    numbered,
    over_all,
    semantic_similarity,
    unique_categories,
)
from training.vocabulary import Vocabulary, vocabulary_of

NAN = float("nan")


@pytest.fixture(scope="module")
def vocabulary() -> Vocabulary:
    return plane_vocabulary()


def near(values: object) -> object:
    return pytest.approx(values, nan_ok=True, abs=0.01)


def test_a_text_that_nobody_knows_is_an_error(vocabulary: Vocabulary) -> None:
    with pytest.raises(TrainingError, match="'unicorn' is in neither"):
        numbered([["milk", "unicorn"]], vocabulary)
    with pytest.raises(TrainingError, match="'unicorn' is in neither"):
        semantic_similarity(numbered([["milk"]], vocabulary), [{"unicorn"}], vocabulary)


def test_lists_are_numbered_to_their_thirtieth_query(vocabulary: Vocabulary) -> None:
    numbers = numbered([["soap", "caviar"], [], ["milk"] * 31], vocabulary)
    assert numbers.shape == (3, 30)
    assert numbers[0].tolist() == [1, 4] + [-1] * 28
    assert set(numbers[1]) == {-1}
    assert set(numbers[2]) == {0}


def test_categories_that_the_lists_meet(vocabulary: Vocabulary) -> None:
    lists = [["yogurt", "beer"], ["yogurt", "beer"], [], ["milk"]]
    truths = [{"milk", "yogurt", "soap"}, {"caviar", "beer"}, {"milk"}, set[str]()]
    numbers = numbered(lists, vocabulary)
    assert category_hit_rate(numbers, truths, vocabulary) == near([0.5, 0.5, 0.0, NAN])
    assert unique_categories(numbers, vocabulary).tolist() == [2, 2, 0, 1]


def test_a_phrase_without_a_category_meets_none() -> None:
    made = vocabulary_of([("milk", 1), ("soap", 1)], purchases_of([("milk", "dairy")]), Plane())
    numbers = numbered([["soap"], ["soap", "milk"]], made)
    assert unique_categories(numbers, made).tolist() == [0, 1]
    assert category_hit_rate(numbers, [{"soap"}, {"soap", "milk"}], made) == near([NAN, 1.0])


def test_similarity_takes_the_nearest_query_of_each_phrase(vocabulary: Vocabulary) -> None:
    lists = [["milk", "soap"], ["beer"], [], ["milk"]]
    truths = [{"yogurt", "beer"}, {"milk"}, {"milk"}, set[str]()]
    # yogurt: soap at 0.8; beer: soap at 0, milk at -1.
    expected = [(0.8 + 0.0) / 2, -1.0, 0.0, NAN]
    assert semantic_similarity(numbered(lists, vocabulary), truths, vocabulary) == near(expected)


def test_diversity_is_one_minus_the_mean_cosine_of_two_queries(vocabulary: Vocabulary) -> None:
    numbers = numbered([["milk", "soap", "yogurt"], ["milk", "beer"], ["milk"], []], vocabulary)
    expected = [1 - (0.0 + 0.6 + 0.8) / 3, 2.0, NAN, NAN]
    assert intra_list_diversity(numbers, vocabulary) == near(expected)


def test_novelty_counts_bits_of_popularity(vocabulary: Vocabulary) -> None:
    numbers = numbered([["milk"], ["milk", "soap", "beer"], [], ["caviar"]], vocabulary)
    assert novelty(numbers, vocabulary) == near([1.0, 2.0, NAN, 4.0])


def test_coverage_and_gini_count_what_the_first_ten_show(vocabulary: Vocabulary) -> None:
    even = over_all(numbered([["milk", "soap"], ["yogurt", "beer"]], vocabulary), vocabulary)
    assert even == {"coverage@10": 1.0, "gini@10": 0.0}
    one = over_all(numbered([["milk", "caviar"], ["milk"]], vocabulary), vocabulary)
    assert one == {"coverage@10": 0.25, "gini@10": pytest.approx(0.75)}
    # Shown 1, 2, 0, 0: (-3*0 - 1*0 + 1*1 + 3*2) / (4 * 3)
    uneven = over_all(numbered([["milk", "soap"], ["soap"]], vocabulary), vocabulary)
    assert uneven["gini@10"] == pytest.approx(7 / 12)
    late = over_all(numbered([["milk"] * 10 + ["beer"]], vocabulary), vocabulary)
    assert late["coverage@10"] == 0.25
    nothing = over_all(numbered([[]], vocabulary), vocabulary)
    assert nothing["coverage@10"] == 0.0
    assert math.isnan(nothing["gini@10"])
    assert tuple(even) == OVER_ALL
