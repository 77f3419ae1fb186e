"""Which advantage each token gets: its own kind's, and no other's (Eq 11–13, 17).

    trigger, told_line     (r − μ_k) / σ_k of the same slot over the group, and nothing else       Eq 17
    query, told_query      (r − μ_kj) / σ_kj + λ · (R_seq − μ_S) / σ_S                              Eq 11
    fact                   (true − μ) / σ of the same slot: what is said, not of what               ours
    structure              (R_seq − μ_S) / σ_S                                                      ours

Trigger and query tokens never share a signal. The paper leaves open which advantage rationales and structure
get. Ours: a value is right or wrong by itself; what a rationale speaks of is chosen where a trigger or a
query is chosen, so it is judged as one, and never by how easily its facts are told; the number of points is
the sequence's. A rollout that has no slot k takes no part in its μ and σ; a slot that one rollout alone has
gives 0. So with other numbers of points only what both have is compared, and the number itself by R_fmt.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

from training.advantages import query_advantages, sequence_advantages
from training.grpo_config import GrpoConfig
from training.think.network.rewards import Rewards
from training.think.network.roles import ROLES, SLOTS

WITH_SEQUENCE: Final = ("query", "told_query")


def token_advantages(roles: Tensor, slots: Tensor, rewards: Rewards, config: GrpoConfig) -> Tensor:
    """(B, G, T) of tokens with these roles and slots, clipped to ± advantage_clip; 0 behind the end."""
    found = torch.zeros(roles.shape)
    whole = sequence_advantages(rewards.sequence, config.eps).unsqueeze(-1)
    for place, role in enumerate(ROLES):
        here = roles == place
        if role == "structure":
            own = whole.expand(roles.shape)
        else:
            own = _of_slots(slots, here, rewards.slots[role], config.eps)
            own = own + config.sequence_weight * whole if role in WITH_SEQUENCE else own
        found = torch.where(here, own, found)
    return found.clamp(-config.advantage_clip, config.advantage_clip)


def _of_slots(slots: Tensor, here: Tensor, rewards: Tensor, eps: float) -> Tensor:
    """(B, G, T): the advantage of each token's slot. rewards: (B, G, slots)."""
    present = present_slots(slots, here, rewards.shape[-1])
    advantages = query_advantages(rewards, present, eps)
    return advantages.gather(-1, slots.where(here, torch.zeros((), dtype=slots.dtype)))


def present_slots(slots: Tensor, here: Tensor, count: int) -> Tensor:
    """(B, G, count) bool: the slots that a token stands in. here: (B, G, T), which tokens."""
    marked = torch.zeros((*slots.shape[:2], count), dtype=torch.int64)
    own = slots.where(here, torch.zeros((), dtype=slots.dtype))
    return marked.scatter_add(-1, own, here.to(torch.int64)) > 0


def present_of(roles: Tensor, slots: Tensor, role: str) -> Tensor:
    """`present_slots` of one role."""
    return present_slots(slots, roles == ROLES.index(role), SLOTS[role])
