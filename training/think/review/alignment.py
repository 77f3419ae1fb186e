"""How often a review says what its reviewers say, on triggers that it holds no answers for.

    alignment = share of the held-out cases with the reviewer's verdict; request_information is never that

Triggers are drawn by seed into three: MEMORY, whose answers may be remembered; TUNE, which constants are
chosen on; TEST, which is reported. The metric is EAFD's; there, an LLM alone comes to 70.8 %, with actions
and requests for information to 87.5 %, with retrieved corrections to 95.8 % against experts. Ours is against
a reviewer that is SIMULATED (training.think.review.simulated_reviewer): only the differences between rows
speak.

Three periods that do not overlap: proposals are mined before the first, checks count the first (HELD_DAYS
before the training span ends), the reviewer looks at the second (the validation span).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final, Literal, NamedTuple

import numpy as np

from agents.session.step import TextEncoder
from training.datasets.dataset import Dataset
from training.evaluation.bootstrap import Interval, household_bootstrap
from training.progress import Report
from training.think.mining.association import counts_before
from training.think.mining.category_lifts import category_lifts
from training.think.mining.mine import proposals_of
from training.think.mining.occasions import DAY_MS
from training.think.review.corrections import Correction
from training.think.review.decide import decide_all
from training.think.review.decisions import Decision
from training.think.review.review_grounds import counted, grounds_of
from training.think.review.review_memory import MEMORY_RULE, MemoryRule, ReviewMemory
from training.think.review.simulated_reviewer import SimulatedReviewer

HELD_DAYS: Final = 31
MEMORY_SIZES: Final = (100, 500, 2_000)
MEMORY_SHARE: Final = 0.6
TUNE_SHARE: Final = 0.2
STEPS: Final = 4

Part = Literal["memory", "tune", "test"]


class Case(NamedTuple):
    """A decision by rules, and what the reviewer says of it."""

    decision: Decision
    answer: Correction


@dataclass(frozen=True, slots=True)
class Row:
    """One way to review. share: aligned, by trigger resampled, 95 %. wrong: decided otherwise. open: left to
    people. changed: by corrections."""

    name: str
    share: Interval
    wrong: float
    open: float
    changed: int = 0


@dataclass(frozen=True, slots=True)
class Alignment:
    """triggers, cases: of the held-out part. approved: the reviewer's share. reviewer: who that was."""

    reviewer: str
    triggers: int
    cases: int
    approved: float
    rows: tuple[Row, ...]


def alignment(data: Dataset, seed: int, report: Report) -> Alignment:
    """Mine, check and answer by the three periods; then the table of the TEST triggers."""
    return table(simulated_cases(data, seed, report), data.encoder(), seed)


def simulated_cases(data: Dataset, seed: int, report: Report) -> list[Case]:
    """All of them, with the SIMULATED reviewer's answers; `report` is told of steps done, of STEPS."""
    train_ms, end_ms = data.split.train.end_ms, data.split.validate.end_ms
    first_ms = train_ms - HELD_DAYS * DAY_MS
    mined = counts_before(data, first_ms)
    report(1, f"{len(mined.triggers)} triggers counted")
    proposals = list(proposals_of(mined, queries_max=20))
    report(2, f"{len(proposals)} proposals")
    grounds = grounds_of(data, mined_until_ms=first_ms, held_until_ms=train_ms)
    decisions = decide_all(proposals, grounds, at_ms=train_ms)
    report(3, f"{len(decisions)} decisions by rules")
    categories = category_lifts(data.purchases, first_ms)
    reviewer = SimulatedReviewer(counted(data, train_ms, end_ms), categories, seed)
    found = [Case(decision, reviewer.answer(decision, end_ms)) for decision in decisions]
    report(STEPS, f"{len(found)} answers, SIMULATED")
    return found


def table(
    cases: Sequence[Case],
    encoder: TextEncoder,
    seed: int,
    part: Part = "test",
    rule: MemoryRule = MEMORY_RULE,
) -> Alignment:
    """No review memory, rules, and rules with so many remembered answers, on the triggers of one part."""
    remembered = shuffled([case for case in cases if part_of(case, seed) == "memory"], seed)
    judged = [case for case in cases if part_of(case, seed) == part]
    decisions = [case.decision for case in judged]
    floor = best_threshold(remembered)
    rows = [
        _row("no rules: approve all", judged, ["approve"] * len(judged)),
        _row(
            f"no rules: relevance of {floor:.4f} or more",
            judged,
            ["approve" if _relevance(case) >= floor else "reject" for case in judged],
        ),
        _row("rules", judged, [decision.verdict for decision in decisions]),
    ]
    for size in sizes(len(remembered)):
        memory = ReviewMemory([case.answer for case in remembered[:size]], encoder, rule)
        reviewed = memory.review(decisions)
        name = f"rules + {size:,} corrections"
        rows.append(_row(name, judged, [one.verdict for one in reviewed], _changed(reviewed)))
    approved = sum(case.answer.second == "approve" for case in judged) / max(len(judged), 1)
    reviewer = judged[0].answer.reviewer if judged else ""
    return Alignment(reviewer, len({_trigger(case) for case in judged}), len(judged), approved, tuple(rows))


def part_of(case: Case, seed: int) -> Part:
    """Which part its trigger is in."""
    drawn = _drawn(f"part {seed} {_trigger(case)}")
    return "memory" if drawn < MEMORY_SHARE else "tune" if drawn < MEMORY_SHARE + TUNE_SHARE else "test"


def sizes(most: int) -> list[int]:
    """MEMORY_SIZES below `most`, and all."""
    return [size for size in MEMORY_SIZES if size < most] + [most]


def shuffled(cases: Sequence[Case], seed: int) -> list[Case]:
    """In an order drawn by seed: as if people had answered these first."""
    return sorted(cases, key=lambda case: _drawn(f"order {seed} {case.decision.key}"))


def best_threshold(cases: Iterable[Case]) -> float:
    """The relevance from which approving agrees most often with the answers; a generous baseline."""
    ordered = sorted((-_relevance(case), case.answer.second == "approve") for case in cases)
    if not ordered:
        return 0.0
    steps = np.cumsum([1 if approved else -1 for _, approved in ordered])
    best = int(steps.argmax())
    return -ordered[best][0] if steps[best] > 0 else float("inf")


def _row(name: str, cases: Sequence[Case], verdicts: Sequence[str], changed: int = 0) -> Row:
    said = list(zip(verdicts, (case.answer.second for case in cases), strict=True))
    numbers = {trigger: place for place, trigger in enumerate(sorted({_trigger(case) for case in cases}))}
    open_ = [verdict == "request_information" for verdict, _ in said]
    aligned = np.array([verdict == answer for verdict, answer in said], np.float64)
    # Cases of one trigger stand and fall together: triggers are resampled, as households are elsewhere.
    share = household_bootstrap(aligned, np.array([numbers[_trigger(case)] for case in cases], np.int64))
    wrong = [verdict != answer for verdict, answer in said]
    return Row(name, share, _mean(wrong) - _mean(open_), _mean(open_), changed)


def _changed(decisions: Iterable[Decision]) -> int:
    return sum(decision.by == "rules+corrections" for decision in decisions)


def _mean(values: Sequence[bool]) -> float:
    return sum(values) / max(len(values), 1)


def _relevance(case: Case) -> float:
    return case.decision.proposal.relevance


def _trigger(case: Case) -> str:
    return case.decision.key[0]


def _drawn(text: str) -> float:
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest()) / 2**64
