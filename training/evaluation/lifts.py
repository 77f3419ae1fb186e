"""Arms against arms, on the same cases and the same drawn households: mean(arm) / mean(baseline) − 1.

Compared are all arms with EBR and with plain SFT, as the ratios of the paper's tables are; each step of the
training with the one before it; each ranked arm with itself unranked; and what Think serves with the bundle's
list alone.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Final

import numpy as np
import numpy.typing as npt

from training.evaluation.ab_test import UCTR, Draws
from training.evaluation.arms import RANKED
from training.evaluation.bootstrap import Interval

Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]

STEPS: Final = (
    *(("list_sft", "sft"), ("il_sft", "list_sft"), ("grpo", "il_sft"), ("il_grpo", "il_sft")),
    *(("direct_think", "bundle"), ("think", "bundle"), ("direct_popular", "bundle")),
    *(("direct_think", "direct_popular"),),
    *(("il_grpo", "grpo"), ("direct_grpo", "direct_il_sft"), ("direct_il_grpo", "direct_il_sft")),
)
REFERENCES: Final = ("ebr", "sft", "direct_sft", "habit", "habit_item_knn")
LIFTED: Final = (
    *("recall@10", "new_recall@10", "ndcg@10", "recall@3", "query_hr@30", "cate_hr@30"),
    *("semantic_similarity", "unique_categories", UCTR),
    *("new_hits@10", "new_hits@30", "unique_categories@30"),
)


def lifts(
    values: Mapping[str, Mapping[str, Float64]], households: Int64, draws: Draws
) -> dict[str, dict[str, Interval]]:
    """By "arm/baseline" and figure. values: arm → figure → (C,); households: (C,)."""
    return {
        f"{arm}/{baseline}": {
            figure: draws.lift(values[arm][figure], values[baseline][figure], households)
            for figure in LIFTED
            if figure in values[arm]
        }
        for arm, baseline in pairs(values)
    }


def pairs(names: Collection[str]) -> Iterator[tuple[str, str]]:
    """(arm, baseline) of the named arms, each pair once."""
    ordered = [(name, name.removesuffix(RANKED)) for name in names if name.endswith(RANKED)]
    against = [(name, reference) for reference in REFERENCES for name in names if name != reference]
    for arm, baseline in dict.fromkeys([*STEPS, *ordered, *against]):
        if arm in names and baseline in names:
            yield arm, baseline
