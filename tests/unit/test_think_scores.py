"""Which pairs count as associated, and how strongly: worked values, floors, and the order of candidates."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.small_log import NO_FLOORS, TACO_NIGHTS, bought
from tests.support import DAY_MS, DigestEncoder
from training.think.mining.association import Association, associations
from training.think.mining.scores import MINING_RULE, MiningRule, shrunk_lift, tie, wilson_low

UNTIL_MS = 30 * DAY_MS
WITHIN = replace(NO_FLOORS, across=0.0, similarity=0.0, half_life_ms=10**18)


def counted(rule: MiningRule, **fields: Any) -> Association:
    return associations(bought(TACO_NIGHTS), UNTIL_MS, rule=rule, **fields)


def score(association: Association, trigger: str, query: str) -> float:
    return float(association.strengths([trigger], [query])[0, 0])


def test_wilsons_lower_bound_matches_its_worked_value_and_grows_with_support() -> None:
    few, many = wilson_low(np.array([3.0, 300.0]), np.array([4.0, 400.0]))
    assert few == pytest.approx(0.3006, abs=1e-4)  # 3 of 4 at 95 %
    assert few < many < 0.75
    assert wilson_low(np.array([0.0]), np.array([9.0])).tolist() == [0.0]


def test_a_tie_with_half_rarity_is_the_shrunk_cosine() -> None:
    low = float(wilson_low(np.array([3.0]), np.array([4.0]))[0])
    found = tie(np.array([[3]]), np.array([[4]]), np.array([16]), rarity=0.5)
    assert found[0, 0] == pytest.approx(low * (4 / 16) ** 0.5)


def test_the_score_of_a_worked_example() -> None:
    low = float(wilson_low(np.array([2.0]), np.array([3.0]))[0])
    within = low * (3 / 4) ** 0.65
    assert score(counted(WITHIN), "taco shells", "salsa") == pytest.approx(within)
    later = float(wilson_low(np.array([1.0]), np.array([2.0]))[0]) * (2 / 2) ** 0.65  # windows: 2 and 2
    both = counted(replace(WITHIN, across=0.5))
    assert score(both, "taco shells", "salsa") == pytest.approx((within + later / 2) / 1.5)


def test_baskets_count_less_as_they_grow_old() -> None:
    aged = counted(replace(WITHIN, half_life_ms=10 * DAY_MS))
    # Both met on days 0 and 1; household 1's last taco shells, on day 20 and without salsa, weigh more.
    assert score(aged, "taco shells", "salsa") < score(counted(WITHIN), "taco shells", "salsa")


def test_texts_that_are_alike_score_higher() -> None:
    rule = replace(WITHIN, similarity=0.5)
    plain, alike = counted(rule), counted(rule, encoder=DigestEncoder())
    encoder = DigestEncoder()
    left, right = (encoder.embed(text).astype(float) for text in ("taco shells", "salsa"))
    cosine = float(left @ right / np.linalg.norm(left) / np.linalg.norm(right))
    ratio = score(alike, "taco shells", "salsa") / score(plain, "taco shells", "salsa")
    assert ratio == pytest.approx(1 + cosine / 2)


def test_scores_stay_within_0_and_1_and_never_lead_to_the_same_text() -> None:
    found = counted(NO_FLOORS, encoder=DigestEncoder())
    assert found.scores.min() >= 0
    assert found.scores.max() <= 1
    for trigger in found.triggers:
        assert trigger not in [one.query for one in found.candidates(trigger)]


@pytest.mark.parametrize(
    "floor",
    [
        {"trigger_baskets_min": 4},
        {"pair_baskets_min": 3},
        {"pair_households_min": 3},
        {"lift_min": 0.5},  # the shrunk lift is 0.21 / (4 / 7)
    ],
)
def test_each_floor_alone_keeps_a_thin_pair_out(floor: dict[str, Any]) -> None:
    assert score(counted(WITHIN), "taco shells", "salsa") > 0
    kept_out = counted(replace(WITHIN, **floor))
    assert score(kept_out, "taco shells", "salsa") == 0
    assert "salsa" not in [one.query for one in kept_out.candidates("taco shells")]


def test_what_follows_later_alone_passes_by_its_own_floors() -> None:
    nights = [(home, day, [text]) for home in range(6) for day, text in ((0, "tea"), (2, "bread"))]
    strangers = [(home, 9.0, ["salsa"]) for home in range(10, 40)]
    strangers += [(home, 12.0, ["Milk"]) for home in range(10, 40)]
    log = bought([*nights, *strangers])
    rule = replace(MINING_RULE, trigger_baskets_min=5, pair_baskets_min=5)
    across = associations(log, UNTIL_MS, rule=rule)
    assert [one.query for one in across.candidates("tea")] == ["bread"]
    assert across.evidence("tea", "bread").baskets == 0
    assert associations(log, UNTIL_MS, rule=replace(rule, across=0.0)).candidates("tea") == []


def test_candidates_stand_by_score_then_support_then_name() -> None:
    twins = [(home, home, ["tea", "bread", "Milk"]) for home in range(3)]
    found = associations(bought(twins), UNTIL_MS, rule=NO_FLOORS)
    assert [one.query for one in found.candidates("TEA")] == ["Milk", "bread"]
    assert [one.query for one in found.candidates("tea", 1)] == ["Milk"]
    assert found.candidates("nobody knows") == []


def test_unknown_texts_have_no_strength() -> None:
    found = counted(NO_FLOORS)
    assert found.strengths(["taco shells", "?"], ["?", "salsa"]).tolist()[1] == [0, 0]
    assert found.shrunk_lifts([], ["salsa"]).shape == (0, 1)
    assert found.shrunk_lifts(["taco shells"], []).shape == (1, 0)


def test_the_shrunk_lift_is_the_low_share_over_chance() -> None:
    low = float(wilson_low(np.array([2.0]), np.array([3.0]))[0])
    assert shrunk_lift(np.array([[2]]), np.array([[3]]), np.array([4 / 7]))[0, 0] == pytest.approx(
        low / (4 / 7)
    )
