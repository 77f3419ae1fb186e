"""What leads to what: triggers and queries associated by a log, with the evidence for each pair.

Candidates come from counts of all pairs, floors and scores (training.think.mining.scores). The evidence of
one pair is read off the log's own lines (training.think.mining.pair_log), whether the pair passes the floors
or not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from agents.session.step import TextEncoder
from streams.query_text import normalise_query
from training.datasets.dataset import Dataset
from training.datasets.teachable import k_of
from training.think.mining.occasions import occasions_of
from training.think.mining.pair_counts import PairCounts, count_pairs
from training.think.mining.pair_log import PairLog
from training.think.mining.scores import MINING_RULE, MiningRule, lifts_of, scores_of

Int64 = npt.NDArray[np.int64]
Float64 = npt.NDArray[np.float64]
Bool = npt.NDArray[np.bool_]


class Candidate(NamedTuple):
    """A query that passed the floors; score 0 to 1."""

    query: str
    score: float


@dataclass(frozen=True, kw_only=True)
class Association(PairLog):
    """A log with the counts of all its pairs, by which they are chosen and scored."""

    counts: PairCounts
    rule: MiningRule

    @property
    def triggers(self) -> list[str]:
        """All that a query passes the floors for, by name."""
        rows = self.counts.triggers[self.allowed.any(axis=1)]
        return sorted(self.log.triggers[row] for row in rows.tolist())

    def candidates(self, trigger: str, count: int | None = None) -> list[Candidate]:
        """Queries that pass the floors, best first (score, then support, then name)."""
        row = self._rows.get(normalise_query(trigger))
        if row is None:
            return []
        found = np.flatnonzero(self.allowed[row])
        names = [self.log.queries[number] for number in self.counts.queries[found].tolist()]
        order = np.lexsort((names, -self.counts.baskets[row, found], -self.scores[row, found]))
        return [Candidate(names[at], float(self.scores[row, found[at]])) for at in order[:count].tolist()]

    def strengths(self, triggers: Sequence[str], queries: Sequence[str]) -> Float64:
        """(n, m) the scores of the pairs that pass the floors, else 0: they compare a trigger's queries."""
        passing = self.shrunk_lifts(triggers, queries) > 0
        return np.where(passing, self._cells(self.scores, triggers, queries), 0.0)

    def shrunk_lifts(self, triggers: Sequence[str], queries: Sequence[str]) -> Float64:
        """(n, m) the shrunk lifts of the pairs that pass the floors, else 0: they compare a query's
        triggers."""
        return self._cells(self.lifts, triggers, queries)

    @cached_property
    def scores(self) -> Float64:
        """(T', V') how strongly, whatever the floors say."""
        left = self._units([self.log.triggers[number] for number in self.counts.triggers.tolist()])
        right = self._units([self.log.queries[number] for number in self.counts.queries.tolist()])
        return scores_of(self.counts, left @ right.T, self.rule)

    @cached_property
    def lifts(self) -> Float64:
        """(T', V') the shrunk lift of the pairs that pass the floors, else 0; none of a text with itself."""
        return np.where(self._same_text(), 0.0, lifts_of(self.counts, self.rule))

    @cached_property
    def allowed(self) -> Bool:
        """(T', V') which pairs pass the floors."""
        return self.lifts > 0

    def _same_text(self) -> Bool:
        triggers = [self.log.query_number.get(text, -1) for text in self.log.trigger_number]
        return np.asarray(np.array(triggers)[self.counts.triggers, None] == self.counts.queries[None, :])

    def _cells(self, matrix: Float64, triggers: Sequence[str], queries: Sequence[str]) -> Float64:
        """(n, m), 0 where a text has no row or column."""
        rows = np.array([self._rows.get(normalise_query(text), -1) for text in triggers], np.int64)
        columns = np.array([self._columns.get(normalise_query(text), -1) for text in queries], np.int64)
        known = (rows >= 0)[:, None] & (columns >= 0)[None, :]
        if not known.any():
            return np.zeros(known.shape)
        return np.where(known, matrix[np.ix_(np.maximum(rows, 0), np.maximum(columns, 0))], 0.0)

    @cached_property
    def _rows(self) -> dict[str, int]:
        return _places(self.log.triggers, self.counts.triggers)

    @cached_property
    def _columns(self) -> dict[str, int]:
        return _places(self.log.queries, self.counts.queries)


def associations(
    purchases: pl.DataFrame,
    until_ms: int,
    *,
    behaviours: pl.DataFrame | None = None,
    encoder: TextEncoder | None = None,
    rule: MiningRule = MINING_RULE,
) -> Association:
    """Count a log before `until_ms`; columns as training.think.mining.occasions.occasions_of takes them.

    encoder: for `similarity`, which is 0 without one. Raises DatasetError when nothing was bought by then.
    """
    log = occasions_of(purchases, until_ms, behaviours)
    counts = count_pairs(
        log,
        until_ms=until_ms,
        days=rule.days,
        half_life_ms=rule.half_life_ms,
        trigger_baskets_min=rule.trigger_baskets_min,
        query_baskets_min=rule.pair_baskets_min,
    )
    return Association(
        log=log,
        until_ms=until_ms,
        days=rule.days,
        half_life_ms=rule.half_life_ms,
        encoder=encoder,
        counts=counts,
        rule=rule,
    )


def counts_before(data: Dataset, until_ms: int, rule: MiningRule = MINING_RULE) -> Association:
    """Of a data set's purchases and searches, with its own encoder. Raises DatasetError as `associations`.

    A pair is of as many households as the data set's k-anonymity asks for, so its trigger and its query are.
    """
    rule = replace(rule, pair_households_min=max(rule.pair_households_min, k_of(data.about)))
    return associations(
        data.purchases, until_ms, behaviours=data.behaviours, encoder=data.encoder(), rule=rule
    )


def training_counts(data: Dataset, rule: MiningRule = MINING_RULE) -> Association:
    """Of the training span alone: nothing later may speak in a proposal, a rationale or a reward."""
    return counts_before(data, data.split.train.end_ms, rule)


def _places(texts: list[str], numbers: Int64) -> dict[str, int]:
    """By normal form, where a text's number stands."""
    return {normalise_query(texts[number]): place for place, number in enumerate(numbers.tolist())}
