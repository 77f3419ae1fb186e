"""The policy loss: PPO's clipped surrogate per slot, with more room for open choices (§3.5.4, Eq 18).

    L = −mean min(ρA, clip(ρ, 1−ε, 1+ε)·A) − β(s)·mean H + kl·mean KL       ρ = π(q) / π_old(q)
    ε = ε_high where H ≥ τ, else ε_low        τ = the batch's 80th percentile of H
    β(s) = β(0) · (1 − s / S)

Means go over the present slots of the contexts that the difficulty filter kept, and so does τ: that is the
batch that is trained on. The paper does not print its surrogate; one weight per slot, whatever the length of
its list, is ours. The KL term is off unless it has a weight (the paper has none): the estimator
exp(d) − d − 1 with d = log π_ref − log π, which is never negative.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from streams.errors import TrainingError
from training.grpo_config import GrpoConfig


@dataclass(frozen=True, slots=True)
class PolicyFigures:
    """What a step did, over the slots that were trained on; all 0 when there were none.

    clipped: share of slots whose surrogate is at its clip, so that they bring no gradient. ratio: mean ρ.
    entropy: mean H, nats. threshold: τ, nats. entropy_weight: β(s). kl: mean KL, 0 without a reference.
    """

    slots: int = 0
    clipped: float = 0.0
    ratio: float = 0.0
    entropy: float = 0.0
    threshold: float = 0.0
    entropy_weight: float = 0.0
    kl: float = 0.0


def entropy_weight(step: int, config: GrpoConfig) -> float:
    """β(s): config.entropy_bonus at step 0, linearly down to 0 at config.steps, and 0 after it."""
    return config.entropy_bonus * max(0.0, 1.0 - step / config.steps)


def clip_ranges(entropy: Tensor, config: GrpoConfig) -> tuple[Tensor, Tensor]:
    """Eq 18: ε of each of N choices, (N,), and τ. entropy: (N,), N at least 1."""
    threshold = torch.quantile(entropy, config.entropy_quantile)
    low, high = torch.tensor(config.clip_low), torch.tensor(config.clip_high)
    return torch.where(entropy >= threshold, high, low), threshold


def policy_loss(
    logp: Tensor,
    old_logp: Tensor,
    advantages: Tensor,
    entropy: Tensor,
    present: Tensor,
    config: GrpoConfig,
    step: int,
    *,
    kept: Tensor | None = None,
    reference_logp: Tensor | None = None,
) -> tuple[Tensor, PolicyFigures]:
    """The loss, a scalar, and figures. All tensors (B, G, K); the gradient goes through `logp` and `entropy`.

    old_logp: of the policy that wrote the lists. present: bool. kept: (B,) bool, all without it.
    reference_logp: of the reference policy. Raises TrainingError when config.kl has no reference.
    With no slot left to train on the loss is 0 and so is its gradient.
    """
    trained = present if kept is None else present & kept.reshape(-1, 1, 1)
    weight = entropy_weight(step, config)
    chosen, open_ = logp[trained], entropy[trained]
    if not len(chosen):
        return logp.sum() * 0.0, PolicyFigures(entropy_weight=weight)
    ratio = (chosen - old_logp[trained].detach()).exp()
    ranges, threshold = clip_ranges(open_.detach(), config)
    gains, clipped = surrogate(ratio, advantages[trained].detach(), ranges)
    apart = _distance(chosen, None if reference_logp is None else reference_logp[trained], config)
    loss = config.kl * apart - gains.mean() - weight * open_.mean()
    figures = PolicyFigures(
        slots=len(chosen),
        clipped=_mean(clipped),
        ratio=_mean(ratio),
        entropy=_mean(open_),
        threshold=float(threshold),
        entropy_weight=weight,
        kl=float(apart.detach()),
    )
    return loss, figures


def surrogate(ratio: Tensor, advantages: Tensor, ranges: Tensor) -> tuple[Tensor, Tensor]:
    """min(ρA, clip(ρ, 1−ε, 1+ε)·A), and where the clip binds (bool); all (N,). ranges: ε."""
    free = ratio * advantages
    bounded = ratio.clamp(1.0 - ranges, 1.0 + ranges) * advantages
    return torch.minimum(free, bounded), free > bounded


def _distance(chosen: Tensor, reference: Tensor | None, config: GrpoConfig) -> Tensor:
    if reference is None:
        if config.kl > 0:
            raise TrainingError(
                f"kl is {config.kl}, but the reference policy's log-probabilities were not given.",
                action="Give `reference_logp`, or set kl to 0.",
            )
        return torch.zeros(())
    d = reference.detach() - chosen
    return (d.exp() - d - 1.0).mean()


def _mean(values: Tensor) -> float:
    return float(values.detach().to(torch.float32).mean())
