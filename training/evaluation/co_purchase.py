"""Arms that know what is bought together: item-to-item cosine of baskets, alone and with habit.

    cos(p, q) = |baskets with p and q| / √(|baskets with p| · |baskets with q|),   cos(p, p) = 0
    co-purchase   s_q = Σ_p cos(p, q) over the seeds p
    with habit    s_q = z(habit)_q + w · z(co-purchase)_q,   z(x) = (x − mean) / deviation over phrases sold

Seeds: what was already bought of this basket; before a basket has begun, the household's last one. The
cosines are frozen at a given time (a span's start); seeds and habit are those of each case's own time.
This is the co-click heuristic of item retrieval on what our data has, baskets; ours, for comparison.

w was chosen on November, recall@10 of the plain list. Rest of basket: 0.2527 with w = 0, 0.2638 with 0.5,
0.2690 with 1, 0.2703 with 1.2, 0.2693 with 1.4, 0.2660 with 2. Next basket: no w helps (0.3478 up to 0.02,
0.3474 with 0.05, 0.3164 with 1), so there it hardly does more than break ties. Plain counts or log counts in
place of z were no better. Novel lists are the co-purchase order: a habit says nothing of what is new.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt
import polars as pl

from training.datasets.complete_journey import HABIT_HALF_LIFE_MS
from training.evaluation.counting_arms import Float64, Int64, PurchaseLog, left_out
from training.neighbours import co_occurrence

if TYPE_CHECKING:
    from training.evaluation.cases import Cases, Recommender

Float32 = npt.NDArray[np.float32]

MIX: Final = {"next_basket": 0.02, "rest_of_basket": 1.2}


class CoPurchase:
    """Cosines of V phrases from the purchases before `before_ms` (epoch ms), and none after it.

    phrases: V names; counts: (V,) baskets that held each; cosines: (V, V) float32, symmetric, diagonal 0.
    """

    def __init__(self, purchases: pl.DataFrame, before_ms: int) -> None:
        self.log = PurchaseLog.of(purchases.filter(pl.col("time_ms") < before_ms))
        self.phrases = self.log.phrases
        self.counts: Int64 = np.bincount(self.log.items, minlength=len(self.phrases))
        together = co_occurrence(self.log.baskets, self.log.items, len(self.phrases))
        np.fill_diagonal(together, 0.0)
        self.cosines: Float32 = (together / np.sqrt(np.outer(self.counts, self.counts))).astype(np.float32)

    def scores(self, seen: Collection[str]) -> Float32:
        """(V,): sums of the seeds' cosines; 0 everywhere when none of them is known."""
        numbers = sorted({self.log.numbers[phrase] for phrase in seen if phrase in self.log.numbers})
        summed: Float32 = self.cosines[numbers].sum(0)
        return summed


def co_purchase(purchases: pl.DataFrame, before_ms: int) -> Recommender:
    """What goes with the seeds. `purchases`: the whole year; the cosines end at `before_ms`."""
    together, log = CoPurchase(purchases, before_ms), PurchaseLog.of(purchases)

    def recommend(cases: Cases, novel: bool) -> list[list[str]]:
        lists = []
        for case in range(len(cases.rows)):
            scores = together.scores(_seeds(log, cases, case)).astype(np.float64)
            lists.append(together.log.best(scores, together.counts, left_out(cases, case, novel)))
        return lists

    return recommend


def habit_co_purchase(purchases: pl.DataFrame, before_ms: int, mix: float | None = None) -> Recommender:
    """Habit, updated basket by basket, plus `mix` times co-purchase; MIX of the task when None.

    Both standardized; `purchases`: the whole year.
    """
    together, log = CoPurchase(purchases, before_ms), PurchaseLog.of(purchases)
    places = np.array([log.numbers[phrase] for phrase in together.phrases], np.int64)

    def recommend(cases: Cases, novel: bool) -> list[list[str]]:
        lists, weight = [], MIX[cases.task] if mix is None else mix
        for case, counts in enumerate(log.popularity(cases.times_ms)):
            household, time_ms = int(cases.households[case]), int(cases.times_ms[case])
            along = np.zeros(len(log.phrases))
            along[places] = together.scores(_seeds(log, cases, case))
            own = log.weights(household, time_ms, HABIT_HALF_LIFE_MS)
            scores = _z(own, counts > 0) + weight * _z(along, counts > 0)
            lists.append(log.best(scores, counts, left_out(cases, case, novel)))
        return lists

    return recommend


def _seeds(log: PurchaseLog, cases: Cases, case: int) -> Collection[str]:
    if cases.seen[case]:
        return cases.seen[case]
    last = log.last_moment(int(cases.households[case]), int(cases.times_ms[case]))
    return [log.phrases[item] for item in last]


def _z(scores: Float64, sold: npt.NDArray[np.bool_]) -> Float64:
    """(V,) with mean 0 and deviation 1 over what was ever sold by then; all 0 where scores are all alike."""
    if not sold.any():
        return scores
    centred: Float64 = scores - scores[sold].mean()
    deviation = float(scores[sold].std())
    return centred / deviation if deviation > 0 else centred
