"""Trigger and query tokens never share a signal, whatever the rewards are (§3.5.2)."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from training.grpo_config import GrpoConfig
from training.think.network.advantages import token_advantages
from training.think.network.rewards import Rewards
from training.think.network.roles import ROLES, SLOTS

CONFIG = GrpoConfig(advantage_clip=1e6)
SEES = {
    "trigger": {"trigger"},
    "told_line": {"told_line"},
    "query": {"query", "sequence"},
    "told_query": {"told_query", "sequence"},
    "fact": {"fact"},
    "structure": {"sequence"},
}


def drawn(seed: int) -> tuple[Tensor, Tensor, Rewards]:
    """Two groups of four outputs of thirty tokens, of any role."""
    chance = torch.Generator().manual_seed(seed)
    roles = torch.randint(-1, len(ROLES), (2, 4, 30), generator=chance)
    most = torch.tensor([*SLOTS.values(), 1])[roles].clamp(max=3)
    slots = (torch.rand(roles.shape, generator=chance) * most).long()
    rewards = {role: torch.rand((2, 4, count), generator=chance) for role, count in SLOTS.items()}
    return roles, slots, Rewards(rewards, torch.rand((2, 4), generator=chance))


def other(rewards: Rewards, name: str, seed: int) -> Rewards:
    """The same but for one signal."""
    chance = torch.Generator().manual_seed(seed)
    if name == "sequence":
        return Rewards(rewards.slots, torch.rand((2, 4), generator=chance))
    changed = torch.rand(rewards.slots[name].shape, generator=chance)
    return Rewards(rewards.slots | {name: changed}, rewards.sequence)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6))
def test_a_signal_moves_the_tokens_that_it_is_meant_for_and_no_others(seed: int) -> None:
    roles, slots, rewards = drawn(seed)
    before = token_advantages(roles, slots, rewards, CONFIG)
    for signal in (*SLOTS, "sequence"):
        if signal == "structure":
            continue
        after = token_advantages(roles, slots, other(rewards, signal, seed + 1), CONFIG)
        for place, role in enumerate(ROLES):
            here = roles == place
            moved = not torch.equal(before[here], after[here])
            assert moved == (signal in SEES[role]), (signal, role)
    assert bool((before[roles < 0] == 0).all())
