"""The list that a sample teaches: what the basket held, in interest order, then what came later.

Interest order is ours (the paper ranks by production scores and clicks, §3.3.2): a phrase's interest is the
household's decayed count of it plus a small share of its popularity. A strict order would teach the network
that whatever precedes a written hint in that order is *not* in the basket, and greedy lists would skip the
likeliest; so each epoch draws the order anew, by Gumbel noise of scale `order_noise` on log interest
(Plackett-Luce sampling; 0 is the strict order). A short list is filled from the household's following
baskets with a smaller weight in the loss.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from training.sessions import Sample

POPULARITY_SHARE = 0.2

Int64 = npt.NDArray[np.int64]
Float32 = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class TargetRule:
    """hints: K. steps: T. later_weight: loss weight of what was bought only later. balance: a basket of n
    phrases weighs n^-balance per hint; 0 counts hints alike, 1 baskets."""

    hints: int = 12
    steps: int = 24
    order_noise: float = 2.0
    later_weight: float = 0.3
    balance: float = 0.5


def ordered_hints(
    sample: Sample, popularity: Float32, rule: TargetRule, noise: np.random.Generator
) -> tuple[list[int], int]:
    """At most K lexicon numbers, and how many of them the basket itself held."""
    interest = np.asarray(sample.habit) + POPULARITY_SHARE * popularity[list(sample.items)] + 1e-6
    keys = np.log(interest) + rule.order_noise * noise.gumbel(size=len(interest))
    own = [sample.items[place] for place in np.argsort(-keys, kind="stable")[: rule.hints]]
    return [*own, *sample.later[: rule.hints - len(own)]], len(own)


def target_arrays(
    samples: Sequence[Sample],
    paths: Sequence[Sequence[int]],
    popularity: Float32,
    rule: TargetRule,
    noise: np.random.Generator,
) -> tuple[Int64, Float32]:
    """Trie nodes (B, T), 0 = padding, and their loss weights (B, T). `paths`: per query its nodes."""
    nodes = np.zeros((len(samples), rule.steps), np.int64)
    weights = np.zeros((len(samples), rule.steps), np.float32)
    for row, sample in enumerate(samples):
        hints, own = ordered_hints(sample, popularity, rule, noise)
        step = 0
        for place, hint in enumerate(hints):
            path = paths[hint]
            if step + len(path) > rule.steps:
                break
            nodes[row, step : step + len(path)] = path
            weight = len(sample.items) ** -rule.balance if place < own else rule.later_weight
            weights[row, step : step + len(path)] = weight
            step += len(path)
    return nodes, weights
