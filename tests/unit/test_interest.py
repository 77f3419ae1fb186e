from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.session.interest import (
    ACTION_WEIGHTS,
    FULL,
    SHOPPER,
    VISIT,
    Interest,
    InterestPolicy,
    drift,
)
from agents.session.rules import Rules
from streams.hint_request import Behaviour, Int8, to_unit
from tests.support import NOON_MS, DigestEncoder

ENCODER = DigestEncoder()
POLICY = InterestPolicy()
HOUR_MS = 3_600_000

behaviours = st.lists(
    st.tuples(
        st.sampled_from(["milk", "bread", "soda", "wine", "soap"]),
        st.integers(1, 5),
        st.integers(0, 60 * 24 * HOUR_MS),
    ),
    min_size=1,
    max_size=20,
)


def folded(sequence: list[tuple[str, int, int]]) -> Interest:
    interest = Interest.empty(ENCODER.dim)
    for text, action, offset_ms in sequence:
        interest = interest.add(ENCODER.embed(text), action, NOON_MS + offset_ms, POLICY)
    return interest


@given(behaviours, st.randoms(use_true_random=False))
def test_the_sum_does_not_depend_on_the_order_of_arrival(
    sequence: list[tuple[str, int, int]], random: object
) -> None:
    shuffled = list(sequence)
    random.shuffle(shuffled)
    one, other = folded(sequence), folded(shuffled)
    assert one.at_ms == other.at_ms
    assert_same(one, other, len(sequence))


def assert_same(one: Interest, other: Interest, roundings: int) -> None:
    """Each behaviour rounds by half a step."""
    steps = np.maximum(np.max(one.scales), np.max(other.scales))
    np.testing.assert_allclose(one.sums(), other.sums(), atol=2 * roundings * steps)


@given(behaviours)
def test_rules_add_what_the_interest_adds_bit_for_bit(sequence: list[tuple[str, int, int]]) -> None:
    rules = Rules(ENCODER, "bundle")
    made = [Behaviour(action, NOON_MS + offset_ms, text) for text, action, offset_ms in sequence]
    np.testing.assert_array_equal(rules.of_all(made).steps, folded(sequence).steps)
    assert rules.of_all(made)[1:] == folded(sequence)[1:]


@given(behaviours)
def test_sums_are_the_formulas(sequence: list[tuple[str, int, int]]) -> None:
    made = folded(sequence)
    for which, half_life_ms in enumerate((POLICY.visit_half_life_ms, POLICY.shopper_half_life_ms)):
        expected, weight = np.zeros(ENCODER.dim), 0.0
        for text, action, offset_ms in sequence:
            left = ACTION_WEIGHTS[action] * 2 ** ((NOON_MS + offset_ms - made.at_ms) / half_life_ms)
            expected, weight = expected + left * to_unit(ENCODER.embed(text)), weight + left
        np.testing.assert_allclose(made.sums()[which], expected, atol=weight * len(sequence) / FULL)
        assert np.abs(made.steps[which]).max() <= made.bounds[which] <= FULL


def test_what_only_fades_is_not_rounded_away() -> None:
    """A thousand behaviours of one text, minutes apart, leave of an old one what its half-life says."""
    now = Interest.empty(64).add(unit_vector(0), 5, NOON_MS, POLICY)
    for minute in range(0, 10_000, 10):
        now = now.add(unit_vector(1), 5, NOON_MS + minute * 60_000, POLICY)
    left = 2.0 * 2 ** (-(now.at_ms - NOON_MS) / POLICY.shopper_half_life_ms)
    assert now.sums()[SHOPPER, 0] == pytest.approx(left, rel=0.03)
    assert now.sums()[SHOPPER, 1] > 1_900


def test_a_very_long_history_fits() -> None:
    now = Interest.empty(64)
    for _ in range(20_000):
        now = now.add(np.full(64, -128, np.int8), 5, NOON_MS, POLICY)
    assert now.sums()[SHOPPER] == pytest.approx(-40_000 * 128 / 127, rel=0.05)
    assert set(now.unit()[SHOPPER].tolist()) == {round(-127 / 8)}


def unit_vector(axis: int) -> Int8:
    vector = np.zeros(64, np.int8)
    vector[axis] = 127
    return vector


def test_a_behaviour_too_late_to_weigh_anything_changes_nothing() -> None:
    """Nothing is left of its weight, and of the visit there was nothing."""
    milk = ENCODER.embed("milk")
    known = Interest.empty(64).add(milk, 5, NOON_MS, POLICY)
    visitless = known._replace(scales=(0.0, known.scales[SHOPPER]))
    for interest in (known, visitless):
        late = interest.add(milk, 5, NOON_MS - 10_000 * 24 * HOUR_MS, POLICY)
        np.testing.assert_array_equal(late.unit()[SHOPPER], known.unit()[SHOPPER])
    assert not late.unit()[VISIT].any()


@given(behaviours, behaviours)
def test_what_is_taken_away_again_leaves_the_rest(
    kept: list[tuple[str, int, int]], taken: list[tuple[str, int, int]]
) -> None:
    whole = folded([*kept, *taken])
    rest = whole.without(folded(taken), POLICY)
    expected = folded(kept).plus(Interest.empty(ENCODER.dim)._replace(at_ms=rest.at_ms), POLICY)
    length = np.abs(whole.sums()).max(axis=1, keepdims=True)
    assert (np.abs(rest.sums() - expected.sums()) <= 0.02 * length).all()


def test_a_whole_history_taken_away_leaves_no_interest() -> None:
    interest = folded([("milk", 5, 0), ("wine", 3, HOUR_MS)])
    assert not interest.without(interest, POLICY).unit().any()


def test_one_half_life_halves_a_behaviour() -> None:
    interest = Interest.empty(64).add(ENCODER.embed("milk"), 5, NOON_MS, POLICY)
    later = interest.add(np.zeros(64, np.int8), 1, NOON_MS + int(POLICY.visit_half_life_ms), POLICY)
    np.testing.assert_allclose(later.sums()[VISIT], interest.sums()[VISIT] / 2, atol=1e-4)
    np.testing.assert_allclose(later.sums()[SHOPPER], interest.sums()[SHOPPER], atol=3e-3)


def test_the_visit_forgets_what_the_shopper_remembers() -> None:
    sequence = [("milk", 5, 0), ("milk", 5, 1000), ("wine", 3, 24 * HOUR_MS)]
    unit = to_unit(folded(sequence).unit())
    wine = to_unit(ENCODER.embed("wine"))
    assert float(unit[VISIT] @ wine) > 0.95
    assert float(unit[SHOPPER] @ wine) < 0.8


def test_interests_are_unit_vectors_and_zero_before_the_first_behaviour() -> None:
    assert not Interest.empty(64).unit().any()
    norms = np.linalg.norm(to_unit(folded([("milk", 5, 0), ("bread", 1, 5)]).unit()), axis=1)
    np.testing.assert_allclose(norms, 1.0, atol=0.03)


def test_drift_is_zero_for_the_same_interest_and_one_without_a_list() -> None:
    interests = folded([("milk", 5, 0)]).unit()
    assert drift(interests[VISIT], interests[VISIT]) == pytest.approx(0.0, abs=1e-6)
    assert drift(interests[VISIT], np.zeros(64, np.int8)) == 1.0


def test_drift_grows_with_what_is_new() -> None:
    listed = folded([("milk", 5, 0)])
    a_view = listed.add(ENCODER.embed("wine"), 1, NOON_MS + 1000, POLICY)
    a_purchase = listed.add(ENCODER.embed("wine"), 5, NOON_MS + 1000, POLICY)
    small, large = (drift(one.unit()[VISIT], listed.unit()[VISIT]) for one in (a_view, a_purchase))
    assert 0 < small < large < 1
