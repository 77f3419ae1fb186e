"""Click probabilities of every phrase for every case: for ranked lists and doubly robust estimates.

    p(click | case, phrase, position) = σ( relevance(case, phrase) + place(position) ),   place(0) = 0

as in training.ranker, whose network is run once for all cases and phrases. Without a ranker the click rate of
each position in an older part of the log stands in: the same p for every phrase. All of this is ours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import polars as pl
import torch

from training.evaluation.cases import Cases, Recommender
from training.evaluation.metrics import LIST_LENGTH
from training.ranker import POSITIONS, ClickRanker
from training.sessions import Samples, taken
from training.vocabulary import Vocabulary

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]

CASES_AT_ONCE: Final = 128


@dataclass(frozen=True, slots=True)
class ClickTable:
    """relevance: (C, P) logits on the first place. places: (POSITIONS,) what each place adds. number: a
    phrase's column, as in the vocabulary."""

    relevance: Float32
    places: Float32
    number: Mapping[str, int]

    def at(self, cases: Int64, phrases: Int64, positions: Int64) -> Float64:
        """(N,) click probabilities of phrases by number, each for a case and at a position from 0."""
        places = self.places[np.minimum(positions, len(self.places) - 1)]
        logits = self.relevance[cases, phrases].astype(np.float64) + places
        return np.asarray(1.0 / (1.0 + np.exp(-logits)), np.float64)


@dataclass(slots=True)
class ClickScores:
    """Tables of the cases of `samples`; each task's is made once and kept (4 bytes a case and phrase)."""

    ranker: ClickRanker
    samples: Samples
    vocabulary: Vocabulary
    _kept: dict[str, tuple[Cases, ClickTable]] = field(default_factory=dict)

    def of(self, cases: Cases) -> ClickTable:
        """The ranker's table of the cases."""
        kept = self._kept.get(cases.task)
        if kept is None or kept[0] is not cases:
            kept = (cases, ranker_table(self.ranker, self.samples, cases.rows, self.vocabulary))
            self._kept[cases.task] = kept
        return kept[1]


def ranker_table(ranker: ClickRanker, samples: Samples, rows: Int64, vocabulary: Vocabulary) -> ClickTable:
    """The table of rows of the samples. A phrase out of the lexicon has no popularity and no past."""
    size = vocabulary.lexicon_size
    numbers = np.where(np.arange(len(vocabulary.counts)) < size, np.arange(len(vocabulary.counts)), -1)
    popularity = np.log1p(np.where(numbers >= 0, vocabulary.counts, 0.0)).astype(np.float32)
    relevance = np.empty((len(rows), len(numbers)), np.float32)
    for start in range(0, len(rows), CASES_AT_ONCE):
        contexts = taken(samples.contexts, rows[start : start + CASES_AT_ONCE])
        features = torch.from_numpy(ranker.features.of_texts(contexts, vocabulary.units, popularity, numbers))
        with torch.no_grad():
            logits = ranker.logits(features, torch.zeros(features.shape[:2], dtype=torch.int32))
        relevance[start : start + len(contexts)] = logits.numpy()
    weights = ranker.place.weight.detach()
    return ClickTable(relevance, (weights - weights[:1]).numpy().reshape(-1), vocabulary.number)


def base_rate_table(impressions: pl.DataFrame, cases: int, vocabulary: Vocabulary) -> ClickTable:
    """The positions' click rates of `impressions` (training.datasets.interface), alike for all phrases."""
    positions, clicked = impressions["position"].to_numpy(), impressions["clicked"].to_numpy()
    places = np.minimum(positions, POSITIONS - 1)
    shown = np.bincount(places, minlength=POSITIONS)
    # One click and one hint without any more: a position that was never shown has a rate, too.
    rates = (np.bincount(places, clicked, POSITIONS) + 1.0) / (shown + 2.0)
    logits = np.log(rates / (1.0 - rates)).astype(np.float32)
    level: Any = np.broadcast_to(logits[0], (cases, len(vocabulary.counts)))
    return ClickTable(level, logits - logits[0], vocabulary.number)


def ranked(recommend: Recommender, clicks: ClickScores, length: int = LIST_LENGTH) -> Recommender:
    """The same lists with their first `length` queries in order of click probability, ties as they were."""

    def reordered(cases: Cases, novel: bool) -> list[list[str]]:
        table = clicks.of(cases)
        lists = recommend(cases, novel)
        return [_ordered(queries, table, case, length) for case, queries in enumerate(lists)]

    return reordered


def _ordered(queries: Sequence[str], table: ClickTable, case: int, length: int) -> list[str]:
    first = queries[:length]
    relevance = table.relevance[case, [table.number[query] for query in first]]
    order = np.argsort(-relevance, kind="stable")
    return [*(first[place] for place in order), *queries[length:]]
