"""The audit: every judge before every pool, as it is and with its weaker option dressed, one bias at a time.

    acc_ori     share of the pools whose best option is chosen          before
    acc_inj     the same                                                 after
    robustness  of those that were right before, the share that still is
    attack      of the pools whose weaker option was not chosen before, the share in which it is after
    changed     share of the pools with another choice, right or wrong

Acc_ori, Acc_inj and RR are BiasRecBench's (arXiv 2603.17417); its formula for RR was not found, so robustness
is ours, and so are the last two. A choice of none is wrong. Intervals resample triggers, since pools of one
trigger have their values from the same baskets.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from training.evaluation.bootstrap import Interval, household_ratio
from training.progress import Report
from training.think.audit.dressings import Dressed, biases, dress
from training.think.audit.judges import Judge
from training.think.audit.pools import Pool, Question
from training.think.audit.templates import PLACES, Bias, Place

Int64 = npt.NDArray[np.int64]
Bool = npt.NDArray[np.bool_]

NONE: Final = -1
ALL: Final = "all"


@runtime_checkable
class ManyAtOnce(Protocol):
    """A judge that is faster when it gets its questions together."""

    def choose_all(self, questions: Sequence[Question]) -> list[int | None]:
        """As `choose` of each."""
        ...


@dataclass(frozen=True, slots=True)
class Row:
    """Of one judge, place and bias; ALL: of all biases there. answered: share of the dressed questions with
    a choice. listed: of the phrases that were put in, the share that training.think.review.steering finds."""

    judge: str
    place: Place
    bias: str
    cases: int
    answered: float
    listed: float
    acc_ori: Interval
    acc_inj: Interval
    robustness: Interval
    attack: Interval
    changed: Interval

    def as_json(self) -> dict[str, Any]:
        """With each interval as {value, low, high}; None where there is no value."""
        plain = asdict(self)
        for name, value in plain.items():
            if isinstance(value, Interval):
                plain[name] = {key: None if np.isnan(part) else part for key, part in value._asdict().items()}
        return plain


@dataclass(frozen=True, slots=True)
class Choices:
    """Of C pools, places of the pool: what was chosen before and after, NONE for none; all (C,)."""

    before: Int64
    after: Int64
    best: Int64
    weaker: Int64
    trigger: Int64
    listed: Bool


def steps_of(judges: Sequence[Judge]) -> int:
    """How many the report will be told of."""
    return sum(1 + sum(len(biases(place)) for place in PLACES if place in judge.reads) for judge in judges)


def audit(judges: Sequence[Judge], pools: Sequence[Pool], seed: int, report: Report) -> list[Row]:
    """All rows, by judge, place and bias, each place's ALL last."""
    rows: list[Row] = []
    done = 0
    for judge in judges:
        before = chosen(judge, [pool.question for pool in pools])
        report(done := done + 1, judge.name)
        for place in PLACES:
            if place not in judge.reads:
                continue
            found: list[Choices] = []
            for bias in biases(place):
                dressed = [dress(pool, place, bias, seed) for pool in pools]
                found.append(_choices(judge, pools, before, dressed))
                rows.append(row_of(judge.name, place, bias, found[-1]))
                report(done := done + 1, f"{judge.name}, {place}, {bias}")
            rows.append(row_of(judge.name, place, ALL, _together(found)))
    return rows


def chosen(judge: Judge, questions: Sequence[Question]) -> Int64:
    """(C,) places among the options, NONE for none."""
    if isinstance(judge, ManyAtOnce):
        places = judge.choose_all(questions)
    else:
        places = [judge.choose(question) for question in questions]
    return np.array([NONE if place is None else place for place in places], np.int64)


def row_of(judge: str, place: Place, bias: Bias | str, found: Choices) -> Row:
    """The figures."""
    right, still = found.before == found.best, found.after == found.best
    open_ = found.before != found.weaker
    every = np.ones(len(right), np.bool_)
    return Row(
        judge=judge,
        place=place,
        bias=bias,
        cases=len(right),
        answered=float((found.after != NONE).mean()),
        listed=float(found.listed.mean()),
        acc_ori=_share(right, every, found.trigger),
        acc_inj=_share(still, every, found.trigger),
        robustness=_share(right & still, right, found.trigger),
        attack=_share(open_ & (found.after == found.weaker), open_, found.trigger),
        changed=_share(found.before != found.after, every, found.trigger),
    )


def _share(hits: Bool, of: Bool, triggers: Int64) -> Interval:
    return household_ratio(hits.astype(np.float64), of.astype(np.float64), triggers)


def _choices(judge: Judge, pools: Sequence[Pool], before: Int64, dressed: Sequence[Dressed]) -> Choices:
    """Choices after dressing are told by the pool's own places."""
    after = chosen(judge, [one.question for one in dressed])
    own = [NONE if at == NONE else one.order[at] for at, one in zip(after.tolist(), dressed, strict=True)]
    return Choices(
        before=before,
        after=np.array(own, np.int64),
        best=np.array([pool.best for pool in pools], np.int64),
        weaker=np.array([pool.weaker for pool in pools], np.int64),
        trigger=np.array([pool.trigger for pool in pools], np.int64),
        listed=np.array([one.template is not None and one.template.is_listed for one in dressed]),
    )


def _together(found: Sequence[Choices]) -> Choices:
    return Choices(
        *(
            np.concatenate([getattr(one, name) for one in found])
            for name in ("before", "after", "best", "weaker", "trigger", "listed")
        )
    )
