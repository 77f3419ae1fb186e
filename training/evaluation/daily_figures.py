"""One day's figures with and without the daily updates, on the same baskets, and several days together.

    uctr@3 ctr@3      SIMULATED clicks on the first three hints (training.evaluation.ab_test), exact chances
    ranked_uctr@3     the same when the day's ranker puts the first ten in order, as the published list is
    recall@10         as in training.evaluation.metrics
    log_loss          of the ranker, on the hints that the log shows on that day; less is better

Lifts are paired: with / without − 1 on the same drawn households. The paper's Figure 3 has a CTR a day for
both, from a split of the traffic, and no intervals.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import polars as pl
import torch

from training.checkpoint import Checkpoint
from training.datasets.dataset import Dataset
from training.evaluation.ab_test import UCTR, Draws, click_figures, click_model_of
from training.evaluation.arms import checkpoint_arm
from training.evaluation.cases import Cases, cases_of
from training.evaluation.metrics import LIST_LENGTH, Hits, recall
from training.evaluation.ranker_report import log_loss
from training.ranker import ClickRanker
from training.ranker_run import Shown, with_features
from training.sessions import NEXT, Samples, taken

Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]
Lists = Sequence[Sequence[str]]

RECALL: Final = "recall@10"
RANKED_UCTR: Final = "ranked_" + UCTR
LOG_LOSS: Final = "log_loss"


@dataclass(frozen=True, slots=True)
class Served:
    """What a day is served with."""

    policy: Checkpoint
    ranker: ClickRanker


@dataclass(frozen=True, slots=True)
class Paired:
    """A figure of N baskets or hints: (N,) each, NaN for none."""

    updated: Float64
    frozen: Float64
    households: Int64


Judged = dict[str, Paired]


def judged_day(today: Samples, data: Dataset, updated: Served, frozen: Served) -> Judged:
    """Figures by name. today: the day's next-basket samples; a day without any has figures of no basket."""
    cases = cases_of(today, data.purchases, NEXT)
    baskets = [one.basket_id for one in today.samples]
    hints = data.impressions.filter(pl.col("basket_id").is_in(baskets))
    shown = with_features(hints, today, updated.ranker.features)
    each = [_figures(served, today, cases, shown, data) for served in (updated, frozen)]
    return {
        name: Paired(each[0][name], each[1][name], shown.households if name == LOG_LOSS else cases.households)
        for name in each[0]
    }


def joined_days(days: Sequence[Judged]) -> Judged:
    """All days' baskets as one; at least one day."""
    return {
        name: Paired(
            np.concatenate([day[name].updated for day in days]),
            np.concatenate([day[name].frozen for day in days]),
            np.concatenate([day[name].households for day in days]),
        )
        for name in days[0]
    }


def daily_entry(judged: Judged, draws: Draws) -> dict[str, Any]:
    """baskets, households; with, without, lift → figure → Interval."""
    asked = judged[UCTR].households
    return {
        "baskets": len(asked),
        "households": len(np.unique(asked)),
        "with": {name: draws.of(one.updated, one.households) for name, one in judged.items()},
        "without": {name: draws.of(one.frozen, one.households) for name, one in judged.items()},
        "lift": {name: draws.lift(one.updated, one.frozen, one.households) for name, one in judged.items()},
    }


def _figures(
    served: Served, today: Samples, cases: Cases, shown: Shown, data: Dataset
) -> Mapping[str, Float64]:
    lists = checkpoint_arm(served.policy, today)(cases, False)
    clicks = click_model_of(data.about)
    ordered = _ranked(lists, served, today, cases)
    return {
        **click_figures(lists, cases.truths, clicks),
        RANKED_UCTR: click_figures(ordered, cases.truths, clicks)[UCTR],
        RECALL: recall(Hits.of(lists, cases.truths), LIST_LENGTH),
        LOG_LOSS: _log_loss(served.ranker, shown),
    }


def _ranked(lists: Lists, served: Served, today: Samples, cases: Cases) -> Lists:
    """The first ten of each list by click probability; lists are as long as the lexicon lets them be."""
    if not lists:
        return []
    numbers = {query: number for number, query in enumerate(served.policy.queries)}
    first = np.array([[numbers[query] for query in queries[:LIST_LENGTH]] for queries in lists], np.int64)
    p = served.ranker.clicks(taken(today.contexts, cases.rows), first).numpy()
    orders = np.argsort(-p, axis=1, kind="stable").tolist()
    return [[queries[place] for place in order] for queries, order in zip(lists, orders, strict=True)]


def _log_loss(ranker: ClickRanker, shown: Shown) -> Float64:
    with torch.no_grad():
        p = ranker(torch.from_numpy(shown.features), torch.from_numpy(shown.position)).numpy()
    return log_loss(p, shown.clicked.astype(np.float64))
