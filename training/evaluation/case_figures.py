"""All figures of an arm's lists, case by case and over all lists; several training seeds averaged per case.

Beside training.evaluation.metrics, on the same lists:

    cold_start_…    the figure over cases that know fewer than 5 purchases of the household
    with_unseen_…   the figure over cases whose truth holds a product that training never saw
    unseen_recall@10   recall@10 of the novel lists on these products alone: 0 for whoever writes the lexicon,
                       which is what training saw; only the counting arms go on learning
    uctr@3, ctr@3   next basket only, SIMULATED clicks (training.evaluation.ab_test)
    invalid@10, filtered@10 …   training.evaluation.validity

Intervals draw households. Coverage and Gini are no means over cases, and a bootstrap of them is biased (drawn
households repeat, so they cover less): their interval is value ± 1.96 s of the delete-a-group jackknife,
s² = (G − 1)/G Σ_g (θ_−g − θ̄)², G = 20 groups of households (Kott 2001, "The delete-a-group jackknife").
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from training.datasets.interface import ClickModel
from training.evaluation.ab_test import click_figures
from training.evaluation.bootstrap import Interval, mean_over_seeds
from training.evaluation.cases import TASK_NAMES, Cases, cold_starts, with_unseen_products
from training.evaluation.metrics import LIST_LENGTH, OVER_ALL, Hits, numbered, over_all, per_case, recall
from training.evaluation.validity import validity
from training.sessions import NEXT
from training.vocabulary import Vocabulary

Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]
Lists = Sequence[Sequence[str]]

COLD_START: Final = "cold_start_"
WITH_UNSEEN: Final = "with_unseen_"
UNSEEN_RECALL: Final = "unseen_recall@10"
OF_STRATA: Final = ("recall@10", "hit_rate@10", "ndcg@10", "new_recall@10", "query_hr@30", "cate_hr@30")
GROUPS: Final = 20
NORMAL_95: Final = 1.959964


@dataclass(frozen=True, slots=True)
class Written:
    """One seed's lists for the cases: plain, novel (without what is owned), and as before any filter."""

    lists: Lists
    novel: Lists
    unfiltered: Lists


@dataclass(frozen=True, slots=True)
class Judge:
    """What lists are judged with. lexicon: all phrases that training saw, and that are written."""

    vocabulary: Vocabulary
    lexicon: frozenset[str]
    clicks: ClickModel

    def figures(self, written: Written, cases: Cases) -> dict[str, Float64]:
        """One seed's figures by name, (C,) each; NaN where a case has none."""
        figures = per_case(written.lists, written.novel, cases, self.vocabulary)
        figures |= self._strata(figures, cases)
        unseen = [truth - self.lexicon for truth in cases.new_truths]
        figures[UNSEEN_RECALL] = recall(Hits.of(written.novel, unseen), LIST_LENGTH)
        if cases.task == TASK_NAMES[NEXT]:
            figures |= click_figures(written.lists, cases.truths, self.clicks)
        return figures | validity(written.unfiltered, self.lexicon)

    def of_seeds(
        self, seeds: Sequence[Written], cases: Cases
    ) -> tuple[dict[str, Float64], list[dict[str, float]]]:
        """The figures with each case averaged over the seeds; and each seed's own means."""
        each = [self.figures(written, cases) for written in seeds]
        averaged = {name: mean_over_seeds([one[name] for one in each]) for name in each[0]}
        return averaged, [{name: _mean(values) for name, values in one.items()} for one in each]

    def over_all(self, seeds: Sequence[Written], cases: Cases) -> dict[str, Interval]:
        """Coverage and Gini, the mean over the seeds."""
        _, place = np.unique(cases.households, return_inverse=True)
        group = place % GROUPS
        numbers = [numbered(one.lists, self.vocabulary) for one in seeds]
        whole = self._over_all(numbers)
        without = np.array(
            [self._over_all([one[group != number] for one in numbers]) for number in np.unique(group)]
        )
        if len(without) < 2:
            return {name: Interval(value, value, value) for name, value in zip(OVER_ALL, whole, strict=True)}
        spread = ((without - without.mean(0)) ** 2).sum(0) * (len(without) - 1) / len(without)
        reach = NORMAL_95 * np.sqrt(spread)
        return {
            name: Interval(float(value), float(value - half), float(value + half))
            for name, value, half in zip(OVER_ALL, whole, reach, strict=True)
        }

    def _over_all(self, numbers: Sequence[Int64]) -> Float64:
        found = [over_all(one, self.vocabulary) for one in numbers]
        return np.asarray(np.mean([[one[name] for name in OVER_ALL] for one in found], axis=0), np.float64)

    def _strata(self, figures: dict[str, Float64], cases: Cases) -> dict[str, Float64]:
        strata = {COLD_START: cold_starts(cases), WITH_UNSEEN: with_unseen_products(cases, self.lexicon)}
        return {
            prefix + name: np.where(inside, figures[name], np.nan)
            for prefix, inside in strata.items()
            for name in OF_STRATA
        }


def _mean(values: Float64) -> float:
    present = values[~np.isnan(values)]
    return float(present.mean()) if len(present) else float("nan")
