"""What is bought together becomes trigger -> queries: the maths by hand, the floors, the version folder."""

from __future__ import annotations

from datetime import date
from hashlib import sha256
from math import sqrt
from pathlib import Path

import numpy as np
import orjson
import pytest

from training.datasets.complete_journey import load_phrases
from training.think.judge import judge_mapping
from training.think.mapping_version import Mapping, PopularQuery, ThinkQuery, write_mapping_version
from training.think.mine import (
    MiningSettings,
    count_pairs,
    lift,
    mine_mapping,
    popular_queries,
    shrunk_cosine,
    wilson_lower_bound,
)

NAMES = ["bread", "salsa", "taco shells"]
# Two households, eight baskets: taco shells stand in 4, salsa in 4 (3 of them with shells), bread in 3.
HOUSEHOLDS = [1, 1, 1, 1, 2, 2, 2, 2]
BASKETS = [[1, 2], [1, 2], [2], [0], [1, 2], [1], [0], [0]]
COUNTS = count_pairs(HOUSEHOLDS, BASKETS, len(NAMES))
NO_FLOORS = MiningSettings(
    trigger_baskets_min=1, pair_baskets_min=1, pair_households_min=1, lift_min=0.0, queries_max=10
)
COMMITTED = Path(__file__).parents[2] / "exported_models" / "think-complete-journey"


def test_pairs_are_counted_in_baskets_and_in_households() -> None:
    assert (COUNTS.baskets, COUNTS.households) == (8, 2)
    assert COUNTS.pair_baskets.tolist() == [[3, 0, 0], [0, 4, 3], [0, 3, 4]]
    assert COUNTS.pair_households.tolist() == [[2, 0, 0], [0, 2, 2], [0, 2, 2]]


def test_lift_is_the_share_among_the_triggers_baskets_over_the_share_among_all() -> None:
    assert lift(COUNTS)[2, 1] == pytest.approx((3 / 4) / (4 / 8))
    assert lift(COUNTS)[0, 1] == 0.0


def test_wilsons_lower_bound_matches_its_worked_value_and_grows_with_support() -> None:
    few, many = wilson_lower_bound(np.array([3.0, 300.0]), np.array([4.0, 400.0]))
    assert few == pytest.approx(0.3006, abs=1e-4)  # 3 of 4 at 95 %
    assert few < many < 0.75
    assert wilson_lower_bound(np.array([0.0]), np.array([9.0])).tolist() == [0.0]


def test_the_score_is_the_cosine_with_a_shrunk_share() -> None:
    low = float(wilson_lower_bound(np.array([3.0]), np.array([4.0]))[0])
    assert shrunk_cosine(COUNTS)[2, 1] == pytest.approx(low * sqrt(4 / 4))


def test_a_trigger_leads_to_what_it_is_bought_with_and_never_to_itself() -> None:
    mapping = mine_mapping(NAMES, COUNTS, NO_FLOORS)
    assert {trigger: [found["query"] for found in queries] for trigger, queries in mapping.items()} == {
        "salsa": ["taco shells"],
        "taco shells": ["salsa"],
    }
    assert mapping["salsa"][0] == ThinkQuery(query="taco shells", score=0.301, support=3, lift=1.5)


@pytest.mark.parametrize(
    "floor",
    [
        {"trigger_baskets_min": 5},
        {"pair_baskets_min": 4},
        {"pair_households_min": 3},
        {"lift_min": 1.0},  # the shrunk lift is 0.30 / 0.5
    ],
)
def test_each_floor_alone_keeps_a_thin_pair_out(floor: dict[str, int]) -> None:
    settings = {**{name: getattr(NO_FLOORS, name) for name in NO_FLOORS.__slots__}, **floor}
    assert mine_mapping(NAMES, COUNTS, MiningSettings(**settings)) == {}


def test_equal_scores_are_ordered_by_name_and_cut_to_the_wanted_number() -> None:
    counts = count_pairs([1, 2], [[0, 1, 2], [0, 1, 2]], 3)
    settings = MiningSettings(
        trigger_baskets_min=1, pair_baskets_min=1, pair_households_min=1, lift_min=0.0, queries_max=1
    )
    mapping = mine_mapping(["b", "a", "c"], counts, settings)
    assert {trigger: queries[0]["query"] for trigger, queries in mapping.items()} == {
        "a": "b",
        "b": "a",
        "c": "a",
    }


def test_popular_means_bought_by_most_households() -> None:
    counts = count_pairs([1, 1, 1, 2], [[0], [0], [0, 1], [1]], 2)
    assert popular_queries(["often", "widely"], counts, MiningSettings(popular_max=1)) == [
        PopularQuery(query="widely", score=1.0)
    ]


def test_a_judged_mapping_counts_hits_in_the_rest_of_the_basket() -> None:
    basket = ["bread", "milk", "salsa", "taco shells"]
    everything: Mapping = {
        trigger: [
            ThinkQuery(query=name, score=1.0, support=1, lift=1.0) for name in basket if name != trigger
        ]
        for trigger in basket
    }
    judged = judge_mapping(everything, [basket, basket[:3]], seed=0)
    assert (judged.baskets, judged.recall_at_10, judged.any_hit, judged.covered) == (1, 1.0, 1.0, 1.0)
    assert judge_mapping({}, [basket], seed=0).recall_at_10 == 0.0


def write(root: Path, score: float = 0.5, created: date = date(2024, 1, 1)) -> str:
    found = ThinkQuery(query="salsa", score=score, support=3, lift=1.5)
    return write_mapping_version(
        root,
        mapping={"taco shells": [found]},
        popular=[PopularQuery(query="milk", score=0.9)],
        created=created,
        provenance={"source": {}, "command": "", "settings": {}, "metrics": {}},
    )


def test_a_version_is_named_by_its_content_and_not_by_its_date(tmp_path: Path) -> None:
    first = write(tmp_path)
    assert write(tmp_path, created=date(2025, 1, 1)) == first
    assert write(tmp_path, score=0.6) != first


def test_a_new_version_moves_the_pointer_and_keeps_the_old_folder(tmp_path: Path) -> None:
    old, new = write(tmp_path), write(tmp_path, score=0.6)
    assert orjson.loads((tmp_path / "current.json").read_bytes()) == {"version": new}
    assert (tmp_path / old / "mapping.jsonl").is_file()
    assert list(tmp_path.rglob("*.part")) == []


def test_the_committed_version_is_whole_small_and_made_of_our_phrases() -> None:
    version = orjson.loads((COMMITTED / "current.json").read_bytes())["version"]
    manifest = orjson.loads((COMMITTED / version / "manifest.json").read_bytes())
    for name, told in manifest["files"].items():
        data = (COMMITTED / version / name).read_bytes()
        assert (len(data), sha256(data).hexdigest()) == (told["bytes"], told["sha256"])
        assert len(data) < 500_000
    phrases = set(load_phrases()["phrase"])
    entries = [
        orjson.loads(line) for line in (COMMITTED / version / "mapping.jsonl").read_bytes().splitlines()
    ]
    assert len(entries) == manifest["files"]["mapping.jsonl"]["count"]
    for entry in entries:
        queries = [found["query"] for found in entry["queries"]]
        assert entry["trigger"] not in queries
        assert 1 <= len(queries) == len(set(queries)) <= 10
        assert phrases.issuperset([entry["trigger"], *queries])
