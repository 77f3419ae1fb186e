"""Arms that count purchases: popularity, the household's own habit, and its neighbours'.

    popularity   s_q = baskets that held q
    habit        s_q = Σ 2^(−(T − t_i)/h) over the household's baskets i that held q, h = 90 days
    neighbours   s_q = Σ_n cos(u, n) · n_q/|n| over the 300 nearest households n, u and n decayed counts

Ties go to the phrase that is more popular, then by name; so a short list is filled up with popular phrases.
Popularity and habit are updated basket by basket: a case of time T sees every basket strictly older than
T, and nothing else. Neighbours are frozen at a given time. They know every phrase of the purchases, also
those that the lexicon lacks. What was already bought of this basket (`seen`) is never listed. Ours: the
paper compares with a retrieval channel alone (§5.1).
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt
import polars as pl

from training.datasets.complete_journey import HABIT_HALF_LIFE_MS, WHOLE_YEAR

if TYPE_CHECKING:
    from training.evaluation.cases import Cases, Recommender

Int64 = npt.NDArray[np.int64]
Float64 = npt.NDArray[np.float64]

LONGEST_LIST: Final = 30
NEIGHBOURS: Final = 300


@dataclass(frozen=True, slots=True)
class PurchaseLog:
    """N rows, one per basket and phrase, in order of household, time, basket, phrase.

    phrases: V names in alphabetical order; numbers: their places. households, times_ms (epoch ms), baskets,
    items (a phrase's number): (N,) int64.
    """

    phrases: list[str]
    numbers: dict[str, int]
    households: Int64
    times_ms: Int64
    baskets: Int64
    items: Int64

    @classmethod
    def of(cls, purchases: pl.DataFrame) -> PurchaseLog:
        """`purchases` as load_purchases gives them; a phrase of several types counts once a basket."""
        columns = ("household_id", "time_ms", "basket_id", "phrase")
        rows = purchases.select(columns).unique().sort(columns)
        phrases = sorted(rows["phrase"].unique().to_list())
        numbers = {phrase: number for number, phrase in enumerate(phrases)}
        households, times_ms, baskets = (rows[name].to_numpy().astype(np.int64) for name in columns[:3])
        items = np.array([numbers[phrase] for phrase in rows["phrase"].to_list()], np.int64)
        return cls(phrases, numbers, households, times_ms, baskets, items)

    def history(self, household: int, before_ms: int) -> slice:
        """The rows of a household's strictly older baskets, oldest first."""
        start, end = np.searchsorted(self.households, (household, household + 1))
        older = np.searchsorted(self.times_ms[start:end], before_ms)
        return slice(int(start), int(start + older))

    def last_moment(self, household: int, before_ms: int) -> Int64:
        """Items of the household's last older basket; baskets of the same second count as one."""
        past = self.history(household, before_ms)
        times_ms = self.times_ms[past]
        return np.unique(self.items[past][times_ms == times_ms[-1]]) if len(times_ms) else self.items[:0]

    def weights(self, household: int, before_ms: int, half_life_ms: int) -> Float64:
        """(V,): the household's decayed counts as of `before_ms`, up to a factor that all phrases share."""
        past = self.history(household, before_ms)
        # Growing weights instead of shrinking sums: the proportions are the same at any later time.
        grown = np.exp2((self.times_ms[past] - WHOLE_YEAR.start_ms) / half_life_ms)
        # Without a row, bincount gives integers.
        return np.bincount(self.items[past], grown, len(self.phrases)).astype(np.float64)

    def popularity(self, times_ms: Int64) -> list[Int64]:
        """For each time, in the order given, the (V,) numbers of baskets strictly older than it.

        Times between which nothing was bought share one array.
        """
        order = np.argsort(self.times_ms, kind="stable")
        sorted_items, sorted_times = self.items[order], self.times_ms[order]
        counts: list[Int64] = [np.zeros(0, np.int64)] * len(times_ms)
        total, start = np.zeros(len(self.phrases), np.int64), 0
        for place in np.argsort(times_ms, kind="stable"):
            end = int(np.searchsorted(sorted_times, times_ms[place]))
            if end > start:
                total = total + np.bincount(sorted_items[start:end], minlength=len(self.phrases))
            counts[place], start = total, end
        return counts

    def best(self, scores: Float64, counts: Int64, left_out: Collection[str]) -> list[str]:
        """At most 30 phrases, the highest score first, ties by count, then by name.

        scores, counts: (V,). What has no count yet was never sold and is no candidate.
        """
        allowed = counts > 0
        allowed[[self.numbers[phrase] for phrase in left_out if phrase in self.numbers]] = False
        places = np.flatnonzero(allowed)
        order = np.lexsort((-counts[places], -scores[places]))[:LONGEST_LIST]
        return [self.phrases[place] for place in places[order]]


def left_out(cases: Cases, case: int, novel: bool) -> frozenset[str]:
    """What a case's list must not hold: what the household owns when `novel`, else what is in the basket."""
    return cases.owned[case] if novel else cases.seen[case]


def popularity(purchases: pl.DataFrame) -> Recommender:
    """The phrases that stand in most older baskets. `purchases`: the whole year."""
    log = PurchaseLog.of(purchases)

    def recommend(cases: Cases, novel: bool) -> list[list[str]]:
        sold = log.popularity(cases.times_ms)
        level = np.zeros(len(log.phrases))
        return [log.best(level, counts, left_out(cases, case, novel)) for case, counts in enumerate(sold)]

    return recommend


def habit(purchases: pl.DataFrame, half_life_ms: int = HABIT_HALF_LIFE_MS) -> Recommender:
    """The phrases that the household bought most, old baskets counting less. `purchases`: the whole year."""
    log = PurchaseLog.of(purchases)

    def recommend(cases: Cases, novel: bool) -> list[list[str]]:
        lists = []
        for case, counts in enumerate(log.popularity(cases.times_ms)):
            household, time_ms = int(cases.households[case]), int(cases.times_ms[case])
            weights = log.weights(household, time_ms, half_life_ms)
            lists.append(log.best(weights, counts, left_out(cases, case, novel)))
        return lists

    return recommend


def user_neighbours(purchases: pl.DataFrame, before_ms: int, neighbours: int = NEIGHBOURS) -> Recommender:
    """What the nearest households buy, from purchases before `before_ms` alone (epoch ms)."""
    log = PurchaseLog.of(purchases.filter(pl.col("time_ms") < before_ms))
    counts = np.bincount(log.items, minlength=len(log.phrases))
    households = np.unique(log.households)
    decayed = [log.weights(int(one), before_ms, HABIT_HALF_LIFE_MS) for one in households]
    scores = _neighbours_scores(np.array(decayed).reshape(len(households), len(counts)), neighbours)
    rows = {int(household): row for row, household in enumerate(households)}
    level = np.zeros(len(log.phrases))

    def recommend(cases: Cases, novel: bool) -> list[list[str]]:
        lists = []
        for case, household in enumerate(cases.households):
            row = rows.get(int(household))
            wanted = level if row is None else scores[row]
            lists.append(log.best(wanted, counts, left_out(cases, case, novel)))
        return lists

    return recommend


def _neighbours_scores(weights: Float64, neighbours: int) -> Float64:
    """(U, V) decayed counts to the (U, V) scores that each household gets from those nearest to it."""
    unit = weights / np.linalg.norm(weights, axis=1, keepdims=True)
    near = unit @ unit.T
    np.fill_diagonal(near, 0.0)
    if len(near) > neighbours:
        near[near < np.partition(near, -neighbours, axis=1)[:, [-neighbours]]] = 0.0
    scores: Float64 = near @ unit
    return scores
