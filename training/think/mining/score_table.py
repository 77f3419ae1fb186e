"""Which score leads on best: a table over the validation span. It chose MiningRule's weights.

python -m training.think.mining.score_table data/complete-journey
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

from training.datasets.dataset import Dataset, load_dataset
from training.evaluation.bootstrap import Interval
from training.think.mining.association import Association, training_counts
from training.think.mining.histories import cases
from training.think.mining.judge import Lead, Task, judge_leads, lead_cases
from training.think.mining.pool import pool
from training.think.mining.reference import reference_points
from training.think.mining.scores import MINING_RULE, MiningRule

LISTED: Final = 10
NO_DECAY_MS: Final = 10**18
POOLED: Final = 20_000
ALONE: Final = replace(MINING_RULE, across=0.0, half_life_ms=NO_DECAY_MS)
RULES: Final[dict[str, MiningRule]] = {
    "cosine, floors of decision 0008": replace(
        ALONE, rarity=0.5, trigger_baskets_min=100, pair_baskets_min=40, pair_households_min=10
    ),
    "cosine": replace(ALONE, rarity=0.5),
    "rarity 0.65": ALONE,
    "rarity 0.8": replace(ALONE, rarity=0.8),
    "rarity 0.65, decayed": replace(ALONE, half_life_ms=MINING_RULE.half_life_ms),
    "across alone": replace(ALONE, across=1000.0),
    "rarity 0.65, decayed, across (MINING_RULE)": MINING_RULE,
    "rarity 0.65, decayed, similarity 0.5": replace(MINING_RULE, across=0.0, similarity=0.5),
    "all, similarity 0.5": replace(MINING_RULE, similarity=0.5),
    "all, similarity 1": replace(MINING_RULE, similarity=1.0),
}

Lists = dict[str, list[str]]


def score_table(data: Dataset) -> Iterator[tuple[str, Mapping[Task, Lead]]]:
    """Each rule's name and its figures on the validation span; counts are of the training span."""
    judged = lead_cases(data.purchases, data.split.validate)
    counted: dict[int, Association] = {}
    for name, rule in RULES.items():
        if rule.half_life_ms not in counted:
            counted[rule.half_life_ms] = _counted(data, rule.half_life_ms)
        association = replace(counted[rule.half_life_ms], rule=rule)
        yield name, judge_leads(_lists(association), judged)
    yield "reference points, pooled", judge_leads(_pooled(data, association), judged)


def _counted(data: Dataset, half_life_ms: int) -> Association:
    return training_counts(data, replace(MINING_RULE, half_life_ms=half_life_ms))


def _lists(association: Association) -> Lists:
    return {
        trigger: [found.query for found in association.candidates(trigger, LISTED)]
        for trigger in association.triggers
    }


def _pooled(data: Dataset, association: Association) -> Lists:
    association = replace(association, rule=MINING_RULE)
    sample = cases(data, "train", POOLED, 0)
    points = reference_points(sample, association)
    lists: Lists = {}
    for proposal in pool((case.history for case in sample), points, "reference"):
        lists.setdefault(proposal.trigger, []).append(proposal.query)
    return lists


def _row(name: str, leads: Mapping[Task, Lead]) -> str:
    cells = [
        _per_cent(figure)
        for lead in leads.values()
        for figure in (lead.recall_at_10, lead.new_recall_at_10, lead.new_recall_at_3)
    ]
    rest = leads["rest"]
    return "  ".join([f"{name:34}", *cells, f"{rest.covered:.3f}", f"{rest.queries:5}"])


def _per_cent(figure: Interval) -> str:
    return f"{100 * figure.value:5.2f} [{100 * figure.low:5.2f}, {100 * figure.high:5.2f}]"


def main(folder: Path) -> None:
    """Print the table, in per cent: recall@10, of new types, and of these @3; rest, then next."""
    for name, leads in score_table(load_dataset(folder)):
        sys.stdout.write(_row(name, leads) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
