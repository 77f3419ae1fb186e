"""Counts of all pairs of a trigger and a query: in one basket, and in a later one of the same household.

Only triggers and queries that can reach the floors have a row or a column: no pair has more baskets than
either of the two. Pairs are written out occasion by occasion, chunk by chunk, and added up; no loop runs
over pairs or over the matrix.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
import numpy.typing as npt

from training.think.mining.occasions import NO_BASKET, SEARCHED, Occasions

Int64 = npt.NDArray[np.int64]
Float64 = npt.NDArray[np.float64]

CHUNK_PAIRS: Final = 2_000_000


@dataclass(frozen=True, slots=True)
class PairCounts:
    """T' triggers (their numbers: `triggers`) by V' queries (`queries`); all below but the last are (T', V').

    baskets: occasions with both. households: of these. after: pairs of an occasion with the trigger and a
    later basket of the household with the query. near: households of `baskets` or `after`. trigger_baskets:
    occasions with the trigger. windows: (T',) pairs of an occasion with the trigger and any later basket.
    query_baskets, query_windows: (V',) baskets with the query, and pairs of an occasion and a later basket
    with it. all_baskets, all_windows: of all. What is decayed counts 2^(−age / half-life) for each occasion.
    """

    triggers: Int64
    queries: Int64
    baskets: Int64
    decayed: Float64
    households: Int64
    after: Int64
    near: Int64
    trigger_baskets: Int64
    trigger_decayed: Float64
    windows: Int64
    query_baskets: Int64
    query_decayed: Float64
    query_windows: Int64
    all_baskets: int
    all_windows: int


@dataclass(frozen=True, slots=True)
class _Rows:
    """Sparse rows by occasion: column numbers from starts[o] to starts[o + 1]. own: the query whose purchase
    is the trigger's only line there, SEARCHED if it has another."""

    starts: Int64
    columns: Int64
    own: Int64


def count_pairs(
    log: Occasions,
    *,
    until_ms: int,
    days: int,
    half_life_ms: int,
    trigger_baskets_min: int = 1,
    query_baskets_min: int = 1,
) -> PairCounts:
    """Count them all; see PairCounts."""
    queries, sold = _query_rows(log, query_baskets_min)
    triggers, held = _trigger_rows(log, trigger_baskets_min, queries)
    counting = _Counting(log, until_ms, half_life_ms, len(triggers), len(queries))
    first, last = log.windows(days)
    for start, end in _household_chunks(log, held, sold, first, last):
        counting.add(held, sold, start, end, first, last)
    return counting.done(triggers, queries, held, sold, first, last)


class _Counting:
    """The matrices while they grow."""

    def __init__(self, log: Occasions, until_ms: int, half_life_ms: int, triggers: int, queries: int) -> None:
        self.log, self.shape = log, (triggers, queries)
        self.weight = np.exp2(-(until_ms - log.time_ms) / half_life_ms)
        size = triggers * queries
        self.baskets, self.after, self.households, self.near = (np.zeros(size, np.int64) for _ in range(4))
        self.decayed = np.zeros(size)

    def add(self, held: _Rows, sold: _Rows, start: int, end: int, first: Int64, last: Int64) -> None:
        """Occasions from start to end, of whole households."""
        size = len(self.baskets)
        here = np.arange(start, end)
        both, at = self._pairs(held, sold, here, here)
        counts = last[start:end] - first[start:end]
        then = _ragged(first[start:end], counts)
        later, when = self._pairs(held, sold, np.repeat(here, counts), then)
        self.baskets += np.bincount(both, minlength=size)
        self.decayed += np.bincount(both, self.weight[at], size)
        self.after += np.bincount(later, minlength=size)
        together = self._owned(both, at)
        near = _distinct(np.concatenate([together, self._owned(later, when)]))
        self.households += np.bincount(together % size, minlength=size)
        self.near += np.bincount(near % size, minlength=size)

    def _pairs(self, held: _Rows, sold: _Rows, left: Int64, right: Int64) -> tuple[Int64, Int64]:
        """Of occasions with the trigger and with the query: cell of the matrix and the latter occasion."""
        wide, high = np.diff(held.starts)[left], np.diff(sold.starts)[right]
        sizes = wide * high
        group = np.repeat(np.arange(len(left)), sizes)
        within = _ragged(np.zeros(len(left), np.int64), sizes)
        trigger = held.starts[left][group] + within // high[group]
        query = sold.columns[sold.starts[right][group] + within % high[group]]
        others = held.own[trigger] != query
        cell = held.columns[trigger[others]] * self.shape[1] + query[others]
        return cell, right[group[others]]

    def _owned(self, cells: Int64, occasions: Int64) -> Int64:
        """Household and cell as one number, each once."""
        return _distinct(self.log.household[occasions] * len(self.baskets) + cells)

    def done(
        self, triggers: Int64, queries: Int64, held: _Rows, sold: _Rows, first: Int64, last: Int64
    ) -> PairCounts:
        """All that there is to know of the pairs."""
        upto = np.concatenate([[0], np.cumsum(self.log.basket_id != NO_BASKET)])
        later = upto[last] - upto[first]
        holding, selling = _row_of_each(held), _row_of_each(sold)
        high, wide = self.shape
        return PairCounts(
            triggers=triggers,
            queries=queries,
            baskets=self.baskets.reshape(self.shape),
            decayed=self.decayed.reshape(self.shape),
            households=self.households.reshape(self.shape),
            after=self.after.reshape(self.shape),
            near=self.near.reshape(self.shape),
            trigger_baskets=np.rint(self._held(held, np.ones(len(later)))).astype(np.int64),
            trigger_decayed=self._held(held, self.weight),
            windows=np.bincount(held.columns, later[holding], high).astype(np.int64),
            query_baskets=np.bincount(sold.columns, minlength=wide),
            query_decayed=np.bincount(sold.columns, self.weight[selling], wide).astype(np.float64),
            query_windows=np.bincount(sold.columns, _covered(first, last)[selling], wide).astype(np.int64),
            all_baskets=self.log.baskets,
            all_windows=int(later.sum()),
        )

    def _held(self, held: _Rows, weight: Float64) -> Float64:
        """(T', V') sum over the occasions that hold the trigger for the query."""
        weights = weight[_row_of_each(held)]
        alone = held.own != SEARCHED
        cells = held.columns[alone] * self.shape[1] + held.own[alone]
        lone = np.bincount(cells, weights[alone], len(self.baskets)).reshape(self.shape)
        return np.asarray(np.bincount(held.columns, weights, self.shape[0])[:, None] - lone, np.float64)


def _covered(first: Int64, last: Int64) -> Int64:
    """(O,) how many occasions have each one in their window."""
    steps = np.bincount(first, minlength=len(first) + 1) - np.bincount(last, minlength=len(first) + 1)
    return np.cumsum(steps)[:-1]


def _trigger_rows(log: Occasions, floor: int, queries: Int64) -> tuple[Int64, _Rows]:
    """Numbers of the triggers of `floor` occasions or more, and their rows; `own` in columns of `queries`."""
    column = np.full(len(log.queries) + 1, SEARCHED)  # the last is for SEARCHED itself
    column[queries] = np.arange(len(queries))
    key = log.line_occasion * len(log.triggers) + log.line_trigger
    begins = np.flatnonzero(np.diff(key, prepend=-1))
    lines = np.diff(begins, append=len(key))
    own = np.where(lines == 1, column[log.line_query[begins]], SEARCHED)
    return _kept(log.line_occasion[begins], log.line_trigger[begins], own, len(log.household), floor)


def _query_rows(log: Occasions, floor: int) -> tuple[Int64, _Rows]:
    own = np.full(len(log.bought_query), SEARCHED)
    return _kept(log.bought_occasion, log.bought_query, own, len(log.household), floor)


def _kept(occasion: Int64, column: Int64, own: Int64, occasions: int, floor: int) -> tuple[Int64, _Rows]:
    kept = np.flatnonzero(np.bincount(column) >= floor)
    place = np.full(int(column.max(initial=-1)) + 1, -1)
    place[kept] = np.arange(len(kept))
    inside = place[column] >= 0
    starts = np.searchsorted(occasion[inside], np.arange(occasions + 1))
    return kept, _Rows(starts, place[column[inside]], own[inside])


def _household_chunks(
    log: Occasions, held: _Rows, sold: _Rows, first: Int64, last: Int64
) -> list[tuple[int, int]]:
    """Runs of whole households of about CHUNK_PAIRS pairs."""
    wide, high = np.diff(held.starts), np.diff(sold.starts)
    upto = np.concatenate([[0], np.cumsum(high)])
    pairs = np.cumsum(wide * (high + upto[last] - upto[first]))
    ends = np.flatnonzero(np.diff(log.household, append=-1)) + 1
    _, chunk_ends = np.unique(pairs[ends - 1] // CHUNK_PAIRS, return_index=True)
    borders = sorted({0, *ends[chunk_ends].tolist(), len(log.household)})
    return list(pairwise(borders))


def _row_of_each(rows: _Rows) -> Int64:
    return np.repeat(np.arange(len(rows.starts) - 1), np.diff(rows.starts))


def _distinct(values: Int64) -> Int64:
    """Each value once, in order; faster than numpy.unique on millions."""
    ordered = np.sort(values)
    return np.asarray(ordered[np.diff(ordered, prepend=-1) != 0], np.int64)


def _ragged(starts: Int64, counts: Int64) -> Int64:
    """starts[0], starts[0] + 1, … counts[0] of them, then those of starts[1] and so on."""
    ends = np.cumsum(counts)
    return np.asarray(np.arange(int(counts.sum())) + np.repeat(starts - (ends - counts), counts), np.int64)
