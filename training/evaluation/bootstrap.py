"""Intervals by resampling households: one household's baskets are alike, so baskets are no sample.

Households are drawn with replacement, each with all its cases (cluster bootstrap; Field and Welsh 2007,
"Bootstrapping clustered data"). Every figure here is a ratio of two sums over cases,

    figure = Σ_h m_h a_h / Σ_h m_h b_h,    (m_h) ~ Multinomial(H; 1/H, ..., 1/H),

a_h and b_h the household's sums: numerator and denominator of a mean, of a lift, of a weighted mean. The
interval is the percentile interval at (1 ± level)/2. The same households and seed give the same draws, so
arms are compared on the same resampled households. The paper reports no intervals (§5): ours.

The interval says how much the figure depends on *which households* were seen. Over several training seeds,
average each case over the seeds first (`mean_over_seeds`): the interval is then that of the mean arm, and
the spread over seeds is a second figure, to be shown beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Float64 = npt.NDArray[np.float64]
Households = npt.NDArray[np.integer[Any]]


class Interval(NamedTuple):
    """A figure and its interval; NaN where no case has a value."""

    value: float
    low: float
    high: float


def household_bootstrap(
    values: npt.NDArray[np.floating[Any]],
    households: Households,
    *,
    draws: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> Interval:
    """Mean of `values` (C,) over the cases that have one (NaN: none); `households` (C,).

    Raises ValueError when the shapes differ. Households without any value are drawn too and bring nothing.
    """
    valid = ~np.isnan(values)
    filled = np.where(valid, values, 0.0)
    return household_ratio(filled, valid.astype(np.float64), households, draws=draws, seed=seed, level=level)


def paired_lift(
    values: npt.NDArray[np.floating[Any]],
    baseline: npt.NDArray[np.floating[Any]],
    households: Households,
    *,
    draws: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> Interval:
    """mean(values) / mean(baseline) − 1 over the cases in which both, (C,), have a value.

    Both means are taken on the same resampled households. NaN where the baseline's mean is 0.
    """
    both = ~np.isnan(values) & ~np.isnan(baseline)
    reference = np.where(both, baseline, 0.0)
    # The sum of differences, not the difference of sums: equal arms get a lift of exactly 0.
    difference = np.where(both, values, 0.0) - reference
    return household_ratio(difference, reference, households, draws=draws, seed=seed, level=level)


def household_ratio(
    numerators: npt.NDArray[np.floating[Any]],
    denominators: npt.NDArray[np.floating[Any]],
    households: Households,
    *,
    draws: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> Interval:
    """Σ numerators / Σ denominators, each (C,) without NaN, over resampled households.

    Draws whose denominators sum to 0 have no value and are left out of the interval.
    Raises ValueError when shapes differ, a number is not finite, or draws and level make no sense.
    """
    if not numerators.shape == denominators.shape == households.shape or numerators.ndim != 1:
        raise ValueError(
            f"shapes {numerators.shape}, {denominators.shape}, {households.shape}; want one (C,)"
        )
    if draws < 1 or not 0 < level < 1:
        raise ValueError(f"{draws} draws at level {level}; want at least 1, and a level between 0 and 1")
    if not (np.isfinite(numerators).all() and np.isfinite(denominators).all()):
        raise ValueError("a value is infinite, or NaN where none may be")
    names, place = np.unique(households, return_inverse=True)
    above = np.bincount(place, numerators, len(names))
    below = np.bincount(place, denominators, len(names))
    if not below.sum():
        return Interval(np.nan, np.nan, np.nan)
    counts = _draw_counts(len(names), draws, seed)
    resampled = _ratios(counts @ above, counts @ below)
    low, high = np.quantile(resampled, [(1 - level) / 2, (1 + level) / 2]) if len(resampled) else [np.nan] * 2
    return Interval(float(above.sum() / below.sum()), float(low), float(high))


def mean_over_seeds(values: Sequence[npt.NDArray[np.floating[Any]]]) -> Float64:
    """(C,) mean of each case over the seeds of one arm, each (C,); NaN where no seed has a value.

    To be taken before the bootstrap: seeds judged on the same cases are no further households, and
    stacking them would make the interval too narrow.
    """
    stacked = np.stack([np.asarray(one, np.float64) for one in values])
    counts = (~np.isnan(stacked)).sum(axis=0)
    sums = np.nansum(stacked, axis=0)
    means = np.full(len(sums), np.nan)
    np.divide(sums, counts, out=means, where=counts > 0)
    return means


@lru_cache(maxsize=4)
def _draw_counts(households: int, draws: int, seed: int) -> Float64:
    """(draws, H) multinomial counts, read-only; kept, because every figure of an arm needs the same."""
    chance = np.random.default_rng(seed)
    drawn = chance.integers(households, size=(draws, households))
    drawn += households * np.arange(draws)[:, None]
    counts = np.bincount(drawn.ravel(), minlength=draws * households).reshape(draws, households)
    result = counts.astype(np.float64)
    result.setflags(write=False)
    return result


def _ratios(above: Float64, below: Float64) -> Float64:
    defined = below != 0
    return np.asarray(above[defined] / below[defined], np.float64)
