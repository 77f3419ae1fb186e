"""What a list is worth: every figure worked by hand, and held against a plain formula."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.errors import TrainingError
from streams.hint_request import Int8, to_int8
from training.evaluation.cases import Cases
from training.evaluation.metrics import (
    OVER_ALL,
    PER_CASE,
    Hits,
    category_hit_rate,
    hit_rate,
    intra_list_diversity,
    mrr,
    ndcg,
    novelty,
    numbered,
    over_all,
    per_case,
    query_hit_rate,
    recall,
    semantic_similarity,
    unique_categories,
)
from training.next_basket import recall_at_10
from training.vocabulary import Vocabulary, vocabulary_of

LEXICON = [("milk", 8), ("soap", 4), ("yogurt", 2), ("beer", 2)]  # shares 1/2, 1/4, 1/8, 1/8
CATEGORY = {"milk": "dairy", "yogurt": "dairy", "soap": "household", "beer": "drinks", "caviar": "fish"}
UNIT = {
    "milk": (1.0, 0.0),
    "yogurt": (0.6, 0.8),
    "soap": (0.0, 1.0),
    "beer": (-1.0, 0.0),
    "caviar": (0.8, 0.6),
}
NAN = float("nan")


class Plane:
    """A text encoder of two dimensions; a text that it does not know is zeros."""

    name = "plane"
    dim = 2

    def embed(self, text: str) -> Int8:
        return to_int8(np.array(UNIT.get(text, (0.0, 0.0)), np.float32))


def purchases_of(rows: Sequence[tuple[str, str]]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=["phrase", "category_phrase"], orient="row")


@pytest.fixture(scope="module")
def vocabulary() -> Vocabulary:
    return vocabulary_of(LEXICON, purchases_of(list(CATEGORY.items())), Plane())


def hits_of(queries: Sequence[str], truth: set[str]) -> Hits:
    return Hits.of([queries], [truth])


def cases_with(truths: list[set[str]], new: list[set[str]]) -> Cases:
    count = len(truths)
    zeros, none = np.zeros(count, np.int64), [frozenset[str]()] * count
    frozen = [frozenset(truth) for truth in truths]
    frozen_new = [frozenset(truth) for truth in new]
    return Cases("next_basket", np.arange(count), zeros, zeros, zeros, none, frozen, none, frozen_new, zeros)


def near(values: object) -> object:
    return pytest.approx(values, nan_ok=True, abs=0.01)


def test_recall_is_capped_at_the_length_of_the_list() -> None:
    truth = {f"item {n}" for n in range(12)}
    hits = hits_of(sorted(truth), truth)
    assert (recall(hits, 10)[0], recall(hits, 3)[0], query_hit_rate(hits)[0]) == (1.0, 1.0, 1.0)
    hits = hits_of(["milk", "x", "y", "eggs"], {"milk", "eggs", "tea", "soap"})
    assert (recall(hits, 10)[0], recall(hits, 3)[0], query_hit_rate(hits)[0]) == (
        0.5,
        pytest.approx(1 / 3),
        0.5,
    )


def test_places_decide_on_ndcg_and_mrr() -> None:
    hits = hits_of(["x", "milk", "y", "eggs"], {"milk", "eggs"})
    ideal = 1 + 1 / math.log2(3)
    assert ndcg(hits, 10)[0] == pytest.approx((1 / math.log2(3) + 1 / math.log2(5)) / ideal)
    assert ndcg(hits, 3)[0] == pytest.approx(1 / math.log2(3) / ideal)
    assert (mrr(hits, 10)[0], mrr(hits_of(["x", "y", "z", "milk"], {"milk"}), 3)[0]) == (0.5, 0.0)
    assert hit_rate(hits_of(["x", "y", "z", "milk"], {"milk"}), 3)[0] == 0.0
    assert hit_rate(hits_of(["x", "y", "z", "milk"], {"milk"}), 10)[0] == 1.0


def test_a_list_that_begins_with_a_long_truth_is_ideal() -> None:
    truth = {f"item {n}" for n in range(12)}
    assert ndcg(hits_of(sorted(truth), truth), 10)[0] == pytest.approx(1.0)
    assert ndcg(hits_of(sorted(truth), truth), 3)[0] == pytest.approx(1.0)


def test_a_repeated_query_counts_at_its_first_place_only() -> None:
    hits = hits_of(["milk", "milk", "eggs"], {"milk", "eggs"})
    assert hits.found[0, :4].tolist() == [True, False, True, False]
    assert recall(hits, 3)[0] == 1.0
    assert ndcg(hits, 3)[0] < 1.0


def test_queries_beyond_the_thirtieth_are_not_read() -> None:
    queries = [*(f"q{n}" for n in range(30)), "milk"]
    assert query_hit_rate(hits_of(queries, {"milk"}))[0] == 0.0
    assert query_hit_rate(hits_of(queries[1:], {"milk"}))[0] == 1.0


def test_without_truth_there_is_no_accuracy_and_without_a_list_it_is_zero() -> None:
    nothing = Hits.of([["milk"]], [set[str]()])
    empty = Hits.of([[]], [{"milk"}])
    for figure in (recall, hit_rate, ndcg, mrr):
        assert math.isnan(figure(nothing, 10)[0])
        assert figure(empty, 10)[0] == 0.0


def test_one_list_per_case_is_wanted() -> None:
    with pytest.raises(ValueError, match="longer than"):
        Hits.of([["milk"]], [{"milk"}, {"milk"}])


def test_a_phrase_belongs_to_the_category_it_is_bought_in_most() -> None:
    rows = [("tea", "z"), ("tea", "a"), ("tea", "z"), ("milk", "b"), ("milk", "a"), ("caviar", "z")]
    made = vocabulary_of([("milk", 2), ("tea", 1)], purchases_of(rows), Plane())
    assert made.number == {"milk": 0, "tea": 1, "caviar": 2}
    assert made.lexicon_size == 2
    assert made.categories.tolist() == [0, 1, 1]  # a, z, z
    assert made.counts.tolist() == [2, 1, 1]


def test_units_have_length_one_and_a_text_without_words_none(vocabulary: Vocabulary) -> None:
    assert np.linalg.norm(vocabulary.units, axis=1) == pytest.approx(np.ones(5))
    assert vocabulary.cosines[0] == near([1.0, 0.0, 0.6, -1.0, 0.8])
    wordless = vocabulary_of([("?", 1)], purchases_of([("?", "x")]), Plane())
    assert wordless.units.tolist() == [[0.0, 0.0]]


@pytest.mark.parametrize("lexicon", [[], [("milk", 0)], [("milk", 2), ("milk", 1)]])
def test_a_lexicon_that_makes_no_sense_is_refused(lexicon: list[tuple[str, int]]) -> None:
    with pytest.raises(TrainingError, match="lexicon"):
        vocabulary_of(lexicon, purchases_of([("milk", "dairy")]), Plane())


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
    even = over_all([["milk", "soap"], ["yogurt", "beer"]], vocabulary)
    assert even == {"coverage@10": 1.0, "gini@10": 0.0}
    one = over_all([["milk", "caviar"], ["milk"]], vocabulary)
    assert one == {"coverage@10": 0.25, "gini@10": pytest.approx(0.75)}
    # Shown 1, 2, 0, 0: (-3*0 - 1*0 + 1*1 + 3*2) / (4 * 3)
    assert over_all([["milk", "soap"], ["soap"]], vocabulary)["gini@10"] == pytest.approx(7 / 12)
    late = over_all([["milk"] * 10 + ["beer"]], vocabulary)
    assert late["coverage@10"] == 0.25
    nothing = over_all([[]], vocabulary)
    assert nothing["coverage@10"] == 0.0
    assert math.isnan(nothing["gini@10"])
    assert tuple(even) == OVER_ALL


def test_all_figures_come_by_name_and_newness_looks_at_the_novel_lists(vocabulary: Vocabulary) -> None:
    cases = cases_with([{"milk", "beer"}, {"soap"}], [{"beer"}, set()])
    figures = per_case([["milk"], ["milk"]], [["beer"], ["soap"]], cases, vocabulary)
    assert tuple(figures) == PER_CASE
    assert all(values.shape == (2,) and values.dtype == np.float64 for values in figures.values())
    assert figures["recall@10"].tolist() == [0.5, 0.0]
    assert figures["recall@3"].tolist() == [0.5, 0.0]
    assert figures["mrr@10"].tolist() == [1.0, 0.0]
    assert figures["new_recall@10"] == near([1.0, NAN])
    assert figures["unique_categories"].tolist() == [1, 1]


def test_no_cases_give_no_figures(vocabulary: Vocabulary) -> None:
    figures = per_case([], [], cases_with([], []), vocabulary)
    assert all(values.shape == (0,) for values in figures.values())


WORDS = [f"w{n}" for n in range(40)]
lists_and_truths = st.lists(
    st.tuples(
        st.lists(st.sampled_from(WORDS), max_size=35, unique=True),
        st.sets(st.sampled_from([*WORDS, "caviar"]), min_size=1, max_size=14),
    ),
    min_size=1,
    max_size=6,
)


class Spread:
    """A text encoder of pseudo-random directions."""

    name = "spread"
    dim = 8

    def embed(self, text: str) -> Int8:
        vector = np.random.default_rng(len(text) + 31 * sum(map(ord, text))).normal(size=8)
        return to_int8((vector / np.linalg.norm(vector)).astype(np.float32))


def plain_figures(queries: list[str], truth: set[str], made: Vocabulary) -> dict[str, float]:
    """The formulas of the module, one after the other."""
    read, ten = queries[:30], queries[:10]
    category = {phrase: int(made.categories[number]) for phrase, number in made.number.items()}
    unit = {phrase: made.units[number].astype(float) for phrase, number in made.number.items()}
    gains = [1 / math.log2(place + 2) for place, query in enumerate(ten) if query in truth]
    ideal = sum(1 / math.log2(place + 2) for place in range(min(10, len(truth))))
    wanted = {category[phrase] for phrase in truth}
    nearest = [max((float(unit[a] @ unit[b]) for b in read), default=0.0) for a in truth]
    pairs = [float(unit[a] @ unit[b]) for place, a in enumerate(ten) for b in ten[:place]]
    total = sum(made.counts[: made.lexicon_size])
    bits = [-math.log2(made.counts[made.number[query]] / total) for query in ten]
    return {
        "recall@10": recall_at_10(queries, truth),
        "hit_rate@10": float(bool(gains)),
        "ndcg@10": sum(gains) / ideal,
        "mrr@10": max((1 / (place + 1) for place, q in enumerate(ten) if q in truth), default=0.0),
        "query_hr@30": len(truth & set(read)) / len(truth),
        "cate_hr@30": len(wanted & {category[query] for query in read}) / len(wanted),
        "semantic_similarity": sum(nearest) / len(nearest),
        "unique_categories": len({category[query] for query in ten}),
        "intra_list_diversity@10": 1 - sum(pairs) / len(pairs) if pairs else NAN,
        "novelty@10": sum(bits) / len(bits) if bits else NAN,
    }


@settings(max_examples=40, deadline=None)
@given(lists_and_truths)
def test_figures_agree_with_the_plain_formulas(drawn: list[tuple[list[str], set[str]]]) -> None:
    rows = [(word, f"c{place % 7}") for place, word in enumerate([*WORDS, "caviar"])]
    made = vocabulary_of(
        [(word, 50 - place) for place, word in enumerate(WORDS)], purchases_of(rows), Spread()
    )
    lists, truths = [queries for queries, _ in drawn], [truth for _, truth in drawn]
    figures = per_case(lists, lists, cases_with(truths, truths), made)
    for row, (queries, truth) in enumerate(drawn):
        for name, expected in plain_figures(queries, truth, made).items():
            assert figures[name][row] == pytest.approx(expected, nan_ok=True, abs=1e-6), name
    assert figures["new_recall@10"].tolist() == figures["recall@10"].tolist()
