"""A person goes through decisions: which are asked, in which order, and what an answer becomes.

No terminal here: a screen shows entries and reads lines (aigq.review_dialogue).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Literal

from streams.query_text import normalise_query
from training.think.points import TEXT_MAX
from training.think.review.checks import run_checks
from training.think.review.corrections import Correction, correct, forbidden, latest
from training.think.review.decisions import Decision
from training.think.review.review_pass import Reviewing, edited

Only = Literal["undecided", "approved", "rejected", "changed", "all"]
ONLY: Final[tuple[Only, ...]] = ("undecided", "approved", "rejected", "changed", "all")
_VERDICTS: Final = {"undecided": "request_information", "approved": "approve", "rejected": "reject"}


def open_cases(decisions: Iterable[Decision], answers: Iterable[Correction], only: Only) -> list[Decision]:
    """What is asked: what nobody has answered, skipped ones last; what most shoppers would see goes first.

    That is relevance times the baskets with the trigger; ties go by name.
    """
    said = latest(answers)
    asked = [one for one in decisions if _wanted(one, only) and _unanswered(said.get(one.key))]
    return sorted(asked, key=lambda one: (one.key in said, -_reach(one), one.key))


def edit_problem(decision: Decision, query: str, have: Reviewing) -> str:
    """Why the query cannot stand in for the decision's own; "" when it can, as far as is known here."""
    normal = normalise_query(query)
    if not normal or len(query) > TEXT_MAX:
        return f"A query has 1 to {TEXT_MAX} characters."
    if normal in decision.key:
        return "That is the query, or the trigger, as it is."
    answer = correct(decision, "reject", edited=query, reviewer="", at_ms=0)
    (proposal,) = edited({decision.key: decision.proposal}, [answer])
    if have.evidence is not None:
        proposal = proposal.model_copy(update={"evidence": have.evidence(proposal.trigger, query)})
        return forbidden(run_checks(proposal, have.grounds))
    actions = run_checks(proposal, have.grounds)
    failed = [action for action in actions if action.ran and not action.passed]
    return forbidden(actions) if any(one.name in ("plain_text", "not_personal") for one in failed) else ""


def _wanted(decision: Decision, only: Only) -> bool:
    if only == "all":
        return True
    if only == "changed":
        return decision.by == "rules+corrections"
    return decision.verdict == _VERDICTS[only]


def _unanswered(answer: Correction | None) -> bool:
    return answer is None or answer.second == "skip"


def _reach(decision: Decision) -> float:
    evidence = decision.proposal.evidence
    return decision.proposal.relevance * (evidence.trigger_baskets if evidence else 0)
