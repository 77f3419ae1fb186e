"""What checks look at, out of a data set: lexicon, categories, and a period that nothing was mined from.

A period's counts hold the purchases from its start to its end alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import polars as pl

from streams.deny_file import read_deny_file
from streams.deny_rules import DenyRules
from streams.query_text import normalise_query
from training.datasets.complete_journey import DENIED_PATH
from training.datasets.dataset import Dataset
from training.datasets.teachable import k_of
from training.think.mining.category_lifts import category_lifts
from training.think.mining.occasions import occasions_of
from training.think.mining.pair_log import PairLog
from training.think.mining.scores import MINING_RULE
from training.think.points import Evidence, Proposal
from training.think.review.checks import Floors, Grounds
from training.think.review.review_pass import Reviewing


def grounds_of(
    data: Dataset,
    *,
    mined_until_ms: int,
    held_until_ms: int,
    days: int = MINING_RULE.days,
    denied: DenyRules | None = None,
) -> Grounds:
    """Categories before `mined_until_ms`; held out: from there to `held_until_ms`, if that is later.

    days: how far a later basket may be.
    """
    lexicon = frozenset(normalise_query(query) for query in data.queries)
    held = held_until_ms > mined_until_ms
    return Grounds(
        results=lexicon.__contains__,
        denied=denied,
        categories=category_lifts(data.purchases, mined_until_ms),
        held_out=counted(data, mined_until_ms, held_until_ms, days) if held else None,
        floors=replace(Floors(), households=max(Floors().households, k_of(data.about))),
    )


def reviewing(data: Dataset, proposals: Iterable[Proposal], denied: DenyRules | None) -> Reviewing:
    """All that a data set gives to a review of proposals that were mined from it.

    The held-out period is what follows the newest evidence, up to the end of the validation span: the test
    span is for reports. Without such a period the check that needs it is missing.
    """
    mined = [(one.evidence.until_ms, one.evidence.days) for one in proposals if one.evidence]
    until_ms, days = max(mined, default=(data.split.train.end_ms, MINING_RULE.days))
    end_ms = data.split.validate.end_ms
    grounds = grounds_of(data, mined_until_ms=until_ms, held_until_ms=end_ms, days=days, denied=denied)
    return Reviewing(grounds, _Counting(data, until_ms, days), data.encoder())


class _Counting:
    """Evidence of single pairs; the log is read when the first is asked for."""

    def __init__(self, data: Dataset, until_ms: int, days: int) -> None:
        self._data, self._until_ms, self._days = data, until_ms, days
        self._log: PairLog | None = None

    def __call__(self, trigger: str, query: str) -> Evidence:
        if self._log is None:
            self._log = counted(self._data, 0, self._until_ms, self._days)
        return self._log.evidence(trigger, query)


def counted(data: Dataset, start_ms: int, end_ms: int, days: int = MINING_RULE.days) -> PairLog:
    """The log of one period. Raises DatasetError when nothing was bought in it."""
    behaviours = data.behaviours
    if behaviours is not None:
        behaviours = behaviours.filter(pl.col("time_ms") >= start_ms)
    bought = data.purchases.filter(pl.col("time_ms") >= start_ms)
    log = occasions_of(bought, end_ms, behaviours)
    return PairLog(log=log, until_ms=end_ms, days=days, encoder=data.encoder())


def denied_of(data: Dataset) -> DenyRules | None:
    """The built-in data's own deny list; None for a shop's log, whose shop knows what it denies."""
    return read_deny_file(DENIED_PATH) if data.about["source"]["kind"] == "complete-journey" else None
