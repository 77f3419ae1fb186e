"""The clipped surrogate: its value by hand, and its gradient against plain derivations."""

from __future__ import annotations

from dataclasses import replace
from math import exp, log

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from streams.errors import TrainingError
from training.grpo_config import GrpoConfig
from training.policy_loss import PolicyFigures, clip_ranges, entropy_weight, policy_loss
from training.slots import list_log_probs, sampled

PLAIN = GrpoConfig(entropy_bonus=0.0, steps=10)


def slots(*values: float) -> Tensor:
    """One list of one context, (1, 1, K)."""
    return torch.tensor([[list(values)]])


def loss_of(
    ratios: list[float], advantages: list[float], entropies: list[float], config: GrpoConfig = PLAIN
) -> tuple[float, list[float], PolicyFigures]:
    """Loss, its gradient by each slot's log-probability, and figures, for given ρ."""
    logp = slots(*[log(ratio) for ratio in ratios]).requires_grad_()
    present = torch.ones(logp.shape, dtype=torch.bool)
    zero = torch.zeros_like(logp)
    loss, figures = policy_loss(logp, zero, slots(*advantages), slots(*entropies), present, config, 0)
    loss.backward()
    assert logp.grad is not None
    return float(loss.detach()), logp.grad.flatten().tolist(), figures


def test_the_value_is_minus_the_mean_of_the_clipped_gains() -> None:
    # All entropies equal are all at the quantile: ε = 0.5.
    loss, _, figures = loss_of([1.2, 1.8, 0.4, 0.4], [1.0, 1.0, -1.0, 1.0], [1.0] * 4)
    assert loss == pytest.approx(-(1.2 + 1.5 - 0.5 + 0.4) / 4)
    assert figures.clipped == 0.5
    assert figures.ratio == pytest.approx((1.2 + 1.8 + 0.4 + 0.4) / 4)
    assert figures.slots == 4


@pytest.mark.parametrize(
    ("ratio", "advantage", "moves"),
    [
        (1.6, 1.0, False),  # gained enough already
        (1.6, -1.0, True),  # the wrong way: pulled back
        (0.4, -1.0, False),
        (0.4, 1.0, True),
        (1.1, 1.0, True),
        (0.9, -1.0, True),
    ],
)
def test_the_gradient_ends_where_the_clip_binds(ratio: float, advantage: float, moves: bool) -> None:
    _, gradient, figures = loss_of([ratio], [advantage], [1.0])
    assert gradient == pytest.approx([-ratio * advantage if moves else 0.0])
    assert figures.clipped == (0.0 if moves else 1.0)


def test_open_choices_may_move_further() -> None:
    config = replace(PLAIN, entropy_quantile=0.5)
    # τ = 2.5: slots 2 and 3 are open.
    loss, gradient, figures = loss_of([1.3] * 4, [1.0] * 4, [1.0, 2.0, 3.0, 4.0], config)
    assert figures.threshold == pytest.approx(2.5)
    assert loss == pytest.approx(-(1.2 + 1.2 + 1.3 + 1.3) / 4)
    assert gradient == pytest.approx([0.0, 0.0, -1.3 / 4, -1.3 / 4])


def test_the_threshold_itself_counts_as_open() -> None:
    ranges, threshold = clip_ranges(torch.tensor([0.0, 1.0, 2.0, 3.0, 4.0, 5.0]), PLAIN)
    assert float(threshold) == 4.0
    assert ranges.tolist() == pytest.approx([0.2] * 4 + [0.5] * 2)


def test_the_entropy_bonus_falls_linearly_to_nothing() -> None:
    config = GrpoConfig(entropy_bonus=0.04, steps=4)
    weights = [entropy_weight(step, config) for step in range(6)]
    assert weights == pytest.approx([0.04, 0.03, 0.02, 0.01, 0.0, 0.0])


def test_the_entropy_bonus_is_of_the_present_slots_and_has_a_gradient() -> None:
    config = GrpoConfig(entropy_bonus=0.2, steps=2)
    entropy = slots(3.0, 1.0, 7.0).requires_grad_()
    present = torch.tensor([[[True, True, False]]])
    zero = torch.zeros(1, 1, 3)
    loss, figures = policy_loss(zero, zero, zero, entropy, present, config, 1)
    loss.backward()
    assert float(loss.detach()) == pytest.approx(-0.1 * 2.0)
    assert (figures.entropy, figures.entropy_weight) == pytest.approx((2.0, 0.1))
    assert entropy.grad is not None
    assert entropy.grad.flatten().tolist() == pytest.approx([-0.05, -0.05, 0.0])


def test_missing_slots_and_dropped_contexts_change_nothing() -> None:
    chance = torch.Generator().manual_seed(3)
    logp, old, gains, entropy = (torch.rand(3, 4, 5, generator=chance) for _ in range(4))
    present = torch.rand(3, 4, 5, generator=chance) < 0.7
    kept = torch.tensor([True, False, True])
    config = GrpoConfig()
    loss, figures = policy_loss(logp, old, gains, entropy, present, config, 0, kept=kept)
    noisy = [torch.where(present, values, values + 9.0) for values in (logp, old, gains, entropy)]
    for values in noisy:
        values[1] = 50.0
    again = policy_loss(noisy[0], noisy[1], noisy[2], noisy[3], present, config, 0, kept=kept)
    assert (float(again[0]), again[1]) == (float(loss), figures)
    alone = policy_loss(logp[kept], old[kept], gains[kept], entropy[kept], present[kept], config, 0)
    assert (float(alone[0]), alone[1]) == (float(loss), figures)


def test_with_nothing_to_train_on_there_is_no_loss_and_no_gradient() -> None:
    logp = torch.rand(2, 3, 4).requires_grad_()
    values, present = torch.rand(2, 3, 4), torch.ones(2, 3, 4, dtype=torch.bool)
    none = torch.zeros(2, dtype=torch.bool)
    loss, figures = policy_loss(logp, values, values, values, present, GrpoConfig(), 0, kept=none)
    loss.backward()
    assert float(loss.detach()) == 0.0
    assert logp.grad is not None
    assert not logp.grad.any()
    assert figures == PolicyFigures(entropy_weight=0.01)


def test_the_kl_term_pulls_towards_the_reference() -> None:
    config = replace(PLAIN, kl=0.5)
    logp = slots(0.0, 1.0).requires_grad_()
    zero, present = torch.zeros(1, 1, 2), torch.ones(1, 1, 2, dtype=torch.bool)
    loss, figures = policy_loss(logp, zero, zero, zero, present, config, 0, reference_logp=zero)
    loss.backward()
    # d = 0 and −1: the mean of 0 and e⁻¹ + 1 − 1
    assert figures.kl == pytest.approx(exp(-1) / 2)
    assert float(loss.detach()) == pytest.approx(0.5 * exp(-1) / 2)
    assert logp.grad is not None
    assert logp.grad.flatten().tolist() == pytest.approx([0.0, 0.5 * (1 - exp(-1)) / 2])


def test_a_weight_of_kl_without_a_reference_is_refused() -> None:
    one, present = torch.zeros(1, 1, 1), torch.ones(1, 1, 1, dtype=torch.bool)
    with pytest.raises(TrainingError, match="kl"):
        policy_loss(one, one, one, one, present, replace(PLAIN, kl=0.1), 0)


@given(st.integers(0, 1_000))
def test_at_ratio_one_the_gradient_is_minus_the_mean_of_a_grad_logp(seed: int) -> None:
    """And the clip has no say: REINFORCE with the group's baseline, through the policy's own likelihood."""
    chance = torch.Generator().manual_seed(seed)
    logits = torch.randn(2, 3, 6, generator=chance).requires_grad_()
    lists = sampled(logits.detach(), 4, 1.0, 6, chance)
    lists[0, 0, 2] = -1
    advantages, present = torch.randn(2, 4, 3, generator=chance), lists >= 0
    logp, entropy = list_log_probs(logits, lists)
    loss, figures = policy_loss(logp, logp.detach(), advantages, entropy, present, PLAIN, 0)
    (gradient,) = torch.autograd.grad(loss, logits, retain_graph=True)
    (plain,) = torch.autograd.grad(-(advantages * logp)[present].mean(), logits)
    assert torch.allclose(gradient, plain, atol=1e-6)
    assert (figures.clipped, figures.ratio) == (0.0, 1.0)
    assert float(loss.detach()) == pytest.approx(-float(advantages[present].mean()), abs=1e-5)


def test_steps_go_on_until_every_clip_binds_later_for_the_open_choice() -> None:
    """The first slot chooses among 4, the second among the 3 that are left: only the first is at τ."""
    logits = torch.zeros(1, 2, 4).requires_grad_()
    lists = torch.tensor([[[0, 1], [2, 3]]])
    advantages, present = torch.tensor([[[1.0, 1.0], [-1.0, -1.0]]]), lists >= 0
    old = list_log_probs(logits, lists)[0].detach()
    for _ in range(80):
        logp, entropy = list_log_probs(logits, lists)
        loss, figures = policy_loss(logp, old, advantages, entropy, present, PLAIN, 0)
        (gradient,) = torch.autograd.grad(loss, logits)
        logits = (logits - 0.2 * gradient).detach().requires_grad_()
    assert figures.clipped == 1.0
    assert not gradient.any()
    better, worse = (list_log_probs(logits, lists)[0].detach() - old).exp()[0].tolist()
    assert better[0] > 1.5 > better[1] > 1.2
    assert worse[0] < 0.5 < worse[1] < 0.8
