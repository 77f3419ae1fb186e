"""Factors from actions, and a decision from factors, top down.

    displayable   plain_text, not_denied, not_personal, no_steering for instructions      decisive
    answerable    has_results                                                            decisive
    new           not_duplicate                                                          decisive
    supported     baskets, households   clip(log2(low lift) / 2); 0 if seen after only   weight 1, decisive
    holds_up      held_out              clip(log2((seen + 5) / (needed + 5)))            weight 1, decisive
    fits          category              1 if close or the same, else clip(log2(lift) / 2)       weight 1
    steering      no_steering           −1                                               weight 0: told

clip is to −1 … 1; a factor stands only on actions that ran, and is not there when none of them did. A
decisive one is −1 when one of its actions failed, and only then decides alone:

    1. a decisive factor at −1             reject
    2. a required check that was not run   request_information
    3. Σ weight · value ≥ 1                approve, else reject

Required: REQUIRED below. So nothing is approved that nobody counted, whatever a reasoner says of it, and
praise or pressure in a query neither helps nor harms it. The steps are EAFD's (top-down reasoning; do not
decide without a required action); factors, weights and the threshold are ours. The threshold was chosen on
November: against 0 it costs no hit on types new to a household, and drops what hardly goes together.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from math import log2
from typing import Final

from streams.query_text import normalise_query
from training.think.points import Proposal
from training.think.review.checks import Grounds, run_checks
from training.think.review.decisions import Action, Decision, Factor, Verdict
from training.think.review.steering import INSTRUCTION

REQUIRED: Final = frozenset(
    {"has_results", "plain_text", "not_personal", "not_duplicate", "baskets", "households", "held_out"}
)
APPROVE_FROM: Final = 1.0  # of at most 3
GOOD_LOG2_LIFT: Final = 2.0  # four times chance is as good as it gets
PSEUDO_BASKETS: Final = 5.0


def merged(proposals: Iterable[Proposal]) -> list[Proposal]:
    """One proposal for each trigger and query, by trigger, the greatest relevance first, ties by name.

    Of several reasoners the one with the greatest relevance speaks; makers are of all; a missing category,
    evidence or expected click is another's.
    """
    groups: defaultdict[tuple[str, str], list[Proposal]] = defaultdict(list)
    for one in proposals:
        groups[normalise_query(one.trigger), normalise_query(one.query)].append(one)
    found = [_merged(group) for group in groups.values()]
    return sorted(found, key=lambda one: (normalise_query(one.trigger), -one.relevance, one.query))


def decide_all(proposals: Iterable[Proposal], grounds: Grounds, at_ms: int) -> list[Decision]:
    """A decision for each of `merged(proposals)`, in its order. What is rejected shadows no later query."""
    decisions: list[Decision] = []
    better: defaultdict[str, list[str]] = defaultdict(list)
    for proposal in merged(proposals):
        before = better[normalise_query(proposal.trigger)]
        decision = decide(proposal, run_checks(proposal, grounds, before), at_ms)
        decisions.append(decision)
        if decision.verdict != "reject":
            before.append(proposal.query)
    return decisions


def decide(proposal: Proposal, actions: Sequence[Action], at_ms: int) -> Decision:
    """What follows from the actions, by rules alone."""
    factors = factors_of(actions)
    missing = tuple(action.name for action in actions if not action.ran)
    verdict, reason = judge(factors, missing)
    return Decision(
        proposal=proposal,
        verdict=verdict,
        actions=tuple(actions),
        factors=factors,
        missing=missing,
        by="rules",
        reason=reason,
        at_ms=at_ms,
    )


def judge(factors: Sequence[Factor], missing: Collection[str]) -> tuple[Verdict, str]:
    """The verdict, and why in a sentence; see the module."""
    against = decisive_against(factors)
    if against is not None:
        return "reject", f"{against.name}: {against.detail}."
    needed = sorted(REQUIRED.intersection(missing))
    if needed or not factors:
        return "request_information", f"Not run: {', '.join(needed) or 'any check'}."
    total = score_of(factors)
    told = ", ".join(f"{one.name} {one.value:+.2f}" for one in factors if one.weight)
    return ("approve" if total >= APPROVE_FROM else "reject"), f"Factors come to {total:+.2f}: {told}."


def decisive_against(factors: Iterable[Factor]) -> Factor | None:
    """The first factor that alone rejects."""
    return next((factor for factor in factors if factor.decisive and factor.value <= -1), None)


def score_of(factors: Iterable[Factor]) -> float:
    """Σ weight · value."""
    return sum(factor.weight * factor.value for factor in factors)


def factors_of(actions: Sequence[Action]) -> tuple[Factor, ...]:
    """What follows from the actions that ran; see the module."""
    ran = {action.name: action for action in actions if action.ran}
    found = (
        _gate("displayable", _displayable(ran)),
        _gate("answerable", _some(ran, "has_results")),
        _gate("new", _some(ran, "not_duplicate")),
        _supported(_some(ran, "baskets", "households")),
        _holds_up(ran.get("held_out")),
        _fits(ran.get("category")),
        _steering(ran.get("no_steering")),
    )
    return tuple(factor for factor in found if factor is not None)


def _some(ran: dict[str, Action], *names: str) -> list[Action]:
    return [ran[name] for name in names if name in ran]


def _displayable(ran: dict[str, Action]) -> list[Action]:
    instructs = INSTRUCTION in ran["no_steering"].figures if "no_steering" in ran else False
    return _some(ran, "plain_text", "not_denied", "not_personal", *(["no_steering"] if instructs else []))


def _gate(name: str, actions: list[Action]) -> Factor | None:
    if not actions:
        return None
    failed = [action for action in actions if not action.passed]
    return Factor(
        name=name,
        value=-1 if failed else 1,
        weight=0,
        decisive=True,
        actions=tuple(action.name for action in actions),
        detail="; ".join(action.detail for action in failed or actions),
    )


def _supported(actions: list[Action]) -> Factor | None:
    figures = {name: value for action in actions for name, value in action.figures.items()}
    if not figures:
        return None
    if not figures.get("within"):
        return _graded("supported", actions, 0.0, "seen in later baskets")
    low = figures.get("low_lift", 0.0)
    return _graded("supported", actions, _log2(low) / GOOD_LOG2_LIFT, f"{low:.2f} times chance at least")


def _holds_up(action: Action | None) -> Factor | None:
    if action is None:
        return None
    ratio = (action.figures["seen"] + PSEUDO_BASKETS) / (action.figures["needed"] + PSEUDO_BASKETS)
    return _graded("holds_up", [action], _log2(ratio), action.detail)


def _graded(name: str, actions: list[Action], value: float, detail: str) -> Factor:
    """As strong as the figures say if all checks passed, else decisive."""
    failed = [action.detail for action in actions if not action.passed]
    return Factor(
        name=name,
        value=-1.0 if failed else _clipped(value),
        weight=1,
        decisive=bool(failed),
        actions=tuple(action.name for action in actions),
        detail=", ".join(failed) or detail,
    )


def _fits(action: Action | None) -> Factor | None:
    if action is None:
        return None
    value = _log2(action.figures.get("lift", 0.0)) / GOOD_LOG2_LIFT
    if action.passed:
        value = 1.0 if action.figures.get("lift", 0.0) <= 1 else value
    return Factor(name="fits", value=_clipped(value), weight=1, actions=(action.name,), detail=action.detail)


def _steering(action: Action | None) -> Factor | None:
    if action is None or action.passed:
        return None
    return Factor(name="steering", value=-1, weight=0, actions=(action.name,), detail=action.detail)


def _clipped(value: float) -> float:
    return round(min(max(value, -1.0), 1.0), 4)


def _log2(value: float) -> float:
    return log2(value) if value > 0 else -1e9


def _merged(group: list[Proposal]) -> Proposal:
    best = max(group, key=lambda one: (one.relevance, one.makers))
    proved = [one.evidence for one in (best, *group) if one.evidence is not None]
    click = next((one.click for one in proved if one.click is not None), None)
    return best.model_copy(
        update={
            "makers": tuple(sorted({name for one in group for name in one.makers})),
            "category": best.category or next((one.category for one in group if one.category), ""),
            "evidence": proved[0].model_copy(update={"click": click}) if proved else None,
        }
    )
