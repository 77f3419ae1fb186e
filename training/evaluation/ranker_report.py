"""What the click ranker is worth on hints of a month that it was not trained on.

    AUC         P(p̂ of a click > p̂ of no click), ties count half (Mann and Whitney's U over all pairs)
    log loss    −mean( c ln p̂ + (1 − c) ln(1 − p̂) ), in nats; beside it that of the constant click rate
    calibration by tenths of the hints in order of p̂: mean p̂ beside the click rate, with its interval
    ece         Σ_tenths n/N · |mean p̂ − click rate|, the expected calibration error (Guo et al. 2017)

p̂ is that of the hint's own position; intervals draw households, as training.evaluation.bootstrap. The paper
gives its ranker no figure (§3.5.1): ours.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from streams.errors import TrainingError
from training.evaluation.bootstrap import Interval, household_bootstrap

Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]

TENTHS: Final = 10
SMALLEST: Final = 1e-7  # of a probability, so that a log stays finite


def ranker_report(
    p: npt.NDArray[np.floating[Any]],
    clicked: npt.NDArray[Any],
    households: npt.NDArray[np.integer[Any]],
    *,
    draws: int = 1000,
    seed: int = 0,
) -> dict[str, Any]:
    """All figures, intervals as Interval; p, clicked (0 or 1), households: (N,). Raises TrainingError.

    Keys: impressions, clicks, auc, log_loss, constant_log_loss, ece, calibration (a list of TENTHS).
    """
    clicks = clicked.astype(np.float64)
    if not p.shape == clicks.shape == households.shape or p.ndim != 1 or not 0 < clicks.sum() < len(clicks):
        raise TrainingError(
            "A ranker is judged by hints with and without a click, and here is only one kind, or none.",
            action="Take more impressions, e.g. a longer span.",
        )
    loss = log_loss(p, clicks)
    rate = float(clicks.mean())
    tenths = calibration(p, clicks, households, draws=draws, seed=seed)
    gaps = [one["hints"] * abs(one["predicted"] - one["clicked"].value) for one in tenths]
    return {
        "impressions": len(clicks),
        "clicks": int(clicks.sum()),
        "auc": auc_interval(p, clicks, households, draws=draws, seed=seed),
        "log_loss": household_bootstrap(loss, households, draws=draws, seed=seed),
        "constant_log_loss": float(log_loss(np.full(len(clicks), rate), clicks).mean()),
        "ece": sum(gaps) / len(clicks),
        "calibration": tenths,
    }


def auc(p: npt.NDArray[np.floating[Any]], clicks: npt.NDArray[Any], weights: Float64 | None = None) -> float:
    """Area under the ROC curve, each hint `weights` times; NaN where one kind is missing. All (N,)."""
    _, place = np.unique(p, return_inverse=True)
    return _weighted_auc(place, clicks.astype(np.float64), np.ones(len(p)) if weights is None else weights)


def auc_interval(
    p: npt.NDArray[np.floating[Any]],
    clicks: Float64,
    households: npt.NDArray[np.integer[Any]],
    *,
    draws: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> Interval:
    """AUC over all pairs, also of different households, with households drawn anew."""
    _, place = np.unique(p, return_inverse=True)
    names, whose = np.unique(households, return_inverse=True)
    chance = np.random.default_rng(seed)
    drawn = []
    for _ in range(draws):
        counts = np.bincount(chance.integers(len(names), size=len(names)), minlength=len(names))
        drawn.append(_weighted_auc(place, clicks, counts[whose].astype(np.float64)))
    value = _weighted_auc(place, clicks, np.ones(len(clicks)))
    defined = np.array(drawn)[~np.isnan(drawn)]
    low, high = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2]) if len(defined) else [np.nan] * 2
    return Interval(value, float(low), float(high))


def log_loss(p: npt.NDArray[np.floating[Any]], clicks: Float64) -> Float64:
    """(N,) nats."""
    sure = np.clip(p.astype(np.float64), SMALLEST, 1.0 - SMALLEST)
    return np.asarray(-(clicks * np.log(sure) + (1.0 - clicks) * np.log1p(-sure)), np.float64)


def calibration(
    p: npt.NDArray[np.floating[Any]],
    clicks: Float64,
    households: npt.NDArray[np.integer[Any]],
    *,
    draws: int = 1000,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Tenths from the lowest p̂ to the highest: hints, predicted (mean p̂), clicked (Interval). Equal p̂ may
    lie in two of them; with fewer than ten hints some are missing."""
    order = np.argsort(p, kind="stable")
    return [
        {
            "hints": len(part),
            "predicted": float(p[part].mean()),
            "clicked": household_bootstrap(clicks[part], households[part], draws=draws, seed=seed),
        }
        for part in np.array_split(order, TENTHS)
        if len(part)
    ]


def _weighted_auc(place: Int64, clicks: Float64, weights: Float64) -> float:
    """place: (N,) rank of each p̂ among the distinct ones."""
    size = int(place.max(initial=-1)) + 1
    hits = np.bincount(place, weights * clicks, size)
    others = np.bincount(place, weights * (1.0 - clicks), size)
    pairs = hits.sum() * others.sum()
    below = np.cumsum(others) - others / 2
    return float(hits @ below / pairs) if pairs else float("nan")
