"""The list that a sample teaches, slot by slot: blocks of queries, laid end to end without repeats.

    interest   clicked ‖ bought, by interest ‖ generated, by click probability        (IL-SFT, Eq 3–4)
    random     the same queries in any order
    single     one query of the first two blocks, drawn at random                     (pair-wise SFT)

clicked: hints that were clicked before the basket. bought: what the basket held; it stands for the paper's
global-search queries, and its order is

    interest_q = the household's decayed count of q + a small share of q's popularity

drawn anew each epoch, by Gumbel noise of scale `order_noise` on log interest (Plackett-Luce sampling; 0 is
the strict order): a strict order would teach that whatever precedes a written hint is *not* in the basket.
generated: the start's own best queries, which the click ranker orders, and those weaker than `weak` left
out: the paper's Rank-TopK and LLM-generated blocks in one. They fill the list; without them a list's last
slots would learn from large baskets alone. The paper states neither the order inside a block nor its size.
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
    """hints: K. balance: a basket of n phrases weighs n^-balance per hint; 0 counts hints alike, 1 baskets.
    rest_weight: of samples from the middle of a basket, which have fewer phrases left to teach. weak: click
    probability below which nothing is generated. filled_weight: loss weight of a generated query."""

    hints: int = 12
    order: Order = "interest"
    order_noise: float = 2.0
    balance: float = 0.5
    rest_weight: float = 2.0
    weak: float = 0.02
    filled_weight: float = 0.3


@dataclass(frozen=True, slots=True)
class Targets:
    """lists: lexicon numbers (B, K), MISSING behind the last. weights: (B, K) of each hint in the loss."""

    lists: Int64
    weights: Float32


def target_lists(
    samples: Sequence[Sample],
    popularity: Float32,
    rule: TargetRule,
    noise: np.random.Generator,
    clicked: Sequence[Sequence[int]] | None = None,
    generated: Sequence[Sequence[int]] | None = None,
) -> Targets:
    """Lists of B samples. popularity: (V,), the largest 1. clicked, generated: per sample, best first."""
    lists = np.full((len(samples), rule.hints), MISSING, np.int64)
    weights = np.zeros(lists.shape, np.float32)
    for row, sample in enumerate(samples):
        sure = sure_items(sample, popularity, rule, noise, clicked[row] if clicked else ())
        filling = generated[row] if generated and rule.order != "single" else ()
        filled = [query for query in filling if query not in set(sure)]
        chosen = np.array([*sure, *filled][: rule.hints], np.int64)
        share = np.where(np.arange(len(chosen)) < len(sure), 1.0, rule.filled_weight)
        order = np.arange(len(chosen))
        if rule.order != "interest":
            order = noise.permutation(len(chosen))
        lists[row, : len(chosen)] = chosen[order]
        weights[row, : len(chosen)] = share[order] * _size_weight(sample, rule)
    return Targets(lists, weights)


def sure_items(
    sample: Sample,
    popularity: Float32,
    rule: TargetRule,
    noise: np.random.Generator,
    clicked: Sequence[int] = (),
) -> list[int]:
    """What was clicked, then what was bought, by interest; shuffled, or one alone, in the other orders."""
    items = np.array(sample.items, np.int64)
    if rule.order != "interest":
        shuffled = noise.permutation(np.array([*clicked, *items], np.int64)).tolist()
        return list(dict.fromkeys(shuffled))[: 1 if rule.order == "single" else rule.hints]
    interest = np.asarray(sample.habit) + POPULARITY_SHARE * popularity[items] + 1e-6
    keys = np.log(interest) + rule.order_noise * noise.gumbel(size=len(items))
    ordered = items[np.argsort(-keys, kind="stable")].tolist()
    return list(dict.fromkeys([*clicked, *ordered]))[: rule.hints]


def _size_weight(sample: Sample, rule: TargetRule) -> float:
    share = rule.rest_weight if sample.task == REST else 1.0
    return float(share * max(1, len(sample.items)) ** -rule.balance)
