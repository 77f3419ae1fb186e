"""Intervals over households: worked by hand, and held against samples whose truth is known."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest

from training.evaluation.bootstrap import household_bootstrap, household_ratio, mean_over_seeds, paired_lift

Float64 = npt.NDArray[np.float64]


def clustered(seed: int, households: int = 60, cases: int = 10) -> tuple[Float64, npt.NDArray[np.int64]]:
    """Cases with mean 2, most of whose spread lies between the households."""
    chance = np.random.default_rng(seed)
    level = 2.0 + chance.normal(size=households)
    groups = np.repeat(np.arange(households), cases)
    return level[groups] + 0.1 * chance.normal(size=households * cases), groups


def test_the_value_is_the_mean_over_cases_not_over_households() -> None:
    values, households = np.array([1.0, 1.0, 1.0, 0.0]), np.array([7, 7, 7, 9])
    assert household_bootstrap(values, households).value == 0.75


def test_two_households_give_the_three_means_that_can_be_drawn() -> None:
    values, households = np.array([1.0, 1.0, 1.0, 0.0]), np.array([7, 7, 7, 9])
    # Both of one household with chance 1/4 each, else one of each: 1, 0 or 3/4.
    assert household_bootstrap(values, households, level=0.9)[1:] == (0.0, 1.0)
    assert household_bootstrap(values, households, level=0.3)[1:] == (0.75, 0.75)


def test_cases_without_a_value_do_not_count() -> None:
    households = np.array([1, 1, 2, 3])
    interval = household_bootstrap(np.array([0.5, np.nan, 0.5, np.nan]), households)
    assert interval == (0.5, 0.5, 0.5)
    assert all(math.isnan(bound) for bound in household_bootstrap(np.full(4, np.nan), households))
    assert all(math.isnan(bound) for bound in household_bootstrap(np.zeros(0), np.zeros(0, np.int64)))


def test_the_same_seed_gives_the_same_interval_and_order_does_not_matter() -> None:
    values, households = clustered(0)
    order = np.random.default_rng(1).permutation(len(values))
    plain = household_bootstrap(values, households)
    assert plain == household_bootstrap(values, households)
    assert plain == pytest.approx(household_bootstrap(values[order], households[order]))
    assert plain[1:] != household_bootstrap(values, households, seed=1)[1:]


def test_the_interval_is_as_wide_as_the_spread_between_households_says() -> None:
    values, households = clustered(3, households=400)
    means = values.reshape(400, 10).mean(axis=1)
    interval = household_bootstrap(values, households, draws=4000)
    expected = 1.96 * means.std() / math.sqrt(400)
    assert interval.high - interval.value == pytest.approx(expected, rel=0.08)
    assert interval.value - interval.low == pytest.approx(expected, rel=0.08)
    as_if_independent = 1.96 * values.std() / math.sqrt(len(values))
    assert expected > 2.5 * as_if_independent


def test_the_interval_covers_the_true_mean_as_often_as_it_says() -> None:
    covered = 0
    for seed in range(200):
        interval = household_bootstrap(*clustered(seed), draws=300, seed=seed)
        covered += interval.low <= 2.0 <= interval.high
    assert 0.90 <= covered / 200 <= 0.98


def test_the_lift_of_equal_arrays_is_exactly_zero() -> None:
    values, households = clustered(4)
    assert paired_lift(values, values.copy(), households) == (0.0, 0.0, 0.0)


def test_a_lift_pairs_the_resampled_households() -> None:
    values, households = clustered(5)
    assert paired_lift(1.1 * values, values, households) == pytest.approx((0.1, 0.1, 0.1))
    assert paired_lift(values + 0.2, values, households).value == pytest.approx(0.2 / values.mean())


def test_a_lift_is_taken_over_the_cases_that_both_have() -> None:
    lift = paired_lift(
        np.array([3.0, np.nan, 9.0]), np.array([2.0, 5.0, np.nan]), np.array([1, 2, 3]), draws=50
    )
    assert lift.value == pytest.approx(0.5)
    assert lift[1:] == pytest.approx((0.5, 0.5))


def test_a_lift_over_nothing_has_no_value() -> None:
    assert math.isnan(paired_lift(np.ones(3), np.zeros(3), np.arange(3)).value)


def test_a_ratio_weighs_by_the_denominators() -> None:
    interval = household_ratio(np.array([1.0, 3.0]), np.array([1.0, 1.5]), np.array([1, 2]), level=0.9)
    assert interval == pytest.approx((1.6, 1.0, 2.0))


def test_unlike_shapes_and_senseless_settings_are_refused() -> None:
    ones, households = np.ones(3), np.arange(3)
    with pytest.raises(ValueError, match="shapes"):
        household_ratio(ones, np.ones(2), households)
    with pytest.raises(ValueError, match="shapes"):
        household_bootstrap(ones, np.arange(2))
    with pytest.raises(ValueError, match="infinite"):
        household_bootstrap(np.array([1.0, np.inf, 0.0]), households)
    with pytest.raises(ValueError, match="draws"):
        household_bootstrap(ones, households, draws=0)
    with pytest.raises(ValueError, match="level"):
        household_bootstrap(ones, households, level=1.0)


def test_seeds_are_averaged_case_by_case() -> None:
    seeds = [np.array([1.0, np.nan, np.nan]), np.array([0.0, 0.5, np.nan])]
    assert np.array_equal(mean_over_seeds(seeds), [0.5, 0.5, np.nan], equal_nan=True)


def test_more_seeds_do_not_make_more_households() -> None:
    values, households = clustered(6)
    assert household_bootstrap(mean_over_seeds([values] * 4), households) == pytest.approx(
        household_bootstrap(values, households)
    )
