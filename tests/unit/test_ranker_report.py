"""The ranker's figures, worked by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.errors import TrainingError
from training.evaluation.ranker_report import auc, auc_interval, calibration, log_loss, ranker_report


def test_auc_counts_pairs_and_half_of_the_ties() -> None:
    # Clicks 0.8 and 0.4 against 0.4, 0.1, 0.9: 0.8 beats 2 of 3; 0.4 beats 1, ties 1. (2 + 1.5) / 6.
    p = np.array([0.8, 0.4, 0.4, 0.1, 0.9])
    clicked = np.array([1, 1, 0, 0, 0])
    assert auc(p, clicked) == pytest.approx(3.5 / 6)
    assert auc(-p, clicked) == pytest.approx(1 - 3.5 / 6)
    assert auc(np.ones(5), clicked) == 0.5
    assert auc(clicked.astype(float), clicked) == 1.0
    assert math.isnan(auc(p, np.zeros(5)))


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5), st.booleans(), st.integers(0, 3)), min_size=1, max_size=12))
def test_weights_are_so_many_copies(rows: list[tuple[int, bool, int]]) -> None:
    p, clicked, weights = (np.array(column) for column in zip(*rows, strict=True))
    copies = np.repeat(np.arange(len(rows)), weights)
    found = auc(p / 5, clicked, weights.astype(float))
    assert found == pytest.approx(auc(p[copies] / 5, clicked[copies]), nan_ok=True)


def test_the_interval_draws_households_and_holds_the_value() -> None:
    noise = np.random.default_rng(0)
    clicked = (noise.random(600) < 0.3).astype(float)
    p = noise.random(600) + 0.4 * clicked
    households = np.repeat(np.arange(60), 10)
    found = auc_interval(p, clicked, households, draws=200)
    assert found.value == auc(p, clicked)
    assert found.low < found.value < found.high
    assert found == auc_interval(p, clicked, households, draws=200)
    # Ten copies of each household's rows are no more households: the interval stays as wide.
    wide = auc_interval(np.tile(p, 10), np.tile(clicked, 10), np.tile(households, 10), draws=200)
    assert wide == pytest.approx(found)


def test_one_household_has_no_width() -> None:
    found = auc_interval(np.array([0.1, 0.9]), np.array([0.0, 1.0]), np.array([7, 7]), draws=20)
    assert tuple(found) == (1.0, 1.0, 1.0)


def test_log_loss_is_in_nats_and_finite() -> None:
    p, clicks = np.array([0.5, 0.25, 0.25, 0.0]), np.array([1.0, 1.0, 0.0, 1.0])
    expected = [math.log(2), math.log(4), -math.log(0.75), -math.log(1e-7)]
    assert log_loss(p, clicks) == pytest.approx(expected)


def test_calibration_goes_from_the_lowest_tenth_to_the_highest() -> None:
    p = np.linspace(0.0, 0.99, 100)[::-1]
    clicks = (np.arange(100) % 2).astype(float)
    tenths = calibration(p, clicks, np.arange(100), draws=50)
    assert [one["hints"] for one in tenths] == [10] * 10
    assert [one["predicted"] for one in tenths] == pytest.approx(np.arange(10) / 10 + 0.045)
    assert [one["clicked"].value for one in tenths] == pytest.approx([0.5] * 10)
    assert len(calibration(p[:3], clicks[:3], np.arange(3), draws=5)) == 3


def test_the_report_by_hand() -> None:
    # Two levels: twenty hints at 0.1 with one click, ten at 0.5 with six.
    p = np.array([0.1] * 20 + [0.5] * 10)
    clicked = np.array([1] + [0] * 19 + [1] * 6 + [0] * 4)
    report = ranker_report(p, clicked, np.arange(30) % 15, draws=100)
    assert (report["impressions"], report["clicks"]) == (30, 7)
    # Pairs 7 · 23: high clicks beat the 19 low ones and tie 4; the low click ties 19.
    assert report["auc"].value == pytest.approx((6 * (19 + 2) + 9.5) / (7 * 23))
    loss = -(math.log(0.1) + 19 * math.log(0.9) + 10 * math.log(0.5)) / 30
    assert report["log_loss"].value == pytest.approx(loss)
    rate = 7 / 30
    constant = -(7 * math.log(rate) + 23 * math.log(1 - rate)) / 30
    assert report["constant_log_loss"] == pytest.approx(constant)
    gaps = [abs(one["predicted"] - one["clicked"].value) for one in report["calibration"]]
    assert report["ece"] == pytest.approx(sum(gaps) / 10)


@pytest.mark.parametrize("clicked", [[0, 0], [1, 1], []])
def test_one_kind_of_hint_is_no_measure(clicked: list[int]) -> None:
    with pytest.raises(TrainingError, match="only one kind"):
        ranker_report(np.full(len(clicked), 0.5), np.array(clicked), np.arange(len(clicked)))
