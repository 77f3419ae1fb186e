"""What leads to what: triggers and queries associated by a log, with the evidence for each pair.

Candidates come from counts of all pairs, floors and scores (training.think.scores). The evidence of one pair
is read off the log's own lines when it is asked for, whether the pair passes the floors or not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from agents.session.step import TextEncoder
from streams.query_text import normalise_query
from training.think.occasions import DAY_MS, Occasions, occasions_of
from training.think.pair_counts import PairCounts, count_pairs
from training.think.points import Evidence, TriggerKind
from training.think.scores import MINING_RULE, MiningRule, lifts_of, scores_of, wilson_low

Int64 = npt.NDArray[np.int64]
Float64 = npt.NDArray[np.float64]
Bool = npt.NDArray[np.bool_]

EXAMPLES: Final = 3
EXAMPLE_LABEL: Final = "aigq-think-basket"


class Candidate(NamedTuple):
    """A query that passed the floors; score 0 to 1."""

    query: str
    score: float


@dataclass(frozen=True)
class Association:
    """Counts of a log before `until_ms`. clicks: the click ranker's mean p̂ by (trigger, query), normal forms
    (training.think.clicks)."""

    log: Occasions
    counts: PairCounts
    rule: MiningRule
    until_ms: int
    encoder: TextEncoder | None = None
    clicks: dict[tuple[str, str], float] = field(default_factory=dict)

    @property
    def triggers(self) -> list[str]:
        """All that a query passes the floors for, by name."""
        rows = self.counts.triggers[self.allowed.any(axis=1)]
        return sorted(self.log.triggers[row] for row in rows.tolist())

    def kind(self, trigger: str) -> TriggerKind | None:
        """What the trigger is; None when the log does not know it."""
        number = self.log.trigger_number.get(normalise_query(trigger))
        return None if number is None else self.log.kinds[number]

    def category(self, query: str) -> str:
        """The query's; "" when the log does not know it."""
        number = self.log.query_number.get(normalise_query(query))
        return "" if number is None else self.log.categories[number]

    def candidates(self, trigger: str, count: int | None = None) -> list[Candidate]:
        """Queries that pass the floors, best first (score, then support, then name)."""
        row = self._row(trigger)
        if row < 0:
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

    def evidence(self, trigger: str, query: str) -> Evidence:
        """All that the log says of the pair; zeros for what it does not know. See Evidence.

        newest_days without a basket that holds both: the age of the whole log.
        """
        held, sold = self._held(trigger, query), self._sold(query)
        both = _common(held, sold)
        first, last = self._windows
        begin, end = (np.searchsorted(sold, edge[held]) for edge in (first, last))
        after = end - begin
        owners = self.log.household
        either = np.union1d(owners[both], owners[held[after > 0]])
        share = len(both) / max(len(held), 1)
        chance = len(sold) / self.log.baskets
        age_ms = self.until_ms - self.log.time_ms[both]
        newest = both[np.lexsort((self.log.basket_id[both], age_ms))]
        oldest_ms = self.until_ms - int(self.log.time_ms.min())
        clicked = self.clicks.get((normalise_query(trigger), normalise_query(query)))
        return Evidence(
            until_ms=self.until_ms,
            days=self.rule.days,
            baskets=len(both),
            after=int(after.sum()),
            households=len(either),
            trigger_baskets=len(held),
            query_baskets=len(sold),
            all_baskets=self.log.baskets,
            decayed=round(float(np.exp2(-age_ms / self.rule.half_life_ms).sum()), 3),
            low=round(float(wilson_low(np.array([len(both)]), np.array([len(held)]))[0]), 6),
            lift=round(share / chance, 4) if chance else 0.0,
            later=self._later(held, sold),
            newest_days=int(age_ms.min(initial=oldest_ms)) // DAY_MS,
            similarity=round(float(self._units([trigger])[0] @ self._units([query])[0]), 4),
            click=None if clicked is None else round(clicked, 6),
            examples=tuple(example_of(number) for number in self.log.basket_id[newest[:EXAMPLES]].tolist()),
        )

    def together(self, trigger: str, query: str) -> int:
        """Households that had both in one basket."""
        held, sold = self._held(trigger, query), self._sold(query)
        return len(_distinct(self.log.household[_common(held, sold)]))

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

    def _units(self, texts: list[str]) -> Float64:
        if self.encoder is None or not texts:
            return np.zeros((len(texts), 1))
        vectors = np.stack([self.encoder.embed(text) for text in texts]).astype(np.float64)
        return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9))

    def _cells(self, matrix: Float64, triggers: Sequence[str], queries: Sequence[str]) -> Float64:
        """(n, m), 0 where a text has no row or column."""
        rows = np.array([self._row(text) for text in triggers], np.int64)
        columns = np.array([self._column(text) for text in queries], np.int64)
        found = matrix[np.ix_(np.maximum(rows, 0), np.maximum(columns, 0))] if matrix.size else np.zeros(0)
        known = (rows >= 0)[:, None] & (columns >= 0)[None, :]
        return np.where(known, found, 0.0) if matrix.size else np.zeros(known.shape)

    def _row(self, trigger: str) -> int:
        """Of the matrices; -1 for none."""
        return self._rows.get(normalise_query(trigger), -1)

    def _column(self, query: str) -> int:
        return self._columns.get(normalise_query(query), -1)

    @cached_property
    def _rows(self) -> dict[str, int]:
        return _places(self.log.triggers, self.counts.triggers)

    @cached_property
    def _columns(self) -> dict[str, int]:
        return _places(self.log.queries, self.counts.queries)

    def _held(self, trigger: str, query: str) -> Int64:
        """Occasions that hold the trigger for the query, in order."""
        number = self.log.trigger_number.get(normalise_query(trigger))
        if number is None:
            return np.zeros(0, np.int64)
        starts, order = self._by_trigger
        lines = order[starts[number] : starts[number + 1]]
        own = self.log.query_number.get(normalise_query(query))
        others = lines if own is None else lines[self.log.line_query[lines] != own]
        return _distinct(self.log.line_occasion[others])

    def _sold(self, query: str) -> Int64:
        """Occasions that hold the query, in order."""
        number = self.log.query_number.get(normalise_query(query))
        if number is None:
            return np.zeros(0, np.int64)
        starts, order = self._by_query
        return self.log.bought_occasion[order[starts[number] : starts[number + 1]]]

    def _later(self, held: Int64, sold: Int64) -> int:
        """Per cent of the households with both that met the query after the trigger, the first times."""
        first, then = self._first(held), self._first(sold)
        both = ~(np.isnan(first) | np.isnan(then))
        after = then[both] > first[both]
        return round(100 * int(after.sum()) / len(after)) if len(after) else 0

    def _first(self, occasions: Int64) -> Float64:
        """(households,) time of the first of the occasions, NaN for those without one."""
        first = np.full(int(self.log.household[-1]) + 1, np.nan)
        backwards = occasions[::-1]
        first[self.log.household[backwards]] = self.log.time_ms[backwards]
        return first

    @cached_property
    def _windows(self) -> tuple[Int64, Int64]:
        return self.log.windows(self.rule.days)

    @cached_property
    def _by_trigger(self) -> tuple[Int64, Int64]:
        return _postings(self.log.line_trigger, len(self.log.triggers))

    @cached_property
    def _by_query(self) -> tuple[Int64, Int64]:
        return _postings(self.log.bought_query, len(self.log.queries))


def associations(
    purchases: pl.DataFrame,
    until_ms: int,
    *,
    behaviours: pl.DataFrame | None = None,
    encoder: TextEncoder | None = None,
    rule: MiningRule = MINING_RULE,
) -> Association:
    """Count a log before `until_ms`; columns as training.think.occasions.occasions_of takes them.

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
    return Association(log, counts, rule, until_ms, encoder)


def example_of(basket_id: int) -> str:
    """What names a basket in evidence without telling whose it is: 16 hexadecimal digits."""
    return sha256(f"{EXAMPLE_LABEL}:{basket_id}".encode()).hexdigest()[:16]


def _places(texts: list[str], numbers: Int64) -> dict[str, int]:
    """By normal form, where a text's number stands."""
    return {normalise_query(texts[number]): place for place, number in enumerate(numbers.tolist())}


def _common(left: Int64, right: Int64) -> Int64:
    """What stands in both; each in order and without repeats."""
    if not len(right):
        return right
    at = np.minimum(np.searchsorted(right, left), len(right) - 1)
    return np.asarray(left[right[at] == left], np.int64)


def _distinct(ordered: Int64) -> Int64:
    """Each value of an ordered array once."""
    return np.asarray(ordered[np.diff(ordered, prepend=-1) != 0], np.int64)


def _postings(column: Int64, count: int) -> tuple[Int64, Int64]:
    """Where each value's rows begin in the order, and the order."""
    order = np.argsort(column, kind="stable")
    return np.searchsorted(column[order], np.arange(count + 1)), order
