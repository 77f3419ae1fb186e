"""What people say of decisions, kept as the conflict between the first decision and the second.

After EAFD (arXiv 2603.19267), which names three kinds; ours is how they are told apart, mechanically:

    skipped_action      the first decision lacked checks: these are named
    misweighted_factor  factors spoke for the second verdict and did not count enough: these, heaviest first
    missed_evidence     no factor spoke for it: people know what stands in no evidence; nothing is named

A person who agrees leaves a correction without a conflict: memory needs both sides
(training.think.review.review_memory). They are kept in an append-only file
(training.think.review.answer_log).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import sha256
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict

from streams.query_text import normalise_query
from training.think.points import Text
from training.think.review.decisions import Action, Decision, Key, Verdict

CORRECTIONS: Final = "corrections.jsonl"
HARD: Final = frozenset({"plain_text", "not_denied", "not_personal", "baskets", "households"})

ConflictKind = Literal["skipped_action", "misweighted_factor", "missed_evidence"]
Second = Literal["approve", "reject", "skip"]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Conflict(_Part):
    """Why the first decision fell short. names: of actions or factors; see the module."""

    kind: ConflictKind
    names: tuple[str, ...] = ()


class Correction(_Part):
    """One answer. first, factors (values by name), missing: of the decision that was shown. second: "skip"
    leaves it as it is. edited: the query that takes the place of `query`, which is rejected. id: of its
    content. reviewer: who answered, or what stands in for people."""

    id: str
    trigger: Text
    query: Text
    category: str = ""
    first: Verdict
    second: Second
    reason: str = ""
    edited: Text | None = None
    conflict: Conflict | None = None
    factors: dict[str, float]
    missing: tuple[str, ...] = ()
    reviewer: str
    at_ms: int

    @property
    def key(self) -> Key:
        """Of the decision that it is about."""
        return normalise_query(self.trigger), normalise_query(self.query)


def correct(
    decision: Decision,
    second: Second,
    *,
    reason: str = "",
    edited: str | None = None,
    reviewer: str,
    at_ms: int,
) -> Correction:
    """The correction that an answer makes. Raises ValueError when `forbidden` does not let it pass."""
    obstacle = forbidden(decision.actions) if second == "approve" else ""
    if obstacle:
        raise ValueError(obstacle)
    one = decision.proposal
    seen = "\0".join([one.trigger, one.query, second, edited or "", reviewer, str(at_ms)])
    return Correction(
        id=sha256(seen.encode()).hexdigest()[:12],
        trigger=one.trigger,
        query=one.query,
        category=one.category,
        first=decision.verdict,
        second=second,
        reason=reason,
        edited=edited,
        conflict=conflict_of(decision, second),
        factors={factor.name: factor.value for factor in decision.factors},
        missing=decision.missing,
        reviewer=reviewer,
        at_ms=at_ms,
    )


def forbidden(actions: Iterable[Action]) -> str:
    """Why nobody may approve it, "" if people may: no evidence, no mapping; nothing denied or personal."""
    ran = {action.name: action for action in actions if action.ran}
    failed = [f"{name}: {ran[name].detail}" for name in sorted(HARD) if name in ran and not ran[name].passed]
    absent = sorted({"baskets", "households"} - ran.keys())
    return "; ".join(failed) or (f"not run: {', '.join(absent)}" if absent else "")


def conflict_of(decision: Decision, second: Second) -> Conflict | None:
    """What tells the second decision from the first; None when they agree or nothing was decided."""
    if second in ("skip", decision.verdict):
        return None
    if decision.verdict == "request_information":
        return Conflict(kind="skipped_action", names=decision.missing)
    sign = 1 if second == "approve" else -1
    spoke = [factor for factor in decision.factors if factor.value * sign > 0 and factor.weight]
    if not spoke:
        return Conflict(kind="missed_evidence")
    spoke.sort(key=lambda factor: (-abs(factor.value) * factor.weight, factor.name))
    return Conflict(kind="misweighted_factor", names=tuple(factor.name for factor in spoke))


def latest(corrections: Iterable[Correction]) -> dict[Key, Correction]:
    """The last answer for each decision; a later skip does not undo an answer.

    Who edits a query approves the new one: that is an answer for it as well.
    """
    found: dict[Key, Correction] = {}
    for one in corrections:
        if one.second != "skip" or one.key not in found:
            found[one.key] = one
        if one.edited is not None:
            told = f"in the place of {one.query!r}" + (f": {one.reason}" if one.reason else "")
            of_edit = {"query": one.edited, "second": "approve", "edited": None, "reason": told}
            found[one.key[0], normalise_query(one.edited)] = one.model_copy(update=of_edit)
    return found


def apply(decisions: Sequence[Decision], corrections: Iterable[Correction]) -> list[Decision]:
    """The decisions with people's answers; in order.

    An approval does not pass where `forbidden` now says otherwise (say, the query came on the deny list).
    """
    answers = latest(corrections)
    return [_applied(decision, answers.get(decision.key)) for decision in decisions]


def _applied(decision: Decision, answer: Correction | None) -> Decision:
    if answer is None or answer.second == "skip":
        return decision
    if answer.second == "approve" and (obstacle := forbidden(decision.actions)):
        reason = f"{answer.reviewer} accepted it, but {obstacle}."
        told = decision.reason if reason in decision.reason else f"{decision.reason} {reason}"
        return decision.model_copy(update={"reason": told})
    told = answer.reason or ("accepted" if answer.second == "approve" else "rejected")
    told = f"edited to {answer.edited!r}: {told}" if answer.edited else told
    return decision.model_copy(
        update={
            "verdict": answer.second,
            "by": "person",
            "reason": f"{answer.reviewer}: {told}.",
            "corrections": (answer.id,),
            "at_ms": answer.at_ms,
        }
    )
