"""What a list is worth: hits and their places worked by hand, and all figures held against plain formulas."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.hint_request import Int8, to_int8
from tests.small_vocabulary import cases_with, plane_vocabulary, purchases_of
from training.evaluation.metrics import (
    PER_CASE,
    Hits,
    hit_rate,
    mrr,
    ndcg,
    per_case,
    query_hit_rate,
    recall,
)
from training.vocabulary import Vocabulary, vocabulary_of

NAN = float("nan")


@pytest.fixture(scope="module")
def vocabulary() -> Vocabulary:
    return plane_vocabulary()


def hits_of(queries: Sequence[str], truth: set[str]) -> Hits:
    return Hits.of([queries], [truth])


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
    assert recall(hits_of(["milk", "milk"], {"milk", "eggs"}), 10)[0] == 0.5


def test_a_hit_beyond_the_tenth_query_does_not_count_for_the_first_ten() -> None:
    hits = hits_of([*"abcdefghij", "milk"], {"milk"})
    assert [figure(hits, 10)[0] for figure in (recall, hit_rate, ndcg, mrr)] == [0.0] * 4


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
        "recall@10": len(truth & set(ten)) / min(10, len(truth)),
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
