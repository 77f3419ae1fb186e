"""Alignment with a SIMULATED reviewer: parts that never mix, figures by hand, and the command."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from aigq import think_review_commands
from streams.deny_file import terms
from streams.deny_rules import DenyRules
from tests.support import DigestEncoder
from tests.think_values import OtherPeriod, proposal
from training.think.mining.category_lifts import CategoryLifts
from training.think.review.alignment import Case, best_threshold, part_of, sizes, table
from training.think.review.checks import Grounds
from training.think.review.corrections import Second, correct
from training.think.review.decide import decide_all
from training.think.review.decisions import Decision
from training.think.review.simulated_reviewer import REVIEWER, SimulatedReviewer

GROUNDS = Grounds(results=lambda query: query != "unknown thing", held_out=OtherPeriod())
SEED = 3


def decided(trigger: str, query: str, relevance: float = 0.5, grounds: Grounds = GROUNDS) -> Decision:
    (decision,) = decide_all([proposal(trigger, query, relevance, category="cereal")], grounds, at_ms=1)
    return decision


def case(decision: Decision, second: Second) -> Case:
    return Case(decision, correct(decision, second, reason="taste", reviewer=REVIEWER, at_ms=2))


def test_each_trigger_is_in_one_part_whatever_its_writing() -> None:
    parts = {part_of(case(decided(f"trigger {place}", "oats"), "reject"), SEED) for place in range(40)}
    assert parts == {"memory", "tune", "test"}
    for place in range(40):
        one, other = (case(decided(f"{word} {place}", "oats"), "reject") for word in ("Trigger", "trigger"))
        assert part_of(one, SEED) == part_of(other, SEED)


def test_a_table_by_hand() -> None:
    # Rules approve all; the reviewer refuses every query but "honey". What lacks a check stays open.
    blind = replace(GROUNDS, held_out=None)
    cases = []
    for place in range(60):
        cases.append(case(decided(f"trigger {place}", "oats", 0.2), "reject"))
        cases.append(case(decided(f"trigger {place}", "honey", 0.9), "approve"))
        cases.append(case(decided(f"trigger {place}", "cocoa", 0.5, blind), "reject"))
    found = table(cases, DigestEncoder(), SEED)
    everything, by_relevance, rules, *_, remembered = found.rows
    triggers = sum(part_of(one, SEED) == "test" for one in cases[::3])
    assert (found.triggers, found.cases) == (triggers, 3 * triggers)
    assert found.approved == pytest.approx(1 / 3)
    assert everything.share.value == pytest.approx(1 / 3)
    assert by_relevance.share.value == 1.0  # 0.9 parts them, as it happens
    assert (rules.share.value, rules.wrong, rules.open) == pytest.approx((1 / 3, 1 / 3, 1 / 3))
    assert (remembered.share.value, remembered.open) == (1.0, 0.0)
    assert remembered.changed == 2 * triggers


def test_the_best_threshold_agrees_most_often() -> None:
    cases = [
        case(decided("a", f"q{place}", place / 10), "approve" if place > 5 else "reject")
        for place in range(9)
    ]
    assert best_threshold(cases) == 0.6
    assert best_threshold([case(decided("a", "q"), "reject")]) == float("inf")
    assert best_threshold([]) == 0.0


def test_memory_grows_in_steps_up_to_all() -> None:
    assert sizes(50) == [50]
    assert sizes(700) == [100, 500, 700]


def test_the_reviewer_is_the_same_for_the_same_seed_and_says_that_it_is_simulated() -> None:
    cases = [decided("milk", f"query {place}") for place in range(30)]
    reviewers = [SimulatedReviewer(OtherPeriod(), CategoryLifts.empty(), seed) for seed in (9, 9, 8)]
    first, same, other = ([reviewer.answer(one, 4) for one in cases] for reviewer in reviewers)
    assert first == same != other
    assert {answer.reviewer for answer in first} == {"SIMULATED reviewer"}


def test_the_reviewer_goes_by_a_later_period_its_taste_and_slips() -> None:
    plain = SimulatedReviewer(OtherPeriod(), CategoryLifts.empty(), dislikes=0, pair_dislikes=0, slips=0)
    decision = decided("milk", "oats")
    assert plain.answer(decision, 4).second == "approve"
    assert replace(plain, later=OtherPeriod(baskets=5)).answer(decision, 4).second == "reject"
    assert replace(plain, dislikes=1).answer(decision, 4).reason == "no hints to cereal"
    assert replace(plain, slips=1).answer(decision, 4).second == "reject"
    banned = decided("milk", "oats", grounds=replace(GROUNDS, denied=DenyRules(terms(["oats"]))))
    assert plain.answer(banned, 4).second == "reject"


def test_the_command_prints_a_table_that_says_no_person_took_part(tmp_path: Path) -> None:
    from tests.themed_shop import themed_dataset

    data = themed_dataset(tmp_path)
    app = typer.Typer()
    app.command("version")(lambda: None)
    think_review_commands.register(app)
    arguments = ["review", "--alignment", "--data", str(data.folder)]
    shown = CliRunner().invoke(app, arguments)
    assert shown.exit_code == 0, shown.output
    assert "No person took part" in shown.output
    told = json.loads(CliRunner().invoke(app, [*arguments, "--json"]).stdout)
    assert told["reviewer"] == "SIMULATED reviewer"
    assert [row["name"] for row in told["rows"]][2] == "rules"
