"""What another policy's hints would have been clicked, from a log whose propensities are exact.

N impressions: a hint h at a position k for a case x, shown with probability p(h | x, k) and clicked or not
(c). The target policy would show that hint there with probability t(h | x, k). With w = t / p:

    IPS   = mean(w c)                          Horvitz and Thompson 1952: unbiased, wide
    SNIPS = Σ w c / Σ w                        Swaminathan and Joachims 2015: small bias, narrower
    DR    = mean(p̂_target + w (c − p̂_logged))  Dudík et al. 2011: unbiased if p is right, narrow if p̂ is good

p̂_logged is a click model at the logged hint, p̂_target its mean over the target policy's hints at that
position; it must be fitted on another part of the log. DM = mean(p̂_target) is the model alone.
Assumed: whether a hint is clicked depends on its case and position and not on the other hints of the list
(the item-position model of Li et al. 2018, "Offline evaluation of ranking policies with click models").

A cap clips weights to min(w, cap): less variance, but IPS comes out too low, and DR leans on p̂. By default
nothing is clipped. A hint that the target shows and the log never can is not to be seen in the log's rows;
`mean_weight`, 1 in expectation without clipping, then falls below 1. The paper judges online (§5.4): ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from streams.errors import TrainingError
from training.evaluation.bootstrap import Interval, household_bootstrap, household_ratio

Float64 = npt.NDArray[np.float64]
Floats = npt.NDArray[np.floating[Any]]
ACTION = "Write the log anew with the probabilities with which its hints were drawn."


@dataclass(frozen=True, slots=True)
class OffPolicy:
    """click_through: "logged" (the log's own), "dm", "ips", "snips", "dr"; clicks per impression.

    effective_samples: (Σw)² / Σw², of `impressions`. clipped_share: share of the rows whose weight was above
    the cap. mean_weight: of the clipped weights; far from 1: the log does not cover the target.
    """

    click_through: dict[str, Interval]
    impressions: int
    effective_samples: float
    clipped_share: float
    mean_weight: float


def estimates(
    clicks: npt.NDArray[Any],
    propensities: Floats,
    target: Floats,
    model_logged: Floats,
    model_target: Floats,
    groups: npt.NDArray[np.integer[Any]],
    *,
    cap: float | None = None,
    draws: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> OffPolicy:
    """Click-through of the target policy; all arrays (N,), one entry per impression, `groups` households.

    cap: greatest weight, None for no clipping. Raises TrainingError when the log is empty, arrays differ in
    shape, a probability is none, or a hint of the target had no chance in the log.
    """
    _check((clicks, propensities, target, model_logged, model_target, groups))
    weights = importance_weights(propensities, target, cap)
    clicked = clicks.astype(np.float64)
    mean = partial(household_bootstrap, households=groups, draws=draws, seed=seed, level=level)
    ratio = partial(household_ratio, households=groups, draws=draws, seed=seed, level=level)
    return OffPolicy(
        click_through={
            "logged": mean(clicked),
            "dm": mean(model_target),
            "ips": mean(weights * clicked),
            "snips": ratio(weights * clicked, weights),
            "dr": mean(doubly_robust(clicked, weights, model_logged, model_target)),
        },
        impressions=len(weights),
        effective_samples=effective_samples(weights),
        clipped_share=float(np.mean(importance_weights(propensities, target) > (cap or np.inf))),
        mean_weight=float(weights.mean()),
    )


def importance_weights(propensities: Floats, target: Floats, cap: float | None = None) -> Float64:
    """min(target / propensity, cap), (N,); 0 where the target is 0. Raises TrainingError as `estimates`."""
    for name, values in (("propensity", propensities), ("target probability", target)):
        if not bool(np.all((values >= 0) & (values <= 1))):
            raise TrainingError(f"A {name} is no probability; nothing was estimated.", action=ACTION)
    impossible = int(np.sum((propensities == 0) & (target > 0)))
    if impossible:
        raise TrainingError(
            f"{impossible} impressions have propensity 0 where the target is above 0; nothing was estimated.",
            action=ACTION,
        )
    if cap is not None and not cap > 0:
        raise TrainingError(f"A cap of {cap} leaves no weight.", action="Give a cap above 0, or none.")
    weights = np.zeros(len(target))
    np.divide(target, propensities, out=weights, where=target > 0)
    return weights if cap is None else np.minimum(weights, cap)


def doubly_robust(clicks: Floats, weights: Floats, model_logged: Floats, model_target: Floats) -> Float64:
    """Each impression's term p̂_target + w (c − p̂_logged), (N,): for a paired lift of two target policies."""
    return np.asarray(model_target + weights * (clicks - model_logged), np.float64)


def effective_samples(weights: Floats) -> float:
    """(Σw)² / Σw²: as many unweighted impressions would say as much; 0 without weight."""
    squares = float(np.sum(weights**2))
    return float(np.sum(weights)) ** 2 / squares if squares else 0.0


def _check(arrays: tuple[npt.NDArray[Any], ...]) -> None:
    shapes = {array.shape for array in arrays}
    if len(shapes) > 1 or arrays[0].ndim != 1 or not len(arrays[0]):
        raise TrainingError(
            f"The log's columns have shapes {sorted(shapes)}; nothing was estimated.",
            action="Give columns of one length, at least one impression each.",
        )
    for array in arrays:
        if not np.isfinite(array).all():
            raise TrainingError("A column of the log is not finite; nothing was estimated.", action=ACTION)
