"""What a data set says of a version before it is built: its α, its popular list, how much it meets.

α is chosen by hits on types that are new to the household: what it knows anyway, its own list shows it.
All of it is measured on the validation span; the test span is for the report alone.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import polars as pl

from streams.query_text import normalise_query
from training.datasets.dataset import Dataset
from training.evaluation.bootstrap import Interval
from training.progress import Report
from training.think.mining.judge import Lead, LeadCase, Task, judge_leads, lead_cases
from training.think.points import Proposal
from training.think.versions.build_version import ALPHAS, BuildSettings, best_alpha, read_reviewed
from training.think.versions.mapping_version import PopularQuery
from training.think.versions.rank_entries import rank


def measured(
    work: Path, data: Dataset, settings: BuildSettings, *, choose: bool, report: Report
) -> tuple[BuildSettings, list[PopularQuery], dict[str, Any]]:
    """Settings (with the best α, if it may `choose`), the popular list, and metrics for the manifest."""
    proposals = read_reviewed(work).proposals
    cases = lead_cases(data.purchases, data.split.validate)
    alphas = ALPHAS if choose else (settings.alpha,)
    sweep: dict[float, Mapping[Task, Lead]] = {}
    for done, alpha in enumerate(alphas, 1):
        sweep[alpha] = met(proposals, replace(settings, alpha=alpha), cases)
        report(done, f"α {alpha}")
    new = {alpha: _new_types(leads) for alpha, leads in sweep.items()}
    best = replace(settings, alpha=best_alpha(new))
    metrics = {
        "leads_on_validation": {task: _figures(lead) for task, lead in sweep[best.alpha].items()},
        "new_recall_at_10_by_alpha": {f"{alpha:g}": round(recall, 4) for alpha, recall in new.items()},
    }
    approved = {normalise_query(proposal.query) for proposal in proposals}
    return best, popular_of(data, approved, settings.popular_max), metrics


def met(
    proposals: Sequence[Proposal], settings: BuildSettings, cases: Sequence[LeadCase]
) -> Mapping[Task, Lead]:
    """How much of what follows the version would meet (training.think.mining.judge)."""
    ranked = rank(proposals, alpha=settings.alpha, queries_max=settings.queries_max)
    return judge_leads(
        {one.trigger: [entry.proposal.query for entry in one.entries] for one in ranked}, cases
    )


def popular_of(data: Dataset, approved: Collection[str], count: int) -> list[PopularQuery]:
    """What most households bought at all in the training span, ties by name; score: their share.

    approved: normal forms; what no review lets anybody be shown is not popular either.
    """
    before = data.purchases.filter(pl.col("time_ms") < data.split.train.end_ms)
    households = max(before["household_id"].n_unique(), 1)
    buyers = (
        before.group_by("phrase")
        .agg(pl.col("household_id").n_unique().alias("buyers"))
        .sort(["buyers", "phrase"], descending=[True, False])
    )
    rows = [row for row in buyers.iter_rows() if normalise_query(row[0]) in approved]
    return [
        PopularQuery(query=phrase, score=round(number / households, 3)) for phrase, number in rows[:count]
    ]


def _new_types(leads: Mapping[Task, Lead]) -> float:
    """Of the rest of a basket; 0 when no case was judged."""
    return leads["rest"].new_recall_at_10.value if "rest" in leads else 0.0


def _figures(lead: Lead) -> dict[str, Any]:
    return {
        name: [round(end, 4) for end in value] if isinstance(value, Interval) else round(value, 4)
        for name, value in asdict(lead).items()
    }
