"""What the review approved becomes a version: ranked inside each trigger, named by its content."""

from __future__ import annotations

from datetime import date
from hashlib import sha256
from pathlib import Path

import orjson
import pytest

from agents.think.mapping_files import read_mapping
from agents.think.version_folder import name_current, read_current, read_manifest
from streams.errors import DatasetError, MappingError
from tests.think_values import build, decision, evidence, proposal, work_of
from training.think.review.decisions import DECISIONS
from training.think.versions.build_version import best_alpha, popular_of, read_reviewed
from training.think.versions.rank_entries import Signals, efficiency, rank, signals
from training.think.versions.served import read_served


def test_the_business_signals_are_shares_of_baskets_and_the_clicks() -> None:
    assert signals(evidence()) == Signals(support=0.2, popularity=0.05, click=0.1)
    assert signals(evidence(trigger_baskets=0, all_baskets=0, click=None)) == Signals(20.0, 50.0, None)


def test_efficiency_is_the_mean_of_the_signals_over_the_greatest_of_the_trigger() -> None:
    rows = [Signals(0.2, 0.05, 0.1), Signals(0.1, 0.05, None), Signals(0.0, 0.01, 0.2)]
    first, second, third = efficiency(rows)
    assert first == pytest.approx((1 + 1 + 0.5) / 3)
    assert second == pytest.approx((0.5 + 1) / 2)  # nobody knows its clicks
    assert third == pytest.approx((0 + 0.2 + 1) / 3)
    assert efficiency([Signals(0.0, 0.0, None)]) == [0.0]
    assert efficiency([]) == []


def test_the_order_inside_a_trigger_goes_from_relevance_to_business_as_alpha_falls() -> None:
    fitting = proposal("Milk", "oats", 0.4, evidence=evidence(query_baskets=50))
    popular = proposal("milk", "bananas", 0.1, evidence=evidence(query_baskets=500, baskets=40, click=0.2))
    orders = {}
    for alpha in (0.0, 0.8, 1.0):
        (one,) = rank([popular, fitting], alpha=alpha, queries_max=10)
        orders[alpha] = [entry.proposal.query for entry in one.entries]
    assert orders == {0.0: ["bananas", "oats"], 0.8: ["oats", "bananas"], 1.0: ["oats", "bananas"]}
    (one,) = rank([popular, fitting], alpha=0.8, queries_max=10)
    assert one.entries[0].score == pytest.approx(0.8 * 1 + 0.2 * (0.5 + 0.1 + 0.5) / 3)


def test_of_one_query_the_strongest_proposal_counts_and_all_makers_are_named() -> None:
    both = [proposal("milk", "Oats", 0.2), proposal("MILK", "oats", 0.6, makers=("network", "url"))]
    (one,) = rank(both, alpha=0.5, queries_max=10)
    (entry,) = one.entries
    assert (entry.proposal.relevance, entry.makers) == (0.6, ("association", "network", "url"))


def test_a_trigger_is_what_is_most_specific_and_leads_neither_to_itself_nor_to_the_unproved() -> None:
    found = rank(
        [
            proposal("cheese", "crackers", kind="category"),
            proposal("Cheese", "wine", kind="item"),
            proposal("cheese", "CHEESE"),
            proposal("cheese", "caviar", evidence=None),
            proposal("caviar", "wine", evidence=None),
        ],
        alpha=0.5,
        queries_max=10,
    )
    assert [(one.trigger, one.kind) for one in found] == [("cheese", "item")]
    assert {entry.proposal.query for entry in found[0].entries} == {"crackers", "wine"}


def test_lists_are_cut() -> None:
    many = [proposal("milk", f"query {number}", number / 100) for number in range(30)]
    (one,) = rank(many, alpha=1.0, queries_max=4)
    assert [entry.proposal.query for entry in one.entries] == [
        f"query {number}" for number in (29, 28, 27, 26)
    ]


def test_alpha_is_the_greatest_of_those_that_meet_about_the_most() -> None:
    met = {0.2: 0.150, 0.4: 0.1605, 0.5: 0.1600, 0.6: 0.1596, 0.7: 0.1590}
    assert best_alpha(met) == 0.6


def test_only_what_is_approved_and_proved_is_built(tmp_path: Path) -> None:
    work = work_of(
        tmp_path / "work",
        decision(proposal("milk", "oats", 0.9)),
        decision(proposal("milk", "spoiled"), "reject"),
        decision(proposal("milk", "unsure"), "request_information"),
        decision(proposal("milk", "rumour", evidence=None)),
    )
    version = build(work, tmp_path / "root")
    mapping = read_mapping(tmp_path / "root", read_manifest(tmp_path / "root", version))
    (entry,) = mapping.entries()
    assert [(one.query, one.support, one.lift, one.category) for one in entry.queries] == [
        ("oats", 20, 4.0, "food")
    ]
    (line,) = read_served(tmp_path / "root", version)
    assert (line.trigger, line.query, line.evidence, line.review.reason) == (
        "milk",
        "oats",
        evidence(),
        "Enough.",
    )
    manifest = orjson.loads((tmp_path / "root" / version / "manifest.json").read_bytes())
    assert manifest["review"] == {
        "verdicts": {"approve": 2, "reject": 1, "request_information": 1},
        "approved_by": {"rules": 1},
        "approved_without_evidence": 1,
    }
    assert manifest["counts"] == {
        "triggers": {"item": 1}, "entries": 1, "queries": 1, "makers": {"association": 1}
    }  # fmt: skip
    assert manifest["inputs"][DECISIONS]["sha256"] == sha256((work / DECISIONS).read_bytes()).hexdigest()


def test_of_several_decisions_on_one_entry_the_last_counts(tmp_path: Path) -> None:
    one = proposal("milk", "oats")
    work = work_of(tmp_path, decision(one), decision(one, "reject"), decision(proposal("Milk", "OATS")))
    reviewed = read_reviewed(work)
    assert dict(reviewed.verdicts) == {"approve": 1}
    assert [found.query for found in reviewed.proposals] == ["OATS"]


def test_the_same_input_gives_the_same_version_and_nothing_is_served_by_it(tmp_path: Path) -> None:
    work = work_of(tmp_path / "work", decision(proposal("milk", "oats")))
    root = tmp_path / "root"
    first = build(work, root)
    assert build(work, root, created=date(2027, 1, 1)) == first
    assert build(work, root, alpha=0.4) == first  # one entry: whatever α, it is the best of its trigger
    assert not (root / "current.json").exists()
    assert build(work, root, current=True) == first
    assert read_current(root) == first
    assert [path.name for path in root.iterdir() if path.is_dir()] == [first]


def test_nothing_approved_is_no_version(tmp_path: Path) -> None:
    work = work_of(tmp_path / "work", decision(proposal("milk", "oats"), "reject"))
    with pytest.raises(MappingError, match="No version was written"):
        build(work, tmp_path / "root")
    with pytest.raises(DatasetError, match="decisions"):
        build(tmp_path / "nowhere", tmp_path / "root")
    assert not (tmp_path / "root").exists()


def test_without_a_data_set_the_popular_list_is_what_most_baskets_hold() -> None:
    found = popular_of(
        [
            proposal("milk", "oats", evidence=evidence(query_baskets=300)),
            proposal("eggs", "bacon", evidence=evidence(query_baskets=400)),
            proposal("eggs", "oats", evidence=evidence(query_baskets=300)),
        ]
    )
    assert found == [{"query": "bacon", "score": 0.4}, {"query": "oats", "score": 0.3}]


def test_current_json_names_only_what_is_there(tmp_path: Path) -> None:
    version = build(work_of(tmp_path / "work", decision(proposal("milk", "oats"))), tmp_path / "root")
    assert not name_current(tmp_path / "root", "another")
    assert name_current(tmp_path / "root", version)
    assert read_current(tmp_path / "root") == version
