"""Earlier answers change similar new cases, and only as far as what was checked allows."""

from __future__ import annotations

from dataclasses import replace

import pytest

from streams.deny_file import terms
from streams.deny_rules import DenyRules
from tests.support import DigestEncoder
from tests.think_values import OtherPeriod, evidence, proposal
from training.think.review.checks import Grounds
from training.think.review.corrections import Correction, Second, correct
from training.think.review.decide import decide_all
from training.think.review.decisions import Decision
from training.think.review.review_memory import MEMORY_RULE, ReviewMemory

GROUNDS = Grounds(results=bool, denied=DenyRules(terms(["beer"])), held_out=OtherPeriod())
BLIND = replace(GROUNDS, held_out=None)
TRIGGERS = ("bread", "eggs", "tea", "honey")


def decided(trigger: str, query: str, grounds: Grounds = GROUNDS, **counts: int) -> Decision:
    one = proposal(trigger, query, category="cereal", evidence=evidence(**counts))
    (decision,) = decide_all([one], grounds, at_ms=1)
    return decision


def answers(
    second: Second, grounds: Grounds = GROUNDS, query: str = "oats", **counts: int
) -> list[Correction]:
    return [
        correct(decided(trigger, query, grounds, **counts), second, reason="taste", reviewer="ann", at_ms=2)
        for trigger in TRIGGERS
    ]


def reviewed(case: Decision, given: list[Correction]) -> Decision:
    (found,) = ReviewMemory(given, DigestEncoder()).review([case])
    return found


CASE = decided("milk", "oats")


def test_similar_rejections_change_a_case_that_rules_approve_and_are_named() -> None:
    given = answers("reject")
    found = reviewed(CASE, given)
    assert (CASE.verdict, found.verdict, found.by) == ("approve", "reject", "rules+corrections")
    assert set(found.corrections) == {one.id for one in given}
    assert "People said reject of 4 of 4 similar cases" in found.reason
    assert "(taste)" in found.reason
    assert found.actions == CASE.actions


def test_similar_approvals_change_a_case_that_rules_reject_by_their_sum() -> None:
    weak = {"grounds": replace(GROUNDS, held_out=OtherPeriod(baskets=6))}
    low = decided("milk", "oats", low=0, similarity=0, **weak)
    assert (low.verdict, [one for one in low.factors if one.decisive and one.value < 0]) == ("reject", [])
    given = answers("approve", low=0, similarity=0, **weak)
    assert reviewed(low, given).verdict == "approve"


@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_few_answers_change_nothing(number: int) -> None:
    assert reviewed(CASE, answers("reject")[:number]) == CASE


def test_answers_that_disagree_change_nothing() -> None:
    assert reviewed(CASE, [*answers("reject")[:2], *answers("approve")[2:]]) == CASE


def test_answers_of_other_things_are_not_similar() -> None:
    far = [one.model_copy(update={"category": "tools"}) for one in answers("reject", query="hammer")]
    assert reviewed(CASE, far) == CASE


def test_skips_are_no_answers() -> None:
    assert reviewed(CASE, answers("skip")) == CASE


def test_a_case_is_not_its_own_example() -> None:
    own = correct(CASE, "reject", reviewer="ann", at_ms=2)
    memory = ReviewMemory([own, *answers("reject")], DigestEncoder())
    (near,) = memory.similar([CASE])
    assert own.id not in {one.correction.id for one in near}
    assert all(MEMORY_RULE.floor <= one.similarity <= 1 for one in near)


def test_approvals_never_bring_back_what_a_check_refused() -> None:
    for refused in (decided("milk", "beer"), decided("milk", "oats", households=1)):
        given = [one.model_copy(update={"query": refused.proposal.query}) for one in answers("approve")]
        assert reviewed(refused, given) == refused
        assert refused.verdict == "reject"


def test_a_case_that_lacks_checks_is_decided_by_answers_that_lacked_them_too() -> None:
    blind = decided("milk", "oats", BLIND)
    assert blind.verdict == "request_information"
    assert reviewed(blind, answers("approve")) == blind  # these people saw what was checked here not
    assert reviewed(blind, answers("approve", BLIND)).verdict == "approve"


def test_a_case_without_evidence_is_never_approved_by_memory() -> None:
    one = proposal("milk", "oats", category="cereal", evidence=None)
    (bare,) = decide_all([one], GROUNDS, at_ms=1)
    given = [answer.model_copy(update={"missing": bare.missing}) for answer in answers("approve")]
    assert reviewed(bare, given) == bare


def test_what_a_person_decided_stays() -> None:
    person = CASE.model_copy(update={"by": "person"})
    assert reviewed(person, answers("reject")) == person
