"""`aigq think mine`: a data set's training span becomes histories, reference points and first proposals.

    WORK/proposals-association.jsonl   Proposal: what counts speak for at each trigger, with Evidence
    WORK/histories.jsonl               History: a sample of what shoppers did before they came again
    WORK/reference.jsonl               Reasoned: the reference points of these histories, in the same order

Everything is counted before the training span ends: what November and December hold is for judging.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from training.datasets.dataset import Dataset
from training.progress import Report
from training.think.mining.association import Association, training_counts
from training.think.mining.facts import FactBook, rationale_of
from training.think.mining.histories import cases, rare_texts
from training.think.mining.reference import reference_points
from training.think.mining.scores import MINING_RULE, MiningRule
from training.think.points import Proposal, Reasoned, write_lines

if TYPE_CHECKING:
    from training.ranker import ClickRanker

MAKER: Final = "association"
PROPOSALS: Final = "proposals-association.jsonl"
HISTORIES: Final = "histories.jsonl"
REFERENCE: Final = "reference.jsonl"
REPORT_EVERY: Final = 500
STEPS: Final = 5


@dataclass(frozen=True, slots=True)
class MiningPlan:
    """queries_max: proposals per trigger. histories, seed: the sample."""

    rule: MiningRule = MINING_RULE
    queries_max: int = 20
    histories: int = 20_000
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Mined:
    """What was written. clicks: proposals with an expected click rate; points: of the reference, in all.
    left_out: texts of fewer people than the data set's k-anonymity asks for."""

    baskets: int
    triggers: int
    proposals: int
    clicks: int
    histories: int
    points: int
    left_out: int = 0


def mine(
    data: Dataset, work: Path, plan: MiningPlan, report: Report, *, ranker: ClickRanker | None = None
) -> Mined:
    """Write the three files, each in one step; `report` is told which of STEPS steps are done."""
    work.mkdir(parents=True, exist_ok=True)
    association = training_counts(data, plan.rule)
    pairs = pairs_of(association, plan.queries_max)
    report(1, f"{len(pairs)} pairs out of {association.log.baskets} baskets")
    if ranker is not None:
        from training.think.mining.clicks import mean_clicks

        association = replace(association, clicks=mean_clicks(ranker, data, pairs, seed=plan.seed))
    report(2, f"{len(association.clicks)} expected click rates")
    proposals = write_lines(work / PROPOSALS, proposals_of(association, plan.queries_max))
    report(3, f"{proposals} proposals with evidence")
    sample = cases(data, "train", plan.histories, plan.seed, days=plan.rule.days)
    histories = write_lines(work / HISTORIES, (case.history for case in sample))
    report(4, f"{histories} histories")
    reference = list(_told(reference_points(sample, association), len(sample), report))
    write_lines(work / REFERENCE, reference)
    points = sum(len(answer.points) for answer in reference)
    report(STEPS, f"{points} interest points")
    return Mined(
        baskets=association.log.baskets,
        triggers=len(association.triggers),
        proposals=proposals,
        clicks=len(association.clicks),
        histories=histories,
        points=points,
        left_out=len(rare_texts(data)),
    )


def pairs_of(association: Association, queries_max: int) -> list[tuple[str, str]]:
    """Each trigger with its best queries; triggers by name."""
    return [
        (trigger, found.query)
        for trigger in association.triggers
        for found in association.candidates(trigger, queries_max)
    ]


def proposals_of(association: Association, queries_max: int) -> Iterator[Proposal]:
    """The pairs of `pairs_of` with evidence, and with a rationale of its facts; relevance is the score."""
    book = FactBook(association)
    for trigger in association.triggers:
        for query, score in association.candidates(trigger, queries_max):
            yield Proposal(
                trigger=trigger,
                kind=association.kind(trigger) or "item",
                query=query,
                category=association.category(query),
                relevance=round(score, 6),
                makers=(MAKER,),
                rationale=rationale_of(book.of_pair(trigger, query)),
                evidence=book.evidence(trigger, query),
            )


def _told(answers: Iterable[Reasoned], total: int, report: Report) -> Iterator[Reasoned]:
    for done, answer in enumerate(answers, 1):
        if done % REPORT_EVERY == 0:
            report(STEPS - 1, f"{done} of {total} histories read")
        yield answer
