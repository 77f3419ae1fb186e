"""`aigq think audit`: judges that are at hand, pools of a data set, and what bias does to them.

The built-in reasoner and reviewer learn from before the validation span, of which the pools are made. The
reviewer's own held-out period is the last month before it, and its evidence ends where that begins.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from streams.deny_rules import NO_RULES
from training.datasets.dataset import Dataset
from training.progress import progress
from training.think.audit.defences import defences
from training.think.audit.judges import AssociationJudge, CountedTitlesJudge, Judge, ReadFirst, ReviewJudge
from training.think.audit.list_shifts import Shift, list_shifts
from training.think.audit.measure import Row, audit, steps_of
from training.think.audit.pools import Pool, PoolRule, pools
from training.think.audit.reasoner_judge import ReasonerJudge
from training.think.mining.association import Association, counts_before
from training.think.mining.occasions import DAY_MS
from training.think.points import Reasoner
from training.think.review.review_grounds import grounds_of

HELD_DAYS: Final = 31
READS: Final = "names"
APART: Final = "names apart"
TEXTS_COUNT: Final = 0.5


@dataclass(frozen=True, slots=True)
class AuditPlan:
    """What is asked for beside the built-in; None: not. generator: a training run of Direct. network: of the
    Think network. reasoners: any others, e.g. a language model. defences: Direct and ranker behind them.
    rule: of the pools."""

    cases: int = 200
    seed: int = 0
    bundle: Path | None = None
    generator: Path | None = None
    ranker: Path | None = None
    network: Path | None = None
    reasoners: Sequence[Reasoner] = ()
    defences: bool = False
    rule: PoolRule = PoolRule()  # noqa: RUF009 - frozen


@dataclass(frozen=True, slots=True)
class Audited:
    """rows: of the judges. shifts: of the bundle's lists."""

    pools: list[Pool]
    rows: list[Row]
    shifts: list[Shift]


def run_audit(data: Dataset, plan: AuditPlan) -> Audited:
    """The same for the same plan, data and files. Raises DatasetError, BundleError, TrainingError."""
    asked = pools(data, plan.cases, plan.seed, plan.rule)
    embedded = by_embedding(plan)
    judges = [*built_in(data), *embedded, *reasoning(data, plan)]
    if plan.defences:
        judges += [
            ReadFirst(judge, name, read)
            for judge in embedded
            for name, read in defences(data.queries).items()
        ]
    with progress("audit", steps_of(judges)) as report:
        rows = audit(judges, asked, plan.seed, report)
    return Audited(asked, rows, _shifts(data, plan, asked))


def built_in(data: Dataset) -> list[Judge]:
    """The reasoner and the reviewer, titles read by known names apart from the options'. Then the reasoner
    with titles read as by somebody who knows no options; word for word; and where its log has always held the
    dressed texts: as it is, and with what embeddings could add to its scores (docs/decisions/0013)."""
    until_ms = data.split.train.end_ms
    held_ms = until_ms - HELD_DAYS * DAY_MS
    counted, earlier = counts_before(data, until_ms), counts_before(data, held_ms)
    grounds = grounds_of(data, mined_until_ms=held_ms, held_until_ms=until_ms, denied=NO_RULES)
    read = defences(data.queries)[READS]
    by_texts = replace(counted, rule=replace(counted.rule, similarity=TEXTS_COUNT))
    return [
        built_in_reasoner(counted, data),
        ReadFirst(ReviewJudge(earlier, grounds), APART, read, apart=True, titles_only=True),
        ReadFirst(AssociationJudge(counted), READS, read),
        AssociationJudge(counted),
        CountedTitlesJudge(counted, read),
        CountedTitlesJudge(by_texts, read, "counts and texts"),
    ]


def built_in_reasoner(association: Association, data: Dataset) -> Judge:
    """Counts, asked with the known names that stand in the texts; a title speaks for no option."""
    return ReadFirst(AssociationJudge(association), APART, defences(data.queries)[READS], apart=True)


def by_embedding(plan: AuditPlan) -> list[Judge]:
    """Direct and the click ranker, titles word for word. Raises TrainingError."""
    found: list[Judge] = []
    if plan.generator is not None:
        from training.checkpoint import load_run
        from training.think.audit.network_judges import DirectJudge

        found.append(DirectJudge(load_run(plan.generator)))
    if plan.ranker is not None:
        from training.ranker import load_ranker
        from training.think.audit.network_judges import RankerJudge

        found.append(RankerJudge(load_ranker(plan.ranker)))
    return found


def reasoning(data: Dataset, plan: AuditPlan) -> list[Judge]:
    """Whatever reads histories and writes points. Raises TrainingError."""
    if plan.network is not None:
        from training.think.audit.options_judge import NetworkJudge
        from training.think.network.reasoner import load_network_reasoner

        network = load_network_reasoner(plan.network, data)
        return [NetworkJudge(network), *(ReasonerJudge(one) for one in (network, *plan.reasoners))]
    return [ReasonerJudge(one) for one in plan.reasoners]


def _shifts(data: Dataset, plan: AuditPlan, asked: list[Pool]) -> list[Shift]:
    if plan.bundle is None:
        return []
    from agents.hints.bundle import load_bundle

    bundle = load_bundle(plan.bundle)
    found = list_shifts(bundle, asked, plan.seed)
    if plan.defences:
        for name, read in defences(data.queries).items():
            found += list_shifts(bundle, asked, plan.seed, read, name)
    return found
