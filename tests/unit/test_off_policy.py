"""Off-policy estimates: by hand on a few rows, and on simulated logs whose click-through is known."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from streams.errors import TrainingError
from training.evaluation.off_policy import (
    OffPolicy,
    doubly_robust,
    effective_samples,
    estimates,
    importance_weights,
)

Float64 = npt.NDArray[np.float64]

# A log of one kind of case and three hints: chance of a click, of being logged, of the target.
CLICK = np.array([0.05, 0.10, 0.30])
LOGGING = np.array([0.5, 0.3, 0.2])
TARGET = np.array([0.1, 0.2, 0.7])
TRUTH = float(TARGET @ CLICK)  # 0.235
WRONG_MODEL = np.array([0.2, 0.2, 0.05])


def simulated(seed: int, model: Float64, size: int = 2_000, propensity: Float64 = LOGGING) -> dict[str, Any]:
    chance = np.random.default_rng(seed)
    hints = chance.choice(3, size=size, p=LOGGING)
    return {
        "clicks": chance.random(size) < CLICK[hints],
        "propensities": propensity[hints],
        "target": TARGET[hints],
        "model_logged": model[hints],
        "model_target": np.full(size, float(TARGET @ model)),
        "groups": chance.integers(200, size=size),
    }


def by_hand(**changes: Any) -> OffPolicy:
    log: dict[str, Any] = {
        "clicks": np.array([1, 0, 1, 0]),
        "propensities": np.array([0.5, 0.5, 0.25, 0.2]),
        "target": np.array([0.25, 0.5, 1.0, 0.0]),
        "model_logged": np.array([0.4, 0.2, 0.5, 0.1]),
        "model_target": np.array([0.3, 0.3, 0.5, 0.1]),
        "groups": np.array([1, 1, 2, 2]),
    }
    return estimates(**(log | changes))


def values(result: OffPolicy) -> dict[str, float]:
    return {name: interval.value for name, interval in result.click_through.items()}


def test_estimates_by_hand() -> None:
    # Weights 0.5, 1, 4, 0.
    result = by_hand()
    assert values(result) == pytest.approx(
        {
            "logged": 0.5,
            "dm": 1.2 / 4,
            "ips": (0.5 + 4) / 4,
            "snips": 4.5 / 5.5,
            "dr": (0.3 + 0.5 * 0.6 + 0.3 - 0.2 + 0.5 + 4 * 0.5 + 0.1) / 4,
        }
    )
    assert result.impressions == 4
    assert result.effective_samples == pytest.approx(5.5**2 / 17.25)
    assert result.mean_weight == pytest.approx(5.5 / 4)
    assert result.clipped_share == 0.0


def test_a_cap_clips_weights_and_says_how_many() -> None:
    result = by_hand(cap=2.0)
    assert values(result)["ips"] == pytest.approx((0.5 + 2) / 4)
    assert values(result)["snips"] == pytest.approx(2.5 / 3.5)
    assert result.clipped_share == 0.25
    assert result.mean_weight == pytest.approx(3.5 / 4)
    assert by_hand(cap=4.0).clipped_share == 0.0


def test_the_logging_policy_itself_is_judged_by_its_own_clicks() -> None:
    propensities = np.array([0.5, 0.5, 0.25, 0.2])
    result = by_hand(target=propensities)
    assert values(result)["ips"] == values(result)["snips"] == values(result)["logged"] == 0.5
    assert result.effective_samples == pytest.approx(4)


def test_a_target_that_shows_nothing_of_the_log_has_no_snips() -> None:
    result = by_hand(target=np.zeros(4))
    assert values(result)["ips"] == 0.0
    assert np.isnan(values(result)["snips"])
    assert values(result)["dr"] == pytest.approx(values(result)["dm"])
    assert (result.effective_samples, result.mean_weight) == (0.0, 0.0)


def means(model: Float64, propensity: Float64 = LOGGING, logs: int = 200) -> dict[str, tuple[float, float]]:
    """Mean and standard error of each estimate over many logs."""
    found = [
        values(estimates(**simulated(seed, model, propensity=propensity), draws=2)) for seed in range(logs)
    ]
    table = {name: np.array([row[name] for row in found]) for name in found[0]}
    return {name: (float(row.mean()), float(row.std() / np.sqrt(logs))) for name, row in table.items()}


def test_with_right_propensities_ips_and_dr_are_unbiased_whatever_the_model() -> None:
    figures = means(WRONG_MODEL)
    for name in ("ips", "dr", "snips"):
        mean, error = figures[name]
        assert abs(mean - TRUTH) < 3 * error, name
        assert error < 0.002
    assert abs(figures["dm"][0] - TRUTH) > 0.1
    assert abs(figures["logged"][0] - float(LOGGING @ CLICK)) < 3 * figures["logged"][1]


def test_with_the_right_model_dr_is_right_although_propensities_are_not() -> None:
    figures = means(CLICK, propensity=np.array([0.3, 0.3, 0.4]))
    assert abs(figures["dr"][0] - TRUTH) < 3 * figures["dr"][1]
    assert abs(figures["ips"][0] - TRUTH) > 20 * figures["ips"][1]


def test_a_good_model_makes_dr_narrower_than_ips() -> None:
    result = estimates(**simulated(0, CLICK, size=20_000))
    width = {name: interval.high - interval.low for name, interval in result.click_through.items()}
    assert width["dr"] < 0.95 * width["ips"]
    assert width["snips"] < width["ips"]


@pytest.mark.parametrize("name", ["ips", "snips", "dr"])
def test_intervals_cover_the_truth_as_often_as_they_say(name: str) -> None:
    covered = 0
    for seed in range(100):
        interval = estimates(**simulated(seed, CLICK), draws=200, seed=seed).click_through[name]
        covered += interval.low <= TRUTH <= interval.high
    assert covered >= 88


def test_effective_samples_count_equal_weights_and_lean_on_large_ones() -> None:
    assert effective_samples(np.full(8, 3.0)) == pytest.approx(8)
    assert effective_samples(np.array([100.0, 0.0, 0.0])) == pytest.approx(1)
    assert effective_samples(np.zeros(3)) == 0.0


def test_doubly_robust_terms_average_to_the_estimate() -> None:
    log = simulated(1, CLICK)
    weights = importance_weights(log["propensities"], log["target"])
    terms = doubly_robust(log["clicks"].astype(float), weights, log["model_logged"], log["model_target"])
    assert terms.mean() == pytest.approx(values(estimates(**log, draws=2))["dr"])


def test_a_hint_without_a_chance_in_the_log_is_an_error_only_if_the_target_shows_it() -> None:
    none = np.array([0.5, 0.5, 0.25, 0.0])
    assert values(by_hand(propensities=none))["ips"] == pytest.approx(4.5 / 4)
    with pytest.raises(TrainingError, match="1 impressions have propensity 0"):
        by_hand(propensities=none, target=np.full(4, 0.1))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"propensities": np.array([0.5, 0.5, 1.5, 0.2])}, "propensity is no probability"),
        ({"target": np.array([0.5, -0.1, 0.5, 0.2])}, "target probability is no probability"),
        ({"target": np.array([0.5, np.nan, 0.5, 0.2])}, "not finite"),
        ({"model_target": np.zeros(3)}, "shapes"),
        ({"cap": 0.0}, "cap of 0.0"),
    ],
)
def test_a_log_that_makes_no_sense_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(TrainingError, match=message):
        by_hand(**changes)


def test_an_empty_log_is_refused() -> None:
    none = np.zeros(0)
    with pytest.raises(TrainingError, match="shapes"):
        estimates(none, none, none, none, none, np.zeros(0, np.int64))
