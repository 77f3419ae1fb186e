"""Target lists: the basket in interest order, then what came later."""

import numpy as np
import pytest

from training.sessions import NEXT, Sample
from training.targets import TargetRule, ordered_hints, target_arrays

POPULARITY = np.array([1.0, 0.8, 0.6, 0.4, 0.2, 0.1], np.float32)
SAMPLE = Sample(NEXT, 1, 0, (1, 3, 5), (0.0, 2.0, 1.0), (0, 2), frozenset())


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def test_without_noise_the_household_comes_before_popularity_and_later_baskets_last() -> None:
    assert ordered_hints(SAMPLE, POPULARITY, TargetRule(order_noise=0.0), rng()) == ([3, 5, 1, 0, 2], 3)


def test_noise_prefers_interest_and_allows_every_order() -> None:
    chance = rng()
    drawn = [tuple(ordered_hints(SAMPLE, POPULARITY, TargetRule(), chance)[0][:3]) for _ in range(500)]
    assert len(set(drawn)) == 6
    firsts = [order[0] for order in drawn]
    assert firsts.count(3) > firsts.count(5) > firsts.count(1)


def test_a_list_never_holds_more_than_k_hints() -> None:
    assert ordered_hints(SAMPLE, POPULARITY, TargetRule(hints=2, order_noise=0.0), rng()) == ([3, 5], 2)
    assert ordered_hints(SAMPLE, POPULARITY, TargetRule(hints=4, order_noise=0.0), rng()) == ([3, 5, 1, 0], 3)


def test_nodes_follow_the_paths_and_later_hints_weigh_less() -> None:
    paths = [[10], [11, 12], [13], [14, 15], [16], [17]]
    rule = TargetRule(steps=6, order_noise=0.0, later_weight=0.25, balance=1.0)
    nodes, weights = target_arrays([SAMPLE], paths, POPULARITY, rule, rng())
    assert nodes.tolist() == [[14, 15, 17, 11, 12, 10]]
    assert weights[0] == pytest.approx([1 / 3] * 5 + [0.25])


def test_a_hint_that_no_longer_fits_is_left_out_whole() -> None:
    paths = [[10], [11, 12], [13], [14, 15], [16], [17]]
    nodes, weights = target_arrays([SAMPLE], paths, POPULARITY, TargetRule(steps=4, order_noise=0.0), rng())
    assert nodes.tolist() == [[14, 15, 17, 0]]
    assert weights[0, 3] == 0
