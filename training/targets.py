"""The list that a sample teaches, slot by slot: what the basket held, in interest order.

    interest_q = the household's decayed count of q + a small share of q's popularity

Interest order is ours (the paper ranks by production scores and clicks, §3.3.2). A strict order would teach
the network that whatever precedes a written hint in that order is *not* in the basket, and greedy lists would
skip the likeliest; so each epoch draws the order anew, by Gumbel noise of scale `order_noise` on log interest
(Plackett-Luce sampling; 0 is the strict order). Baskets that are smaller than the list leave its last slots
open. What the paper compares with are the other orders: one query only (pair-wise SFT), and any order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from training.sessions import REST, Sample

POPULARITY_SHARE: Final = 0.2
MISSING: Final = -1

Order = Literal["interest", "random", "single"]
Int64 = npt.NDArray[np.int64]
Float32 = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class TargetRule:
    """hints: K. order: interest (IL-SFT), random (unordered lists) or single (one random query: pair-wise).
    balance: a basket of n phrases weighs n^-balance per hint; 0 counts hints alike, 1 baskets. rest_weight:
    of samples from the middle of a basket, which have fewer phrases left to teach."""

    hints: int = 12
    order: Order = "interest"
    order_noise: float = 2.0
    balance: float = 0.5
    rest_weight: float = 2.0


def target_lists(
    samples: Sequence[Sample], popularity: Float32, rule: TargetRule, noise: np.random.Generator
) -> tuple[Int64, Float32]:
    """Lexicon numbers (B, K), MISSING behind the last, and each sample's loss weight per hint (B,).

    popularity: (V,), the largest 1.
    """
    lists = np.full((len(samples), rule.hints), MISSING, np.int64)
    weights = np.zeros(len(samples), np.float32)
    for row, sample in enumerate(samples):
        chosen = ordered_items(sample, popularity, rule, noise)
        lists[row, : len(chosen)] = chosen
        share = rule.rest_weight if sample.task == REST else 1.0
        weights[row] = share * max(1, len(sample.items)) ** -rule.balance
    return lists, weights


def ordered_items(
    sample: Sample, popularity: Float32, rule: TargetRule, noise: np.random.Generator
) -> list[int]:
    """At most K of the sample's lexicon numbers, in the rule's order."""
    items = np.array(sample.items, np.int64)
    if rule.order != "interest":
        chosen = noise.permutation(items)[: 1 if rule.order == "single" else rule.hints]
        return [int(item) for item in chosen]
    interest = np.asarray(sample.habit) + POPULARITY_SHARE * popularity[items] + 1e-6
    keys = np.log(interest) + rule.order_noise * noise.gumbel(size=len(items))
    best = np.argsort(-keys, kind="stable")[: rule.hints]
    return [int(item) for item in items[best]]
