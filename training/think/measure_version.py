"""What a data set says of a version before it is built: its α, its popular list, how much it meets.

All of it is measured on the validation span; the test span is for the report alone.
"""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import polars as pl

from training.datasets.complete_journey import phrase_baskets
from training.datasets.dataset import Dataset
from training.progress import Report
from training.think.build_version import (
    ALPHAS,
    SEED,
    BuildSettings,
    best_alpha,
    queries_of,
    read_reviewed,
)
from training.think.judge import LeadsOn, judge_mapping
from training.think.mapping_version import PopularQuery
from training.think.points import Proposal
from training.think.rank_entries import rank


def measured(
    work: Path, data: Dataset, settings: BuildSettings, *, choose: bool, report: Report
) -> tuple[BuildSettings, list[PopularQuery], dict[str, Any]]:
    """Settings (with the best α, if it may `choose`), the popular list, and metrics for the manifest."""
    proposals = read_reviewed(work).proposals
    baskets = validation_baskets(data)
    alphas = ALPHAS if choose else (settings.alpha,)
    sweep: dict[float, LeadsOn] = {}
    for done, alpha in enumerate(alphas, 1):
        sweep[alpha] = met(proposals, replace(settings, alpha=alpha), baskets)
        report(done, f"α {alpha}")
    best = replace(settings, alpha=best_alpha(sweep))
    metrics = {
        "rest_of_validation_baskets": asdict(sweep[best.alpha]),
        "recall_at_10_by_alpha": {f"{alpha:g}": one.recall_at_10 for alpha, one in sweep.items()},
    }
    return best, popular_of(data.purchases, data.split.train.end_ms, settings.popular_max), metrics


def met(proposals: list[Proposal], settings: BuildSettings, baskets: list[list[str]]) -> LeadsOn:
    """How much of the rest of these baskets the version would meet (training.think.judge)."""
    ranked = rank(proposals, alpha=settings.alpha, queries_max=settings.queries_max)
    return judge_mapping(queries_of(ranked), baskets, seed=SEED)


def validation_baskets(data: Dataset) -> list[list[str]]:
    """The phrases of each basket of the validation span."""
    span = data.split.validate
    held = data.purchases.filter(pl.col("time_ms").is_between(span.start_ms, span.end_ms, closed="left"))
    return phrase_baskets(held)["phrases"].to_list()


def popular_of(purchases: pl.DataFrame, until_ms: int, count: int) -> list[PopularQuery]:
    """What most households bought at all before `until_ms`, ties by name; score: their share."""
    before = purchases.filter(pl.col("time_ms") < until_ms)
    households = max(before["household_id"].n_unique(), 1)
    buyers = (
        before.group_by("phrase")
        .agg(pl.col("household_id").n_unique().alias("buyers"))
        .sort(["buyers", "phrase"], descending=[True, False])
        .head(count)
    )
    return [
        PopularQuery(query=phrase, score=round(number / households, 3))
        for phrase, number in buyers.select("phrase", "buyers").iter_rows()
    ]
