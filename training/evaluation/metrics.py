"""What lists are worth, case by case: accuracy, the paper's four figures, and how varied the lists are.

A list is read to its 30th query, best first. f is the set of a case's hits, |T| its phrases still to come:

    recall@k    hits in the first k / min(k, |T|)
    hit_rate@k  1 if the first k hold a hit
    ndcg@k      Σ_hits 1/log2(1 + place) / Σ_{place ≤ min(k, |T|)} 1/log2(1 + place); places from 1
    mrr@k       1 / place of the first hit in the first k, else 0

A query that stands twice counts at its first place. The paper's figures (§5.1.2) have no formulas; ours:

    query_hr@30          hits of 30 / |T|; exact match of the text
    cate_hr@30           share of the truth's categories that a query of the 30 belongs to
    semantic_similarity  mean over the truth's phrases of the greatest cosine to one of the 30 queries
    unique_categories    categories of the first 10

Beside accuracy: `new_recall@10`, recall@10 of lists without what the household owns, on the phrases it
buys for the first time; `intra_list_diversity@10`, 1 − mean cosine of two of the first 10; `novelty@10`,
their mean −log2 popularity share. Over all lists: `coverage@10`, share of the lexicon ever shown, and
`gini@10` of how often each query of the lexicon is shown (0: all alike, towards 1: a few only).

What is served is judged as it stands, with what is owned in it:

    new_hits@10, @30       hits of the first 10, 30 on phrases that the household buys for the first time
                           / min(k, how many of these there are)
    unique_categories@30   categories of all 30

A case without truth (or new truth) has no accuracy: NaN. An empty list has 0 hits, similarity and
categories, but no diversity or novelty: NaN.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from streams.errors import TrainingError
from training.evaluation.cases import Cases
from training.vocabulary import Vocabulary

QUERIES_READ: Final = 30
LIST_LENGTH: Final = 10
PER_CASE: Final = (
    *("recall@10", "hit_rate@10", "ndcg@10", "mrr@10", "recall@3", "hit_rate@3", "ndcg@3", "mrr@3"),
    *("new_recall@10", "query_hr@30", "cate_hr@30", "semantic_similarity"),
    *("unique_categories", "intra_list_diversity@10", "novelty@10"),
    *("new_hits@10", "new_hits@30", "unique_categories@30"),
)
OVER_ALL: Final = ("coverage@10", "gini@10")

Bool = npt.NDArray[np.bool_]
Int64 = npt.NDArray[np.int64]
Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
Lists = Sequence[Sequence[str]]
Truths = Sequence[Collection[str]]


@dataclass(frozen=True, slots=True)
class Hits:
    """found: (C, 30), whether the query at a place is in the truth, at its first place only. sizes: (C,)."""

    found: Bool
    sizes: Int64

    @classmethod
    def of(cls, lists: Lists, truths: Truths) -> Hits:
        """Raises ValueError when there is not one list per truth."""
        found = np.zeros((len(truths), QUERIES_READ), np.bool_)
        for row, (queries, truth) in enumerate(zip(lists, truths, strict=True)):
            waiting = set(truth)
            for place, query in enumerate(queries[:QUERIES_READ]):
                if query in waiting:
                    found[row, place] = True
                    waiting.remove(query)
        return cls(found, np.array([len(truth) for truth in truths], np.int64))


def recall(hits: Hits, k: int) -> Float64:
    """(C,) hits of the first k / min(k, |T|); NaN without truth."""
    return _shares(hits.found[:, :k].sum(axis=1), np.minimum(hits.sizes, k))


def hit_rate(hits: Hits, k: int) -> Float64:
    """(C,) 1 where the first k hold a hit, else 0; NaN without truth."""
    return _where_truth(hits, np.any(hits.found[:, :k], axis=1))


def ndcg(hits: Hits, k: int) -> Float64:
    """(C,) discounted gain over that of a list that begins with the truth; NaN without truth."""
    gains = 1.0 / np.log2(np.arange(2, min(k, QUERIES_READ) + 2))
    ideal = np.concatenate([[0.0], np.cumsum(gains)])
    return _shares(hits.found[:, :k] @ gains, ideal[np.minimum(hits.sizes, len(gains))])


def mrr(hits: Hits, k: int) -> Float64:
    """(C,) 1 / place of the first hit, places from 1; 0 without a hit in the first k, NaN without truth."""
    first = hits.found[:, :k].argmax(axis=1)
    return _where_truth(hits, hits.found[:, :k].any(axis=1) / (first + 1.0))


def query_hit_rate(hits: Hits) -> Float64:
    """(C,) share of the truth's phrases among the 30 queries; NaN without truth."""
    return _shares(hits.found.sum(axis=1), hits.sizes)


def numbered(lists: Lists, vocabulary: Vocabulary) -> Int64:
    """(C, 30) row in the vocabulary of each query that is read, −1 past the end of a list.

    Raises TrainingError at a text that is in neither the lexicon nor the purchases.
    """
    read = [queries[:QUERIES_READ] for queries in lists]
    lengths = np.array([len(queries) for queries in read], np.int64)
    numbers = np.full((len(read), QUERIES_READ), -1, np.int64)
    numbers[np.arange(QUERIES_READ) < lengths[:, None]] = _numbers(read, vocabulary)
    return numbers


def category_hit_rate(numbers: Int64, truths: Truths, vocabulary: Vocabulary) -> Float64:
    """(C,) share of the truth's categories that the numbered lists meet; NaN without any."""
    case, phrase = _pairs(truths, vocabulary)
    wanted = _categories(case, phrase, len(numbers), vocabulary)
    return _shares((wanted & _shown_categories(numbers, vocabulary)).sum(axis=1), wanted.sum(axis=1))


def semantic_similarity(numbers: Int64, truths: Truths, vocabulary: Vocabulary) -> Float64:
    """(C,) mean over the truth of the greatest cosine to the lists; 0 for an empty one, NaN without truth."""
    case, phrase = _pairs(truths, vocabulary)
    read = numbers[case]
    cosines = np.where(read >= 0, vocabulary.cosines[phrase[:, None], read], -np.inf)
    best = np.where((read >= 0).any(axis=1), cosines.max(axis=1, initial=-np.inf), 0.0)
    return _shares(np.bincount(case, best, len(numbers)), np.bincount(case, minlength=len(numbers)))


def unique_categories(numbers: Int64, vocabulary: Vocabulary) -> Float64:
    """(C,) how many categories the numbered lists hold."""
    return np.asarray(_shown_categories(numbers, vocabulary).sum(axis=1), np.float64)


def intra_list_diversity(numbers: Int64, vocabulary: Vocabulary) -> Float64:
    """(C,) 1 − mean cosine of two queries of a list; NaN for fewer than two."""
    read = numbers >= 0
    units = np.where(read[:, :, None], vocabulary.units[numbers], np.float32(0.0)).astype(np.float64)
    # |Σu|² holds every pair twice, and each query with itself.
    twice = (units.sum(axis=1) ** 2).sum(axis=1) - (units**2).sum(axis=(1, 2))
    count = read.sum(axis=1)
    return np.asarray(1.0 - _shares(twice, count * (count - 1)), np.float64)


def novelty(numbers: Int64, vocabulary: Vocabulary) -> Float64:
    """(C,) mean −log2 popularity share of a list's queries, in bits; NaN for an empty list."""
    read = numbers >= 0
    return _shares(np.where(read, vocabulary.information[numbers], 0.0).sum(axis=1), read.sum(axis=1))


def per_case(lists: Lists, novel_lists: Lists, cases: Cases, vocabulary: Vocabulary) -> dict[str, Float64]:
    """Every figure of every case, (C,) each, by name in the order of PER_CASE.

    novel_lists: made without what the cases own. Raises ValueError when a list is missing, TrainingError
    at a text that the vocabulary does not know.
    """
    hits = Hits.of(lists, cases.truths)
    numbers = numbered(lists, vocabulary)
    first = numbers[:, :LIST_LENGTH]
    new_hits = Hits.of(lists, cases.new_truths)
    accuracy = [figure(hits, k) for k in (LIST_LENGTH, 3) for figure in (recall, hit_rate, ndcg, mrr)]
    figures = [
        *accuracy,
        recall(Hits.of(novel_lists, cases.new_truths), LIST_LENGTH),
        query_hit_rate(hits),
        category_hit_rate(numbers, cases.truths, vocabulary),
        semantic_similarity(numbers, cases.truths, vocabulary),
        unique_categories(first, vocabulary),
        intra_list_diversity(first, vocabulary),
        novelty(first, vocabulary),
        *(recall(new_hits, k) for k in (LIST_LENGTH, QUERIES_READ)),
        unique_categories(numbers, vocabulary),
    ]
    return dict(zip(PER_CASE, figures, strict=True))


def over_all(numbers: Int64, vocabulary: Vocabulary) -> dict[str, float]:
    """`coverage@10` and `gini@10` over all numbered lists, in the order of OVER_ALL; gini is NaN if none
    shows any."""
    first = numbers[:, :LIST_LENGTH]
    inside = first[(first >= 0) & (first < vocabulary.lexicon_size)]
    shown = np.bincount(inside, minlength=vocabulary.lexicon_size)
    return dict(zip(OVER_ALL, (float(np.mean(shown > 0)), _gini(shown)), strict=True))


def _gini(shown: npt.NDArray[Any]) -> float:
    """Σ (2i − V − 1) x_i / (V Σ x), x ascending, i from 1."""
    places = 2 * np.arange(1, len(shown) + 1) - len(shown) - 1
    total = len(shown) * int(shown.sum())
    return float(places @ np.sort(shown)) / total if total else float("nan")


def _pairs(truths: Truths, vocabulary: Vocabulary) -> tuple[Int64, Int64]:
    """Row and phrase number of every phrase of the truths."""
    sizes = [len(truth) for truth in truths]
    return np.repeat(np.arange(len(sizes)), sizes), _numbers(truths, vocabulary)


def _numbers(texts: Sequence[Collection[str]], vocabulary: Vocabulary) -> Int64:
    try:
        return np.array([vocabulary.number[text] for row in texts for text in row], np.int64)
    except KeyError as missing:
        raise TrainingError(
            f"{missing} is in neither the lexicon nor the purchases; no figure was made.",
            action="Make the vocabulary from the purchases up to the end of the judged span.",
        ) from None


def _shown_categories(numbers: Int64, vocabulary: Vocabulary) -> Bool:
    row, place = np.nonzero(numbers >= 0)
    return _categories(row, numbers[row, place], len(numbers), vocabulary)


def _categories(row: Int64, number: Int64, count: int, vocabulary: Vocabulary) -> Bool:
    """(count, categories): whether the row has a phrase of the category."""
    category = vocabulary.categories[number]
    present = np.zeros((count, int(vocabulary.categories.max()) + 1), np.bool_)
    present[row[category >= 0], category[category >= 0]] = True
    return present


def _shares(above: npt.NDArray[Any], below: npt.NDArray[Any]) -> Float64:
    """above / below, NaN where below is 0."""
    shares = np.full(len(below), np.nan)
    np.divide(above, below, out=shares, where=below > 0)
    return shares


def _where_truth(hits: Hits, values: npt.NDArray[Any]) -> Float64:
    return np.where(hits.sizes > 0, values.astype(np.float64), np.nan)
