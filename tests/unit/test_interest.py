from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.session.interest import SHOPPER, VISIT, Interest, InterestPolicy, drift
from agents.session.rules import Rules
from streams.hint_request import Behaviour, to_unit
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
    np.testing.assert_allclose(one.sums, other.sums, rtol=1e-4, atol=1e-5)


@given(behaviours)
def test_rules_add_what_the_interest_adds_bit_for_bit(sequence: list[tuple[str, int, int]]) -> None:
    rules = Rules(ENCODER, "bundle")
    made = [Behaviour(action, NOON_MS + offset_ms, text) for text, action, offset_ms in sequence]
    np.testing.assert_array_equal(rules.of_all(made).sums, folded(sequence).sums)


def test_a_sum_that_has_faded_is_no_interest() -> None:
    sums = np.full((2, 64), 1e-14, np.float32)
    sums[SHOPPER] = 1e-11
    assert not Interest(sums, NOON_MS).unit()[VISIT].any()
    assert Interest(sums, NOON_MS).unit()[SHOPPER].tolist() == [round(127 / 8)] * 64


def test_one_half_life_halves_a_behaviour() -> None:
    interest = Interest.empty(64).add(ENCODER.embed("milk"), 5, NOON_MS, POLICY)
    later = interest.add(np.zeros(64, np.int8), 1, NOON_MS + int(POLICY.visit_half_life_ms), POLICY)
    np.testing.assert_allclose(later.sums[VISIT], interest.sums[VISIT] / 2, rtol=1e-5)
    np.testing.assert_allclose(later.sums[SHOPPER], interest.sums[SHOPPER], rtol=5e-3)


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
