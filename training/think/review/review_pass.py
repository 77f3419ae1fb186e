"""`aigq think review`: proposals in, decisions out; what people said stays said.

    WORK/proposals-*.jsonl ──merged──► checks ──► rules ──► memory of corrections ──► people's answers
        ──► WORK/decisions.jsonl

decisions.jsonl is made anew from these files each time; corrections.jsonl alone holds what cannot be made
again, and is never rewritten.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from agents.session.step import TextEncoder
from streams.errors import DatasetError
from training.think.points import Evidence, Proposal, read_lines, write_lines
from training.think.review.checks import Grounds, run_checks
from training.think.review.corrections import Correction, apply, latest
from training.think.review.decide import decide, decide_all, merged
from training.think.review.decisions import DECISIONS, Decision, Key, key_of
from training.think.review.review_memory import ReviewMemory

PROPOSALS: Final = "proposals-*.jsonl"
PERSON: Final = "person"

CountPair = Callable[[str, str], Evidence]


@dataclass(frozen=True, slots=True)
class Reviewing:
    """What a review has at hand. evidence: counts a pair where it was mined. encoder: for the memory."""

    grounds: Grounds = field(default_factory=Grounds)
    evidence: CountPair | None = None
    encoder: TextEncoder | None = None


def proposals_in(work: Path) -> list[Proposal]:
    """Of all reasoners. Raises DatasetError when there are none, or a line is none."""
    paths = sorted(work.glob(PROPOSALS))
    if not paths:
        raise DatasetError(
            f"{work} holds no {PROPOSALS}.", action=f"Mine some: aigq think mine --data DATA --out {work}"
        )
    return [proposal for path in paths for proposal in read_lines(path, Proposal)]


def reviewed(
    proposals: Iterable[Proposal], answers: Sequence[Correction], have: Reviewing, at_ms: int
) -> list[Decision]:
    """The machine's decisions on all proposals and on people's edits, changed by memory, then by answers."""
    proposals = merged(proposals)
    known = {key_of(one): one for one in proposals}
    counted = [_with_evidence(one, have) for one in merged([*proposals, *edited(known, answers)])]
    decisions = decide_all(counted, have.grounds, at_ms)
    if have.encoder is not None:
        decisions = ReviewMemory(answers, have.encoder).review(decisions)
    return apply(decisions, answers)


def answered(
    decisions: Sequence[Decision], answers: Sequence[Correction], have: Reviewing, at_ms: int
) -> list[Decision]:
    """The decisions with people's answers, and decisions on what they edited; in order, edits after all."""
    known = {decision.key: decision.proposal for decision in decisions}
    new = (_with_evidence(one, have) for one in edited(known, answers) if key_of(one) not in known)
    added = [decide(one, run_checks(one, have.grounds), at_ms) for one in new]
    return apply([*decisions, *added], answers)


def edited(known: dict[Key, Proposal], answers: Iterable[Correction]) -> Iterator[Proposal]:
    """A proposal for each query that a person wrote in the place of another's; without evidence."""
    for answer in latest(answers).values():
        first = known.get(answer.key)
        if answer.edited is None or first is None:
            continue
        yield first.model_copy(
            update={
                "query": answer.edited,
                "category": "",
                "makers": (PERSON,),
                "rationale": "",
                "evidence": None,
            }
        )


def read_decisions(work: Path) -> list[Decision]:
    """What the last review wrote; [] before the first. Raises DatasetError."""
    path = work / DECISIONS
    return list(read_lines(path, Decision)) if path.exists() else []


def undecided(proposals: Iterable[Proposal], decisions: Iterable[Decision]) -> int:
    """How many of the proposals no review has looked at yet."""
    return len({key_of(one) for one in proposals} - {decision.key for decision in decisions})


def write_decisions(work: Path, decisions: Iterable[Decision]) -> None:
    """In one step."""
    write_lines(work / DECISIONS, decisions)


def summary(decisions: Sequence[Decision]) -> dict[str, Any]:
    """Counts for people and manifests: by verdict, by decider, and checks that were not run."""
    missing = Counter(name for decision in decisions for name in decision.missing)
    return {
        "decisions": len(decisions),
        "triggers": len({decision.key[0] for decision in decisions}),
        "verdicts": dict(Counter(decision.verdict for decision in decisions)),
        "by": dict(Counter(decision.by for decision in decisions)),
        "missing": dict(missing),
    }


def _with_evidence(proposal: Proposal, have: Reviewing) -> Proposal:
    """Counted here: what a maker counted itself is not believed, but for the click ranker's figure."""
    if have.evidence is None:
        return proposal
    categories = have.grounds.categories
    click = proposal.evidence.click if proposal.evidence else None
    counted = have.evidence(proposal.trigger, proposal.query)
    return proposal.model_copy(
        update={
            "evidence": counted.model_copy(update={"click": click}),
            "category": (categories.category(proposal.query) if categories else "") or proposal.category,
        }
    )
