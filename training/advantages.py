"""How much better a hint was than the same slot of its group: the list-aware advantage (Eq 11 to 13).

    A_ij = (R_query(q_ij) − μ_j) / σ_j + λ · (R_seq(o_i) − μ_S) / σ_S        IL-GRPO
    A_i  = (s_i − μ) / σ,   s_i = mean_j R_query(q_ij) + λ · R_seq(o_i)      plain GRPO, to compare with
    σ    = sqrt(mean (· − μ)² + ε)                                           population variance of the group

Both are clipped to ± advantage_clip (§3.5.4). What the paper leaves open: a hint is one token of ours, so a
list has no separators, and never more than K slots. A missing slot (-1) takes no part in its slot's μ_j and
σ_j and gets 0, since nothing was chosen there; the list pays for it in R_fmt. Advantages are not whitened
over the batch, as ROLL's example does: that would undo the scale of each slot.
"""

from __future__ import annotations

import torch
from torch import Tensor

from training.grpo_config import GrpoConfig


def query_advantages(rewards: Tensor, present: Tensor, eps: float) -> Tensor:
    """(B, G, K): each slot's reward against the same slot of the group's other lists, Eq 11 to 13.

    rewards: (B, G, K). present: (B, G, K) bool. A slot that only one list has gets 0.
    """
    known = torch.where(present, rewards, torch.zeros(()))
    count = present.sum(1, keepdim=True).clamp(min=1)
    mean = known.sum(1, keepdim=True) / count
    gap = torch.where(present, rewards - mean, torch.zeros(()))
    variance = gap.square().sum(1, keepdim=True) / count
    return gap / (variance + eps).sqrt()


def sequence_advantages(rewards: Tensor, eps: float) -> Tensor:
    """(B, G): each list's reward against the group's."""
    every = torch.ones(rewards.shape, dtype=torch.bool)
    return query_advantages(rewards.unsqueeze(-1), every.unsqueeze(-1), eps).squeeze(-1)


def list_scores(rewards: Tensor, present: Tensor) -> Tensor:
    """(B, G): the mean reward of a list's present slots; 0 for a list of none."""
    return torch.where(present, rewards, torch.zeros(())).sum(-1) / present.sum(-1).clamp(min=1)


def il_grpo_advantages(
    query_rewards: Tensor, sequence_rewards: Tensor, present: Tensor, weight: float, eps: float, clip: float
) -> Tensor:
    """IL-GRPO, (B, G, K). sequence_rewards: (B, G). weight: λ."""
    whole = sequence_advantages(sequence_rewards, eps).unsqueeze(-1)
    advantages = query_advantages(query_rewards, present, eps) + weight * whole
    return torch.where(present, advantages.clamp(-clip, clip), torch.zeros(()))


def grpo_advantages(
    query_rewards: Tensor, sequence_rewards: Tensor, present: Tensor, weight: float, eps: float, clip: float
) -> Tensor:
    """Plain GRPO, (B, G, K): one advantage per list, in each of its present slots.

    A list without any hint takes no part, so that K = 1 and λ = 0 give exactly what IL-GRPO gives.
    """
    scores = list_scores(query_rewards, present) + weight * sequence_rewards
    some = present.any(-1, keepdim=True)
    advantages = query_advantages(scores.unsqueeze(-1), some, eps)
    return torch.where(present, advantages.clamp(-clip, clip), torch.zeros(()))


def list_advantages(
    query_rewards: Tensor, sequence_rewards: Tensor, present: Tensor, config: GrpoConfig
) -> Tensor:
    """IL-GRPO or plain GRPO, as config.level says; (B, G, K)."""
    method = il_grpo_advantages if config.level == "query" else grpo_advantages
    weight, eps, clip = config.sequence_weight, config.eps, config.advantage_clip
    return method(query_rewards, sequence_rewards, present, weight, eps, clip)


def difficulty_mask(scores: Tensor, low: float, high: float, maximum: float = 1.0) -> Tensor:
    """(B,) bool: contexts whose group is neither hopeless nor solved, low < mean / maximum < high (§3.5.4).

    scores: (B, G), of which `maximum` is the best possible. The paper says "intermediate reward"; the mean
    of the group and the strict comparison are ROLL's.
    """
    share = scores.mean(-1) / maximum
    return (low < share) & (share < high)
