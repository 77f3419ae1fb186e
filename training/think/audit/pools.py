"""Pools: five queries of which one is known to be the best after a trigger, by a small margin.

The value of a query is what a period that no judge has learned from says of it: the share of the baskets
with the trigger that hold the query, too. A pool's question is a real history of that period, at whose end
the trigger was just put in the basket. Margins follow BiasRecBench (arXiv 2603.17417, calibrated quality
margin); queries of like popularity, the test of the margin and the figures of PoolRule are ours:

    low <= value(best) − value(other) <= high, for each other one
    (n_best − n_other) / √(n_best + n_other) >= z        n: baskets with the trigger that hold it
    popularity of each within a factor of the best one's

None of the five stands in the history or doubles another for people. Nothing of the answer is in a question:
not a value, and the order of the options is drawn.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from agents.hints.filters import double_of
from streams.errors import DatasetError
from streams.query_text import normalise_query
from training.datasets.dataset import Dataset
from training.think.audit.pool_values import PoolValues, pool_values
from training.think.mining.histories import LINES, Case, cases
from training.think.points import History, HistoryLine

Int64 = npt.NDArray[np.int64]

OPTIONS: Final = 5
HISTORIES_PER_POOL: Final = 20


@dataclass(frozen=True, slots=True)
class PoolRule:
    """low, high: ε, the margin's bounds, in share of baskets. popularity: factor. z: of the margin's test.
    baskets: with trigger and option, at least. per_trigger: pools, so that no trigger decides the figures."""

    low: float = 0.02
    high: float = 0.06
    popularity: float = 1.5
    z: float = 2.0
    trigger_baskets: int = 150
    baskets: int = 5
    per_trigger: int = 3


@dataclass(frozen=True, slots=True)
class Question:
    """All that a judge sees. The history's first line is the trigger. notes: what is said in favour of each
    option by whoever proposes it, "" mostly."""

    name: str
    history: History
    options: tuple[str, ...]
    notes: tuple[str, ...] = ("",) * OPTIONS

    @property
    def trigger(self) -> str:
        """Text of the newest line."""
        return self.history.lines[0].text


@dataclass(frozen=True, slots=True)
class Pool:
    """A question and its answer. best: place of the best option. weaker: place of the one that is dressed,
    never the first. values: of each option. trigger: a number, for intervals."""

    question: Question
    best: int
    weaker: int
    values: tuple[float, ...]
    trigger: int


def pools(data: Dataset, count: int, seed: int, rule: PoolRule = PoolRule()) -> list[Pool]:
    """`count` pools of the validation span, each of another household; the same for the same seed.

    Raises DatasetError when the data do not give so many.
    """
    values = pool_values(data, rule.trigger_baskets)
    sample = cases(data, "validate", count * HISTORIES_PER_POOL, seed, days=1)
    found: list[Pool] = []
    households: set[int] = set()
    times: Counter[int] = Counter()
    for case in sample:
        if len(found) == count:
            break
        full = {trigger for trigger, pools in times.items() if pools >= rule.per_trigger}
        pool = None if case.household_id in households else _pool(case, values, full, seed, rule)
        if pool is not None:
            found.append(pool)
            households.add(case.household_id)
            times[pool.trigger] += 1
    if len(found) < count:
        raise DatasetError(
            f"The data give {len(found)} pools of {OPTIONS} queries, {count} were asked for.",
            action=f"Ask for {len(found)} with --cases, or give more data.",
        )
    return found


def _pool(case: Case, values: PoolValues, full: set[int], seed: int, rule: PoolRule) -> Pool | None:
    """A pool on what the household bought first, where the rule finds one."""
    chance = random.Random(f"{seed}:pool:{case.history.name}")  # noqa: S311 - a sample, no secret
    bought = sorted({text for text, days in case.bought if days == 0})
    chance.shuffle(bought)
    for text in bought:
        trigger = values.trigger_number.get(normalise_query(text))
        if trigger is None or trigger in full:
            continue
        history = _with_trigger(case.history, text)
        chosen = next(_choices(trigger, values, history, chance, rule), None)
        if chosen is not None:
            return _asked(history, trigger, chosen, values, chance)
    return None


def _with_trigger(history: History, text: str) -> History:
    """The history with one line more in front: the trigger, put in the basket today."""
    lines = [HistoryLine(index=1, days_ago=0, action="purchase", text=text), *history.lines[: LINES - 1]]
    numbered = [line.model_copy(update={"index": place}) for place, line in enumerate(lines, 1)]
    return history.model_copy(update={"lines": tuple(numbered)})


def _choices(
    trigger: int, values: PoolValues, history: History, chance: random.Random, rule: PoolRule
) -> Iterator[list[int]]:
    """Best ones, each with four others behind it, in an order that is drawn."""
    known = {normalise_query(line.text) for line in history.lines}
    fit = [
        query
        for query in np.flatnonzero(values.baskets[trigger] >= rule.baskets).tolist()
        if normalise_query(values.queries[query]) not in known
    ]
    order = list(fit)
    chance.shuffle(order)
    for best in order:
        others = _weaker(trigger, best, np.array(fit), values, rule)
        chance.shuffle(others)
        chosen = _apart(history.lines[0].text, best, others, values)
        if len(chosen) == OPTIONS - 1:
            yield [best, *chosen]


def _weaker(trigger: int, best: int, fit: Int64, values: PoolValues, rule: PoolRule) -> list[int]:
    """Queries that are worse than `best` by as much as the rule says."""
    shares, counts = values.shares[trigger], values.baskets[trigger]
    margin = shares[best] - shares[fit]
    z = (counts[best] - counts[fit]) / np.sqrt(np.maximum(counts[best] + counts[fit], 1))
    ratio = values.popularity[fit] / values.popularity[best]
    alike = (ratio <= rule.popularity) & (ratio >= 1 / rule.popularity)
    return [int(q) for q in fit[(margin >= rule.low) & (margin <= rule.high) & (z >= rule.z) & alike]]


def _apart(trigger: str, best: int, others: list[int], values: PoolValues) -> list[int]:
    """The first four that no person would take for one another, for the best or for the trigger."""
    chosen: list[int] = []
    texts = [trigger, values.queries[best]]
    if double_of(trigger, values.queries[best]):
        return []
    for query in others:
        if len(chosen) < OPTIONS - 1 and not any(double_of(values.queries[query], text) for text in texts):
            chosen.append(query)
            texts.append(values.queries[query])
    return chosen


def _asked(
    history: History, trigger: int, queries: list[int], values: PoolValues, chance: random.Random
) -> Pool:
    order = list(range(OPTIONS))
    chance.shuffle(order)
    best = order.index(0)
    question = Question(
        name=history.name, history=history, options=tuple(values.queries[queries[place]] for place in order)
    )
    return Pool(
        question=question,
        best=best,
        weaker=chance.choice([place for place in range(1, OPTIONS) if place != best]),
        values=tuple(float(values.shares[trigger, queries[place]]) for place in order),
        trigger=trigger,
    )
