"""Target lists: their blocks in the order that a rule says, worked by hand."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest

from training.sessions import NEXT, REST, Sample
from training.targets import MISSING, POPULARITY_SHARE, Order, TargetRule, sure_items, target_lists

POPULARITY = np.array([1.0, 0.8, 0.6, 0.4, 0.2, 0.1], np.float32)
SAMPLE = Sample(NEXT, 1, 11, 0, (1, 3, 5), (0.0, 2.0, 1.0), frozenset())
STRICT = TargetRule(order_noise=0.0)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def drawn(rule: TargetRule, times: int = 1000, sample: Sample = SAMPLE) -> Counter[tuple[int, ...]]:
    chance = rng()
    return Counter(tuple(sure_items(sample, POPULARITY, rule, chance)) for _ in range(times))


def test_without_noise_the_households_habit_comes_first() -> None:
    assert sure_items(SAMPLE, POPULARITY, STRICT, rng()) == [3, 5, 1]


def test_of_what_the_household_never_bought_the_popular_comes_first() -> None:
    newcomer = replace(SAMPLE, items=(5, 1, 3), habit=(0.0, 0.0, 0.0))
    assert sure_items(newcomer, POPULARITY, STRICT, rng()) == [1, 3, 5]
    # 0.2 · 0.8 of popularity alone, against 0.2 · 0.1 and a little less, then more, than what is missing
    weak = replace(SAMPLE, items=(1, 5), habit=(0.0, POPULARITY_SHARE * 0.8 - 0.2 * 0.1 - 0.001))
    assert sure_items(weak, POPULARITY, STRICT, rng()) == [1, 5]
    strong = replace(weak, habit=(0.0, POPULARITY_SHARE * 0.8 - 0.2 * 0.1 + 0.001))
    assert sure_items(strong, POPULARITY, STRICT, rng()) == [5, 1]


def test_noise_of_scale_one_draws_firsts_in_proportion_to_interest() -> None:
    """Plackett-Luce: Gumbel noise on log interest."""
    counts = drawn(TargetRule(order_noise=1.0), times=4000)
    assert set(counts) == set(permutations((1, 3, 5)))
    interest = {1: 0.16, 3: 2.08, 5: 1.02}
    for item, weight in interest.items():
        share = sum(count for order, count in counts.items() if order[0] == item) / 4000
        assert share == pytest.approx(weight / sum(interest.values()), abs=0.03)


def test_more_noise_prefers_less() -> None:
    firsts = []
    for noise in (0.5, 2.0, 10.0):
        counts = drawn(TargetRule(order_noise=noise))
        firsts.append(sum(count for order, count in counts.items() if order[0] == 3))
    assert firsts[0] > firsts[1] > firsts[2] > 1000 / 3 - 50


def test_a_list_never_holds_more_than_k_hints() -> None:
    assert sure_items(SAMPLE, POPULARITY, replace(STRICT, hints=2), rng()) == [3, 5]
    assert sure_items(SAMPLE, POPULARITY, replace(STRICT, hints=5), rng()) == [3, 5, 1]
    assert {len(order) for order in drawn(TargetRule(hints=2))} == {2}


def test_any_order_knows_no_interest() -> None:
    counts = drawn(TargetRule(order="random"), times=6000)
    assert set(counts) == set(permutations((1, 3, 5)))
    assert all(count == pytest.approx(1000, abs=120) for count in counts.values())
    pairs = drawn(TargetRule(order="random", hints=2), times=6000)
    assert set(pairs) == set(permutations((1, 3, 5), 2))


def test_pair_wise_lists_are_one_query_each_as_likely() -> None:
    counts = drawn(TargetRule(order="single"), times=3000)
    assert set(counts) == {(1,), (3,), (5,)}
    assert all(count == pytest.approx(1000, abs=120) for count in counts.values())


def test_what_was_clicked_comes_before_what_was_bought_and_no_query_twice() -> None:
    assert sure_items(SAMPLE, POPULARITY, STRICT, rng(), [4, 5]) == [4, 5, 3, 1]
    assert sure_items(SAMPLE, POPULARITY, STRICT, rng(), [4, 4]) == [4, 3, 5, 1]
    assert sure_items(SAMPLE, POPULARITY, replace(STRICT, hints=2), rng(), [4]) == [4, 3]


def test_lists_are_padded_and_weigh_less_per_hint_the_larger_the_basket() -> None:
    rest = replace(SAMPLE, task=REST, items=(2, 4), habit=(1.0, 3.0))
    one = replace(SAMPLE, items=(0,), habit=(0.0,))
    rule = TargetRule(hints=4, order_noise=0.0, balance=0.5, rest_weight=2.0)
    made = target_lists([SAMPLE, rest, one], POPULARITY, rule, rng())
    assert made.lists.tolist() == [[3, 5, 1, MISSING], [4, 2, MISSING, MISSING], [0, *[MISSING] * 3]]
    assert made.weights == pytest.approx(
        np.array([[3**-0.5] * 3 + [0], [2 * 2**-0.5] * 2 + [0, 0], [1, 0, 0, 0]])
    )
    assert (made.lists.dtype, made.weights.dtype) == (np.int64, np.float32)


@pytest.mark.parametrize(("balance", "weight"), [(0.0, 1.0), (1.0, 1 / 3), (0.5, 3**-0.5)])
def test_balance_counts_hints_alike_or_baskets(balance: float, weight: float) -> None:
    """Also hints beyond the list's end count: the basket's size is what is balanced."""
    rule = TargetRule(hints=2, order_noise=0.0, balance=balance)
    assert target_lists([SAMPLE], POPULARITY, rule, rng()).weights == pytest.approx(np.array([[weight] * 2]))


def test_generated_queries_fill_the_list_and_weigh_less() -> None:
    rule = TargetRule(hints=6, order_noise=0.0, balance=1.0, filled_weight=0.25)
    made = target_lists([SAMPLE], POPULARITY, rule, rng(), [[4]], [[2, 3, 0, 1]])
    assert made.lists.tolist() == [[4, 3, 5, 1, 2, 0]]
    # The size that is balanced is the basket's alone.
    assert made.weights == pytest.approx(np.array([[1 / 3] * 4 + [1 / 12] * 2]))
    short = target_lists([SAMPLE], POPULARITY, replace(rule, hints=4), rng(), [[]], [[2, 3, 0, 1]])
    assert short.lists.tolist() == [[3, 5, 1, 2]]
    full = target_lists([SAMPLE], POPULARITY, replace(rule, hints=2), rng(), [[]], [[2]])
    assert full.lists.tolist() == [[3, 5]]


def test_blocks_belong_to_their_own_samples() -> None:
    other = replace(SAMPLE, items=(2,), habit=(0.0,))
    made = target_lists(
        [SAMPLE, other], POPULARITY, replace(STRICT, hints=4), rng(), [[], [1]], [[0], [5, 2]]
    )
    assert made.lists.tolist() == [[3, 5, 1, 0], [1, 2, 5, MISSING]]


def test_in_any_order_the_same_queries_keep_their_weights() -> None:
    rule = TargetRule(hints=6, order="random", balance=0.0, filled_weight=0.25)
    orders = set()
    for seed in range(50):
        made = target_lists([SAMPLE], POPULARITY, rule, rng(seed), [[4]], [[2]])
        weight = dict(zip(made.lists[0].tolist(), made.weights[0].tolist(), strict=True))
        assert weight == {1: 1.0, 3: 1.0, 5: 1.0, 4: 1.0, 2: 0.25, MISSING: 0.0}
        assert made.lists[0, -1] == MISSING
        orders.add(tuple(made.lists[0].tolist()))
    assert len(orders) > 30
    assert {order[0] for order in orders} == {1, 2, 3, 4, 5}


@pytest.mark.parametrize("order", ["interest", "random", "single"])
def test_a_basket_without_a_lexicon_query_teaches_nothing(order: Order) -> None:
    nothing = replace(SAMPLE, items=(), habit=())
    made = target_lists([nothing], POPULARITY, TargetRule(hints=3, order=order), rng())
    assert made.lists.tolist() == [[MISSING] * 3]
    assert not made.weights.any()


def test_no_samples_give_no_lists() -> None:
    made = target_lists([], POPULARITY, TargetRule(hints=3), rng())
    assert (made.lists.shape, made.weights.shape) == ((0, 3), (0, 3))


def test_the_same_noise_gives_the_same_lists() -> None:
    many = [SAMPLE] * 20
    first, second, other = (
        target_lists(many, POPULARITY, TargetRule(), rng(seed)).lists for seed in (0, 0, 1)
    )
    assert np.array_equal(first, second)
    assert not np.array_equal(first, other)
