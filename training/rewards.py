"""What a hint list earns, per query and per list (the paper's §3.5.1, Eq 10 and 14), as pure functions.

    R_query(q_ij) = w_ctr · r_CTR + w_rouge · r_ROUGE + w_length · r_length
                    + w_hit · r_hit + w_novelty · r_novelty
    R_seq(o_i)    = R_fmt + R_rep + w_coverage · R_cov + w_any_click · R_any

Both are clipped to ± reward_clip.

Hints are compared by position: the j-th written with the j-th of the reference list. A missing slot (-1)
earns nothing itself (0); the list pays for it in R_fmt. Formulas other than Eq 14 and ROUGE-L, all weights,
and the whole of hit, novelty, coverage and any click are ours: the paper names its rewards but does not
define them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from rapidfuzz.distance import Indel
from rapidfuzz.process import cdist
from torch import Tensor

from streams.errors import TrainingError
from training.grpo_config import GrpoConfig


@dataclass(frozen=True, slots=True)
class QueryTables:
    """What the rewards know of the lexicon. rouge: (V, V) float32 of `rouge_l_table`. similarity: (V, V)
    float32, at most 1, the same table or the cosine of the embeddings. lengths: (V,) int64 sub-words.
    categories: (V,) int64, each query's category from 0.
    """

    rouge: Tensor
    similarity: Tensor
    lengths: Tensor
    categories: Tensor


def ctr_reward(click: Tensor, gamma: float, beta: float) -> Tensor:
    """r_CTR = clip(γ · p̂, 0, β), Eq 14. click: p̂, the ranker's click probability, any shape.

    Scaled because probabilities are small, clipped against outliers.
    """
    return (gamma * click).clamp(0.0, beta)


def rouge_l_table(tokens: Sequence[Sequence[int]]) -> Tensor:
    """ROUGE-L F1 of all pairs, (V, V) float32: 2 · LCS(a, b) / (|a| + |b|), 0 where a or b is empty.

    tokens: the V queries' sub-words. LCS is the longest common subsequence; precision and recall weigh alike
    (the paper names neither the variant nor the tokens). The F1 is the normalised Indel similarity, since the
    Indel distance is |a| + |b| − 2 · LCS.
    """
    table = torch.from_numpy(cdist(tokens, tokens, scorer=Indel.normalized_similarity, dtype=np.float32))
    empty = torch.tensor([len(query) == 0 for query in tokens], dtype=torch.bool)
    return table.masked_fill(empty.unsqueeze(0) | empty.unsqueeze(1), 0.0)


def rouge_reward(lists: Tensor, references: Tensor, table: Tensor) -> Tensor:
    """(B, G, K): the table's value of hint j and reference j; 0 where either is missing.

    lists: (B, G, K) int64. references: (B, K) int64, -1 beyond the reference list's end.
    """
    wanted = references.unsqueeze(1).expand_as(lists)
    scores = table[lists.clamp(min=0), wanted.clamp(min=0)]
    return scores.masked_fill((lists < 0) | (wanted < 0), 0.0)


def length_reward(lengths: Tensor, low: int, high: int) -> Tensor:
    """0 from `low` to `high`, both included; outside −(low − n)/low or −(n − high)/high, at least −1. Ours.

    So a query of no length, or of twice the upper bound, earns −1. lengths: any shape, in the bounds' unit.
    """
    below = (low - lengths).clamp(min=0) / max(low, 1)
    above = (lengths - high).clamp(min=0) / max(high, 1)
    return -(below + above).clamp(max=1.0)


def novelty_reward(lists: Tensor, owned: Tensor) -> Tensor:
    """(B, G, K): 1 where the household never bought the query, else 0. Ours. owned: (B, V) bool."""
    rows = torch.arange(len(lists)).reshape(-1, 1, 1)
    known = owned[rows, lists.clamp(min=0)]
    return ((lists >= 0) & ~known).to(torch.float32)


def hit_reward(lists: Tensor, bought: Tensor) -> Tensor:
    """(B, G, K): 1 where the query was really bought, at whatever place, else 0. Ours.

    bought: (B, V) bool.
    """
    rows = torch.arange(len(lists)).reshape(-1, 1, 1)
    return ((lists >= 0) & bought[rows, lists.clamp(min=0)]).to(torch.float32)


def format_reward(lists: Tensor) -> Tensor:
    """R_fmt (B, G): −(share of the K slots that are missing), so 0 for a whole list.

    The paper asks for "proper punctuation and structure"; ours is all that can break where a hint is one
    choice from a lexicon.
    """
    return -(lists < 0).to(torch.float32).mean(-1)


def repetition_reward(lists: Tensor, similarity: Tensor, threshold: float) -> Tensor:
    """R_rep (B, G): −(share of the list's hints that are an earlier hint, or as similar as `threshold`).

    The first of two alike is not counted; missing slots are no hints, and a list of none earns 0. Ours.
    """
    present = lists >= 0
    chosen = lists.clamp(min=0)
    alike = similarity[chosen.unsqueeze(-1), chosen.unsqueeze(-2)] >= threshold  # (B, G, K, K)
    alike |= chosen.unsqueeze(-1) == chosen.unsqueeze(-2)
    slots = lists.shape[-1]
    earlier = torch.ones(slots, slots, dtype=torch.bool).tril(-1) & present.unsqueeze(-2)
    repeated = (alike & earlier).any(-1) & present
    return -repeated.sum(-1) / present.sum(-1).clamp(min=1)


def coverage_reward(lists: Tensor, categories: Tensor, interest: Tensor | None = None) -> Tensor:
    """R_cov (B, G), 0 to 1. Ours.

    Without `interest`: distinct categories of the list / K. With it, (B, V) weights of 0 and more (for
    instance 1 for what was bought): the covered categories' share of the interest; 0 where there is none.
    """
    count = int(categories.max()) + 1
    missing = torch.full_like(lists, count)
    hit = torch.where(lists >= 0, categories[lists.clamp(min=0)], missing)
    covered = torch.zeros(*lists.shape[:2], count + 1).scatter_(-1, hit, 1.0)[..., :count]
    if interest is None:
        return covered.sum(-1) / lists.shape[-1]
    wanted = torch.zeros(len(lists), count).index_add_(1, categories, interest.to(torch.float32))
    whole = wanted.sum(-1, keepdim=True)
    shares = torch.where(whole > 0, wanted / whole.clamp(min=1e-12), torch.zeros(()))
    return (covered * shares.unsqueeze(1)).sum(-1)


def any_click_reward(lists: Tensor, click: Tensor, shown: int) -> Tensor:
    """R_any = 1 − Π_{j ≤ shown} (1 − p̂_j), (B, G), 0 to 1: a click on at least one of the first hints. Ours.

    click: p̂ (B, G, K), each as on the first place. What is missing is not clicked. Hints count as clicked
    independently of each other, which two of one dish are not: a list can earn more here than it gets.
    """
    chances = torch.where(lists >= 0, click, torch.zeros(())).clamp(0.0, 1.0)
    return 1.0 - (1.0 - chances[..., :shown]).prod(-1)


def query_parts(
    lists: Tensor,
    click: Tensor,
    references: Tensor,
    tables: QueryTables,
    config: GrpoConfig,
    owned: Tensor | None = None,
    bought: Tensor | None = None,
) -> dict[str, Tensor]:
    """The rewards of each hint that have a weight, by name, (B, G, K).

    Raises TrainingError when novelty or hit has a weight, but nobody said what is owned or was bought.
    """
    parts: dict[str, Tensor] = {}
    if config.w_ctr:
        parts["ctr"] = ctr_reward(click, config.gamma, config.beta)
    if config.w_rouge:
        parts["rouge"] = rouge_reward(lists, references, tables.rouge)
    if config.w_length:
        parts["length"] = length_reward(tables.lengths, *config.length_band)[lists.clamp(min=0)]
    if config.w_hit:
        if bought is None:
            raise TrainingError(
                "w_hit is set, but what was bought was not given.", action="Give `bought`, or set w_hit to 0."
            )
        parts["hit"] = hit_reward(lists, bought)
    if config.w_novelty:
        if owned is None:
            raise TrainingError(
                "w_novelty is set, but what the households own was not given.",
                action="Give `owned`, or set w_novelty to 0.",
            )
        parts["novelty"] = novelty_reward(lists, owned)
    zero = torch.zeros(())
    return {name: torch.where(lists >= 0, part, zero) for name, part in parts.items()}


def sequence_parts(
    lists: Tensor,
    tables: QueryTables,
    config: GrpoConfig,
    interest: Tensor | None = None,
    click: Tensor | None = None,
) -> dict[str, Tensor]:
    """The rewards of each list, by name, (B, G).

    Raises TrainingError when any click has a weight, but nobody gave the click probabilities.
    """
    parts = {
        "format": format_reward(lists),
        "repetition": repetition_reward(lists, tables.similarity, config.near_duplicate),
    }
    if config.w_coverage:
        parts["coverage"] = coverage_reward(lists, tables.categories, interest)
    if config.w_any_click:
        if click is None:
            raise TrainingError(
                "w_any_click is set, but click probabilities were not given.",
                action="Give `click`, or set w_any_click to 0.",
            )
        parts["any_click"] = any_click_reward(lists, click, config.any_click_of)
    return parts


def query_rewards(parts: Mapping[str, Tensor], config: GrpoConfig) -> Tensor:
    """R_query (B, G, K) of `query_parts`: weighted sum, clipped to ± reward_clip; 0 in missing slots."""
    weights = {
        "ctr": config.w_ctr,
        "rouge": config.w_rouge,
        "length": config.w_length,
        "hit": config.w_hit,
        "novelty": config.w_novelty,
    }
    return _weighted(parts, weights, config.reward_clip)


def sequence_rewards(parts: Mapping[str, Tensor], config: GrpoConfig) -> Tensor:
    """R_seq (B, G) of `sequence_parts`: weighted sum, clipped to ± reward_clip."""
    weights = {
        "format": 1.0,
        "repetition": 1.0,
        "coverage": config.w_coverage,
        "any_click": config.w_any_click,
    }
    return _weighted(parts, weights, config.reward_clip)


def _weighted(parts: Mapping[str, Tensor], weights: Mapping[str, float], clip: float) -> Tensor:
    total = torch.stack([weights[name] * part for name, part in parts.items()]).sum(0)
    return total.clamp(-clip, clip)
