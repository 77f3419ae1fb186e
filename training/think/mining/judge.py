"""Does a Think mapping lead on? One phrase of a real basket is the trigger; the truth is what follows it.

A stand-in until clicks are logged: a shopper who has just put the trigger in the basket will put in the rest
(task "rest"), and buys something again within days (task "next"). Beside all that follows stands what of it
is new to the household, i.e. was never bought by it before: that is what Think is for.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final, Literal, NamedTuple

import numpy as np
import polars as pl

from streams.query_text import normalise_query
from training.datasets.complete_journey import Span, phrase_baskets
from training.evaluation.bootstrap import Interval, household_bootstrap
from training.evaluation.metrics import LIST_LENGTH, Hits, recall
from training.think.mining.occasions import DAY_MS

PHRASES_MIN: Final = 4
FIRST: Final = 3

Task = Literal["rest", "next"]


class LeadCase(NamedTuple):
    """truth: what follows the trigger; new: what of it the household buys for the first time."""

    task: Task
    household_id: int
    trigger: str
    truth: frozenset[str]
    new: frozenset[str]


@dataclass(frozen=True, slots=True)
class Lead:
    """Figures of one task, each with its interval: recall of all that follows and of what is new, capped at
    10 and at 3; cases without any are left out of the mean, those without an entry count as misses.
    `covered`: share of the cases whose trigger has an entry. `queries`: how many different ones were shown.
    """

    cases: int
    recall_at_10: Interval
    recall_at_3: Interval
    new_recall_at_10: Interval
    new_recall_at_3: Interval
    covered: float
    queries: int


def lead_cases(purchases: pl.DataFrame, span: Span, *, days: int = 7, seed: int = 0) -> list[LeadCase]:
    """Of each basket in the span: one of its phrases before the rest of it (baskets of PHRASES_MIN or more),
    and one of the household's basket before it, if that is at most `days` older. What is older is known."""
    chance = random.Random(f"{seed}:leads")  # noqa: S311 - a sample, no secret
    baskets = phrase_baskets(purchases.filter(pl.col("time_ms") < span.end_ms))
    found: list[LeadCase] = []
    for household_id, rows in groupby(baskets.iter_rows(), key=lambda row: int(row[0])):
        found += _household(household_id, [(row[1], row[3]) for row in rows], span, days, chance)
    return found


def judge_leads(lists: Mapping[str, Sequence[str]], cases: Sequence[LeadCase]) -> dict[Task, Lead]:
    """lists: queries by trigger, best first. Intervals draw households."""
    shown = {normalise_query(trigger): list(queries) for trigger, queries in lists.items()}
    tasks = sorted({case.task for case in cases}, reverse=True)
    return {task: _lead(shown, [case for case in cases if case.task == task]) for task in tasks}


def _household(
    household_id: int,
    baskets: list[tuple[int, list[str]]],
    span: Span,
    days: int,
    chance: random.Random,
) -> Iterator[LeadCase]:
    known: set[str] = set()
    before: tuple[int, list[str]] | None = None
    for time_ms, phrases in baskets:
        if time_ms >= span.start_ms:
            if len(phrases) >= PHRASES_MIN:
                trigger = chance.choice(phrases)
                rest = frozenset(phrases) - {trigger}
                yield LeadCase("rest", household_id, trigger, rest, rest - known)
            if before is not None and 0 < time_ms - before[0] <= days * DAY_MS:
                then = frozenset(phrases)
                yield LeadCase("next", household_id, chance.choice(before[1]), then, then - known)
        known.update(phrases)
        before = (time_ms, phrases)


def _lead(lists: Mapping[str, list[str]], cases: list[LeadCase]) -> Lead:
    shown = [lists.get(normalise_query(case.trigger), []) for case in cases]
    households = np.array([case.household_id for case in cases])
    all_hits = Hits.of(shown, [case.truth for case in cases])
    new_hits = Hits.of(shown, [case.new for case in cases])
    ten, three, new_ten, new_three = (
        household_bootstrap(recall(hits, length), households)
        for hits in (all_hits, new_hits)
        for length in (LIST_LENGTH, FIRST)
    )
    return Lead(
        cases=len(cases),
        recall_at_10=ten,
        recall_at_3=three,
        new_recall_at_10=new_ten,
        new_recall_at_3=new_three,
        covered=sum(map(bool, shown)) / max(len(shown), 1),
        queries=len({query for queries in shown for query in queries[:LIST_LENGTH]}),
    )
