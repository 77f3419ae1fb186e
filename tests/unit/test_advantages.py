"""Advantages of hints and lists in their group."""

from __future__ import annotations

from math import sqrt

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from training.advantages import (
    difficulty_mask,
    grpo_advantages,
    il_grpo_advantages,
    list_advantages,
    list_scores,
    query_advantages,
    sequence_advantages,
)
from training.grpo_config import GrpoConfig

EPS = 1e-4
WIDE = 100.0  # a clip that clips nothing


def every(rewards: Tensor) -> Tensor:
    return torch.ones(rewards.shape, dtype=torch.bool)


@st.composite
def groups(draw: st.DrawFn, slots: int = 3) -> tuple[Tensor, Tensor, Tensor]:
    """Query rewards (B, G, K), sequence rewards (B, G) and present slots of 2 contexts."""
    seed, lists = draw(st.integers(0, 10_000)), draw(st.integers(2, 6))
    chance = torch.Generator().manual_seed(seed)
    rewards = torch.rand(2, lists, slots, generator=chance) * 4 - 2
    present = torch.rand(2, lists, slots, generator=chance) < draw(st.sampled_from([0.3, 0.7, 1.1]))
    return rewards, torch.rand(2, lists, generator=chance) - 1, present


def test_each_slot_is_compared_with_the_same_slot_of_the_group() -> None:
    rewards = torch.tensor([[[1.0, 0.2], [3.0, 0.2]]])  # slot 0: μ = 2, variance 1; slot 1: no spread
    size = 1 / sqrt(1 + EPS)
    assert query_advantages(rewards, every(rewards), EPS)[0].tolist() == [
        pytest.approx([-size, 0.0]),
        pytest.approx([size, 0.0]),
    ]


def test_the_variance_is_the_populations_with_eps_inside_the_root() -> None:
    rewards = torch.tensor([[[0.0], [0.0], [0.0], [4.0]]])  # μ = 1, variance (3 · 1 + 9) / 4 = 3
    advantages = query_advantages(rewards, every(rewards), 1.0)
    assert advantages.flatten().tolist() == pytest.approx([-0.5, -0.5, -0.5, 1.5])


def test_a_missing_slot_takes_no_part_and_gets_nothing() -> None:
    rewards = torch.tensor([[[1.0], [99.0], [3.0]]])
    present = torch.tensor([[[True], [False], [True]]])
    size = 1 / sqrt(1 + EPS)
    assert query_advantages(rewards, present, EPS).flatten().tolist() == pytest.approx([-size, 0.0, size])


def test_a_slot_that_one_list_has_alone_gets_nothing() -> None:
    rewards = torch.tensor([[[5.0], [float("nan")]]])
    present = torch.tensor([[[True], [False]]])
    assert query_advantages(rewards, present, EPS).flatten().tolist() == [0.0, 0.0]


def test_contexts_do_not_see_each_other() -> None:
    rewards = torch.tensor([[[0.0], [1.0]], [[100.0], [101.0]]])
    one, two = query_advantages(rewards, every(rewards), EPS)
    assert one.tolist() == two.tolist()


def test_list_and_slot_advantages_add_up_with_lambda() -> None:
    queries = torch.tensor([[[1.0, 5.0], [3.0, 5.0]]])
    sequences = torch.tensor([[0.0, -1.0]])  # μ = −0.5, variance 0.25
    advantages = il_grpo_advantages(queries, sequences, every(queries), 0.5, EPS, WIDE)
    slot, whole = 1 / sqrt(1 + EPS), 0.5 * 0.5 / sqrt(0.25 + EPS)
    assert advantages[0].tolist() == [
        pytest.approx([-slot + whole, whole]),
        pytest.approx([slot - whole, -whole]),
    ]


def test_plain_grpo_gives_a_list_one_advantage_for_its_mean() -> None:
    queries = torch.tensor([[[1.0, 5.0], [3.0, 7.0], [9.0, 1.0]]])
    present = torch.tensor([[[True, True], [True, True], [False, True]]])
    sequences = torch.tensor([[0.0, 0.0, -2.0]])
    # scores 3, 5 and 1 − 0.5 · 2 = 0: μ = 8/3, variance 38/9
    gaps = torch.tensor([3.0, 5.0, 0.0]) - 8 / 3
    a, b, c = (gaps / sqrt(38 / 9 + EPS)).tolist()
    advantages = grpo_advantages(queries, sequences, present, 0.5, EPS, WIDE)
    assert advantages[0].tolist() == [
        pytest.approx([a, a], abs=1e-6),
        pytest.approx([b, b], abs=1e-6),
        pytest.approx([0.0, c], abs=1e-6),
    ]


def test_il_grpo_sees_which_slot_earned_what_plain_grpo_cannot() -> None:
    queries = torch.tensor([[[1.0, 0.0], [0.0, 1.0]]])  # the same mean, from different slots
    none = torch.zeros(1, 2)
    assert grpo_advantages(queries, none, every(queries), 0.5, EPS, WIDE).abs().max() == 0
    first, second = il_grpo_advantages(queries, none, every(queries), 0.5, EPS, WIDE)[0].tolist()
    assert first == pytest.approx([1.0, -1.0], abs=1e-3)
    assert second == pytest.approx([-1.0, 1.0], abs=1e-3)


@given(groups(slots=1))
def test_with_one_slot_and_no_sequence_reward_both_are_the_same(
    group: tuple[Tensor, Tensor, Tensor],
) -> None:
    queries, sequences, present = group
    ours = il_grpo_advantages(queries, sequences, present, 0.0, EPS, 2.0)
    assert torch.equal(ours, grpo_advantages(queries, sequences, present, 0.0, EPS, 2.0))


@given(groups())
def test_advantages_of_a_slot_sum_to_nothing(group: tuple[Tensor, Tensor, Tensor]) -> None:
    queries, sequences, present = group
    assert query_advantages(queries, present, EPS).sum(1).abs().max() < 1e-3
    assert sequence_advantages(sequences, EPS).sum(1).abs().max() < 1e-3
    whole = il_grpo_advantages(queries, sequences, every(queries), 0.7, EPS, WIDE)
    assert whole.sum(1).abs().max() < 1e-3


@given(groups(), st.randoms(use_true_random=False))
def test_lists_in_another_order_have_their_advantages_in_that_order(
    group: tuple[Tensor, Tensor, Tensor], chance: object
) -> None:
    queries, sequences, present = group
    order = list(range(queries.shape[1]))
    chance.shuffle(order)
    for method in (il_grpo_advantages, grpo_advantages):
        plain = method(queries, sequences, present, 0.5, EPS, 2.0)
        moved = method(queries[:, order], sequences[:, order], present[:, order], 0.5, EPS, 2.0)
        assert torch.allclose(plain[:, order], moved, atol=1e-4)


@given(st.floats(-10, 10), st.integers(2, 9))
def test_equal_rewards_teach_nothing(reward: float, lists: int) -> None:
    queries = torch.full((1, lists, 4), reward)
    sequences = torch.full((1, lists), reward)
    for method in (il_grpo_advantages, grpo_advantages):
        assert method(queries, sequences, every(queries), 0.5, EPS, 2.0).abs().max() < 1e-3


@given(groups(), st.sampled_from(["query", "sequence"]))
def test_advantages_stay_within_the_clip_and_out_of_missing_slots(
    group: tuple[Tensor, Tensor, Tensor], level: str
) -> None:
    queries, sequences, present = group
    config = GrpoConfig(level=level, advantage_clip=0.8)
    advantages = list_advantages(queries, sequences, present, config)
    assert advantages.abs().max() <= 0.8
    assert not advantages[~present].any()


def test_the_level_chooses_the_method() -> None:
    queries, sequences = torch.tensor([[[1.0, 0.0], [0.0, 3.0]]]), torch.tensor([[0.0, -1.0]])
    ours = list_advantages(queries, sequences, every(queries), GrpoConfig())
    plain = list_advantages(queries, sequences, every(queries), GrpoConfig(level="sequence"))
    assert torch.equal(ours, il_grpo_advantages(queries, sequences, every(queries), 0.5, EPS, 2.0))
    assert torch.equal(plain, grpo_advantages(queries, sequences, every(queries), 0.5, EPS, 2.0))


def test_the_score_of_a_list_is_the_mean_of_what_it_has() -> None:
    rewards = torch.tensor([[[1.0, 3.0], [4.0, 9.0], [7.0, 7.0]]])
    present = torch.tensor([[[True, True], [True, False], [False, False]]])
    assert list_scores(rewards, present).tolist() == [[2.0, 4.0, 0.0]]


def test_contexts_are_kept_strictly_between_hopeless_and_solved() -> None:
    means = torch.tensor([-0.5, 0.0, 0.25, 0.26, 0.5, 0.74, 0.75, 1.0])
    scores = torch.stack([means - 0.125, means + 0.125], 1)
    kept = [False, False, False, True, True, True, False, False]
    assert difficulty_mask(scores, 0.25, 0.75).tolist() == kept
    assert difficulty_mask(scores * 4, 0.25, 0.75, maximum=4.0).tolist() == kept
