"""What is bought together: counts by hand, and EASE against a regression per query."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training import neighbours
from training.neighbours import co_occurrence, ease, neighbours_of

# Baskets 7: 0 1, 8: 0 1 2, 9: 2, 10: 0; the pair (8, 1) comes twice, and item 3 stands in none.
GROUPS = np.array([7, 8, 9, 7, 8, 8, 8, 10], np.int64)
ITEMS = np.array([0, 0, 2, 1, 1, 2, 1, 0], np.int64)
BY_HAND = [[3, 2, 1, 0], [2, 2, 1, 0], [1, 1, 2, 0], [0, 0, 0, 0]]
NUMBERS = {"milk": 0, "eggs": 1, "tea": 2, "soap": 3}
pairs = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 4)), max_size=40)


def presence(rows: list[tuple[int, int]], count: int = 5) -> npt.NDArray[np.float64]:
    """(groups, V), 1.0 where an item stands in a group."""
    matrix = np.zeros((10, count))
    for group, item in rows:
        matrix[group, item] = 1.0
    return matrix


def purchases_of(*baskets: list[str]) -> pl.DataFrame:
    rows = [(number, phrase) for number, phrases in enumerate(baskets) for phrase in phrases]
    return pl.DataFrame(rows, schema=["basket_id", "phrase"], orient="row")


def test_counts_by_hand() -> None:
    counts = co_occurrence(GROUPS, ITEMS, 4)
    assert counts.tolist() == BY_HAND
    assert counts.dtype == np.float64


def test_nothing_bought_gives_zeros() -> None:
    none = np.zeros(0, np.int64)
    assert co_occurrence(none, none, 2).tolist() == [[0, 0], [0, 0]]


@given(pairs, st.integers(1, 4))
def test_counts_are_the_matrix_product_however_it_is_cut(rows: list[tuple[int, int]], chunk: int) -> None:
    groups, items = (np.array([row[part] for row in rows], np.int64) for part in (0, 1))
    matrix = presence(rows)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(neighbours, "CHUNK", chunk)
        assert co_occurrence(groups, items, 5).tolist() == (matrix.T @ matrix).tolist()


def test_ease_of_two_queries_by_hand() -> None:
    # C + 1·I = [[4, 2], [2, 3]], its inverse 1/8 · [[3, −2], [−2, 4]]: E_01 = 2/4, E_10 = 2/3.
    strengths = ease(np.array([[3.0, 2.0], [2.0, 2.0]]), 1.0)
    assert strengths == pytest.approx(np.array([[0.0, 1 / 2], [2 / 3, 0.0]]))
    assert strengths.dtype == np.float32


@settings(max_examples=30, deadline=None)
@given(pairs, st.sampled_from([0.1, 1.0, 50.0]))
def test_ease_is_a_ridge_regression_of_each_query_on_all_others(
    rows: list[tuple[int, int]], ridge: float
) -> None:
    matrix = presence(rows)
    strengths = ease(matrix.T @ matrix, ridge)
    for query in range(5):
        others = [other for other in range(5) if other != query]
        inputs = matrix[:, others]
        solved = np.linalg.solve(inputs.T @ inputs + ridge * np.eye(4), inputs.T @ matrix[:, query])
        assert strengths[others, query] == pytest.approx(solved, abs=1e-5)
        assert strengths[query, query] == 0.0


def test_a_stronger_ridge_believes_less_and_what_never_meets_has_no_strength() -> None:
    counts = np.array(BY_HAND, np.float64)
    weak, strong = ease(counts, 1.0), ease(counts, 1000.0)
    assert np.abs(strong).max() < 0.01 < np.abs(weak).max()
    assert not weak[3].any()
    assert not weak[:, 3].any()


def test_what_another_query_explains_adds_little() -> None:
    """Eggs come with milk alone, and so does tea: together they are no more frequent than by chance."""
    baskets = [[0, 1, 2], [0, 1], [0, 2], [0], *([] for _ in range(40))] * 10
    rows = [(group, item) for group, basket in enumerate(baskets) for item in basket]
    groups, items = (np.array([row[part] for row in rows], np.int64) for part in (0, 1))
    counts = co_occurrence(groups, items, 3)
    strengths = ease(counts, 0.01)
    cosine = counts[1, 2] / np.sqrt(counts[1, 1] * counts[2, 2])
    assert cosine == 0.5
    assert abs(strengths[1, 2]) < 0.01
    assert strengths[0, 1] == pytest.approx(0.5, abs=0.01)


def test_neighbours_are_the_strongest_for_or_against() -> None:
    baskets = [["milk", "eggs"]] * 4 + [["milk", "eggs", "tea"]] * 2 + [["tea"], ["milk"], ["caviar", "milk"]]
    found = neighbours_of(purchases_of(*baskets), NUMBERS, count=2, ridge=1.0)
    groups, items = np.repeat(np.arange(9), [len(basket) for basket in baskets]), sum(baskets, [])  # noqa: RUF017 - few
    known = [place for place, phrase in enumerate(items) if phrase in NUMBERS]
    numbers = np.array([NUMBERS[items[place]] for place in known], np.int64)
    strengths = ease(co_occurrence(groups[known], numbers, 4), 1.0)
    assert found.numbers.shape == found.strengths.shape == (4, 2)
    for query in range(4):
        order = sorted(range(4), key=lambda other: (-abs(strengths[query, other]), other))[:2]
        assert found.numbers[query].tolist() == order
        assert found.strengths[query].tolist() == [strengths[query, other] for other in order]
    assert found.numbers[0, 0] == NUMBERS["eggs"]
    assert found.strengths[0, 0] > 0.5


def test_a_phrase_of_two_types_counts_once_a_basket() -> None:
    one, two = (
        neighbours_of(purchases_of(*[basket] * 3, ["tea"]), NUMBERS, ridge=1.0)
        for basket in (["milk", "eggs"], ["milk", "milk", "eggs"])
    )
    assert np.array_equal(one.strengths, two.strengths)
    assert one.numbers.shape == (4, 4)  # a small lexicon has fewer neighbours than asked for
