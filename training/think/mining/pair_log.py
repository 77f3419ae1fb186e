"""A log that can be asked about one pair of a trigger and a query: its evidence, off the log's own lines.

No matrix is counted here: a review asks for single pairs, of a period that nothing was mined from as well.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256
from typing import Final

import numpy as np
import numpy.typing as npt

from agents.session.step import TextEncoder
from streams.query_text import normalise_query
from training.datasets.complete_journey import HABIT_HALF_LIFE_MS
from training.think.mining.occasions import DAY_MS, Occasions
from training.think.mining.scores import wilson_low
from training.think.points import Evidence, TriggerKind

Int64 = npt.NDArray[np.int64]
Float64 = npt.NDArray[np.float64]

EXAMPLES: Final = 3
EXAMPLE_LABEL: Final = "aigq-think-basket"


@dataclass(frozen=True, kw_only=True)
class PairLog:
    """A log before `until_ms`. days: how far a later basket may be. half_life_ms: of a basket's weight.
    encoder: for `similarity`, 0 without one. clicks: the click ranker's mean p̂ by (trigger, query), normal
    forms (training.think.mining.clicks)."""

    log: Occasions
    until_ms: int
    days: int = 7
    half_life_ms: int = HABIT_HALF_LIFE_MS
    encoder: TextEncoder | None = None
    clicks: dict[tuple[str, str], float] = field(default_factory=dict)

    def kind(self, trigger: str) -> TriggerKind | None:
        """What the trigger is; None when the log does not know it."""
        number = self.log.trigger_number.get(normalise_query(trigger))
        return None if number is None else self.log.kinds[number]

    def category(self, query: str) -> str:
        """The query's; "" when the log does not know it."""
        number = self.log.query_number.get(normalise_query(query))
        return "" if number is None else self.log.categories[number]

    def evidence(self, trigger: str, query: str) -> Evidence:
        """All that the log says of the pair; zeros for what it does not know. See Evidence.

        newest_days without a basket that holds both: the age of the whole log.
        """
        held, sold = self._held(trigger, query), self._sold(query)
        both = _common(held, sold)
        first, last = self._windows
        begin, end = (np.searchsorted(sold, edge[held]) for edge in (first, last))
        after = end - begin
        owners = self.log.household
        either = np.union1d(owners[both], owners[held[after > 0]])
        share = len(both) / max(len(held), 1)
        chance = len(sold) / self.log.baskets
        age_ms = self.until_ms - self.log.time_ms[both]
        newest = both[np.lexsort((self.log.basket_id[both], age_ms))]
        oldest_ms = self.until_ms - int(self.log.time_ms.min())
        clicked = self.clicks.get((normalise_query(trigger), normalise_query(query)))
        return Evidence(
            until_ms=self.until_ms,
            days=self.days,
            baskets=len(both),
            after=int(after.sum()),
            households=len(either),
            trigger_baskets=len(held),
            query_baskets=len(sold),
            all_baskets=self.log.baskets,
            decayed=round(float(np.exp2(-age_ms / self.half_life_ms).sum()), 3),
            low=round(float(wilson_low(np.array([len(both)]), np.array([len(held)]))[0]), 6),
            lift=round(share / chance, 4) if chance else 0.0,
            later=self._later(held, sold),
            newest_days=int(age_ms.min(initial=oldest_ms)) // DAY_MS,
            similarity=round(float(self._units([trigger])[0] @ self._units([query])[0]), 4),
            click=None if clicked is None else round(clicked, 6),
            examples=tuple(example_of(number) for number in self.log.basket_id[newest[:EXAMPLES]].tolist()),
        )

    def together(self, trigger: str, query: str) -> int:
        """Households that had both in one basket."""
        held, sold = self._held(trigger, query), self._sold(query)
        return len(_distinct(self.log.household[_common(held, sold)]))

    def _units(self, texts: list[str]) -> Float64:
        """(n, D) embeddings of length 1."""
        if self.encoder is None or not texts:
            return np.zeros((len(texts), 1))
        vectors = np.stack([self.encoder.embed(text) for text in texts]).astype(np.float64)
        return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9))

    def _held(self, trigger: str, query: str) -> Int64:
        """Occasions that hold the trigger for the query, in order."""
        number = self.log.trigger_number.get(normalise_query(trigger))
        if number is None:
            return np.zeros(0, np.int64)
        starts, order = self._by_trigger
        lines = order[starts[number] : starts[number + 1]]
        own = self.log.query_number.get(normalise_query(query))
        others = lines if own is None else lines[self.log.line_query[lines] != own]
        return _distinct(self.log.line_occasion[others])

    def _sold(self, query: str) -> Int64:
        """Occasions that hold the query, in order."""
        number = self.log.query_number.get(normalise_query(query))
        if number is None:
            return np.zeros(0, np.int64)
        starts, order = self._by_query
        return self.log.bought_occasion[order[starts[number] : starts[number + 1]]]

    def _later(self, held: Int64, sold: Int64) -> int:
        """Per cent of the households with both that met the query after the trigger, the first times."""
        first, then = self._first(held), self._first(sold)
        both = ~(np.isnan(first) | np.isnan(then))
        after = then[both] > first[both]
        return round(100 * int(after.sum()) / len(after)) if len(after) else 0

    def _first(self, occasions: Int64) -> Float64:
        """(households,) time of the first of the occasions, NaN for those without one."""
        first = np.full(int(self.log.household[-1]) + 1, np.nan)
        backwards = occasions[::-1]
        first[self.log.household[backwards]] = self.log.time_ms[backwards]
        return first

    @cached_property
    def _windows(self) -> tuple[Int64, Int64]:
        return self.log.windows(self.days)

    @cached_property
    def _by_trigger(self) -> tuple[Int64, Int64]:
        return _postings(self.log.line_trigger, len(self.log.triggers))

    @cached_property
    def _by_query(self) -> tuple[Int64, Int64]:
        return _postings(self.log.bought_query, len(self.log.queries))


def example_of(basket_id: int) -> str:
    """What names a basket in evidence without telling whose it is: 16 hexadecimal digits."""
    return sha256(f"{EXAMPLE_LABEL}:{basket_id}".encode()).hexdigest()[:16]


def _common(left: Int64, right: Int64) -> Int64:
    """What stands in both; each in order and without repeats."""
    if not len(right):
        return right
    at = np.minimum(np.searchsorted(right, left), len(right) - 1)
    return np.asarray(left[right[at] == left], np.int64)


def _distinct(ordered: Int64) -> Int64:
    """Each value of an ordered array once."""
    return np.asarray(ordered[np.diff(ordered, prepend=-1) != 0], np.int64)


def _postings(column: Int64, count: int) -> tuple[Int64, Int64]:
    """Where each value's rows begin in the order, and the order."""
    order = np.argsort(column, kind="stable")
    return np.searchsorted(column[order], np.arange(count + 1)), order
