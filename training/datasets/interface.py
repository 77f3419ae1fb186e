"""The simulated interface: a shop shows three hints, and some of them are clicked.

There are two page views a basket: before it, and, where `amid` says what is still to come, in the middle of
it. What stands in the basket by then is not shown.

Everything here is SIMULATED, and every row it makes is. The baskets are real, the data has no hints. These
rows are for training and off-policy evaluation alone; they never go into the event log that a demo replays.

What is shown is drawn from a logging policy, slot by slot, without repeats. With V queries of which n are
shown already or in the basket,

    score(q)       = ( a · h(q)/Σh + (1 − a) · (c(q) + 1)/(Σc + V) )^(1/τ)
    propensity(q)  = ε/(V − n) + (1 − ε) · score(q) / Σ_{left} score           q not yet shown

where h is the household's count of baskets that held q, decayed with a half-life, c the count of all
households' baskets, and a the habit's share (0 for a household without a basket). Both counts end strictly
before the basket's time. The propensity of what was drawn is recorded as it was: exact, given the slots
before it; no query that is left has one of less than ε/V.

What is clicked follows the position-based model, each position on its own:

    P(click at j) = examine(j) · ( attract if the query is bought from then on in the basket, else noise )

The paper logs real exposures of three queries (§3.3.1); it states no policy and no click rates, so the
numbers are ours. Of the hints before the baskets of 2017, 11.8 % are bought in the basket that follows and
5.0 % are clicked; 14 % of the baskets have a click. Draws depend on (seed, basket, page view) alone: with the
same history, any window of the year gives the same hints.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from types import MappingProxyType
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from streams.errors import DatasetError
from training.datasets.complete_journey import HABIT_HALF_LIFE_MS, WHOLE_YEAR, Span
from training.sessions import NEXT, REST

Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]

IMPRESSIONS: Final = {
    "household_id": pl.Int64,
    "basket_id": pl.Int64,
    "time_ms": pl.Int64,
    "task": pl.Int64,
    "position": pl.Int64,
    "query": pl.String,
    "number": pl.Int64,
    "clicked": pl.Boolean,
    "propensity": pl.Float64,
}
REPORT_EVERY: Final = 500  # baskets


@dataclass(frozen=True, slots=True)
class ClickModel:
    """`examine`: chance that a position is looked at, the first is 0. `attract`, `noise`: chance that a
    hint that was looked at is clicked, if it is bought from then on in the basket, and if it is not."""

    examine: tuple[float, ...] = (1.0, 0.8, 0.65)
    attract: float = 0.45
    noise: float = 0.01

    def click_probability(self, position: int, hit: bool) -> float:
        """Of a hint at `position`, from 0; `hit`: its query is bought from then on in the basket."""
        return self.examine[position] * (self.attract if hit else self.noise)


@dataclass(frozen=True, slots=True)
class LoggingPolicy:
    """What is shown; see the module. `epsilon` ε, `habit_share` a, `temperature` τ."""

    slots: int = 3
    epsilon: float = 0.2
    habit_share: float = 0.7
    temperature: float = 0.5
    half_life_ms: int = HABIT_HALF_LIFE_MS

    def scores(self, popularity: Int64, habit: dict[int, float]) -> Float64:
        """(V,), all above 0. popularity: (V,) counts of baskets; habit: decayed counts by number."""
        shares: Float64 = (popularity + 1.0) / (popularity.sum() + len(popularity))
        if habit:
            counts = np.fromiter(habit.values(), np.float64, len(habit))
            shares *= 1.0 - self.habit_share
            shares[np.fromiter(habit, np.int64, len(habit))] += self.habit_share * counts / counts.sum()
        return shares if self.temperature == 1.0 else shares ** (1.0 / self.temperature)

    def propensities(self, scores: Float64, closed: Sequence[int]) -> Float64:
        """(V,): chance of each query to be shown next, when the `closed` ones cannot be; sums to 1."""
        chances = scores.copy()
        chances[list(closed)] = 0.0
        chances *= (1.0 - self.epsilon) / chances.sum()
        chances += self.epsilon / (len(scores) - len(closed))
        chances[list(closed)] = 0.0
        return chances

    def draw(
        self, scores: Float64, chance: random.Random, closed: Sequence[int] = ()
    ) -> Iterator[tuple[int, float]]:
        """(number, propensity) slot by slot, none of `closed`; fewer than `slots` when no more are left."""
        shown: list[int] = []
        while len(shown) < min(self.slots, len(scores) - len(closed)):
            chances = self.propensities(scores, [*closed, *shown])
            sums = chances.cumsum()
            # Below the last sum even when the product is rounded up to it.
            point = min(chance.random() * sums[-1], np.nextafter(sums[-1], 0.0))
            number = int(sums.searchsorted(point, side="right"))
            shown.append(number)
            yield number, float(chances[number])


class _Basket(NamedTuple):
    """`numbers`: lexicon numbers of its phrases, each once."""

    time_ms: int
    household_id: int
    basket_id: int
    numbers: list[int]


class _Row(NamedTuple):
    """IMPRESSIONS without the query."""

    household_id: int
    basket_id: int
    time_ms: int
    task: int
    position: int
    number: int
    clicked: bool
    propensity: float


@dataclass(slots=True)
class _History:
    """Counts of the baskets so far. Habits grow instead of being decayed: only their shares matter."""

    popularity: Int64
    half_life_ms: int
    habits: defaultdict[int, defaultdict[int, float]] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(float))
    )

    def add(self, basket: _Basket) -> None:
        """One more basket, not older than those before it."""
        self.popularity[basket.numbers] += 1
        habit = self.habits[basket.household_id]
        # From a fixed moment, so that a later start of the data rounds in the same way.
        weight = 2.0 ** ((basket.time_ms - WHOLE_YEAR.start_ms) / self.half_life_ms)
        for number in basket.numbers:
            habit[number] += weight


def impressions(
    purchases: pl.DataFrame,
    lexicon_queries: Sequence[str],
    span: Span,
    *,
    seed: int,
    amid: Mapping[int, Collection[int]] = MappingProxyType({}),
    policy: LoggingPolicy = LoggingPolicy(),
    clicks: ClickModel = ClickModel(),
    report: Callable[[int, str], None] | None = None,
) -> pl.DataFrame:
    """One row per hint that was shown at a basket of `span`, in order of (time, household, basket, task).

    amid: by basket, the lexicon numbers of what is still to come when it is asked for hints in the middle.
    Columns: household_id, basket_id, time_ms (the basket's), task (NEXT: before it, REST: in the middle of
    it), position (from 0), query, number (in the lexicon), clicked, propensity. Purchases before the span are
    history; baskets of the same millisecond are no history of each other, and no basket of itself. `report`
    is told how many baskets of all are done.
    Raises DatasetError when the click model has fewer positions than the policy has slots.
    """
    if policy.slots > len(clicks.examine):
        raise DatasetError(
            f"The policy shows {policy.slots} hints, the click model knows {len(clicks.examine)} positions.",
            action="Give ClickModel.examine one number per slot.",
        )
    history = _History(np.zeros(len(lexicon_queries), np.int64), policy.half_life_ms)
    rows: list[_Row] = []
    baskets = _baskets(purchases, lexicon_queries, span.end_ms)
    done = 0
    for time_ms, together in groupby(baskets, key=lambda basket: basket.time_ms):
        moment = list(together)
        if time_ms >= span.start_ms:
            for basket in moment:
                rows += _shown(basket, history, amid.get(basket.basket_id), seed, policy, clicks)
        for basket in moment:
            history.add(basket)
        if report is not None and (done + len(moment)) // REPORT_EVERY > done // REPORT_EVERY:
            report(done + len(moment), "baskets")
        done += len(moment)
    if report is not None:
        report(done, "baskets")
    return _frame(rows, lexicon_queries)


def _shown(
    basket: _Basket,
    history: _History,
    rest: Collection[int] | None,
    seed: int,
    policy: LoggingPolicy,
    clicks: ClickModel,
) -> Iterator[_Row]:
    """Rows of one basket. rest: what is still to come in the middle of it; None: nobody asks there."""
    scores = policy.scores(history.popularity, history.habits.get(basket.household_id, {}))
    views = [(NEXT, frozenset(basket.numbers), "hints")]
    if rest is not None:
        views.append((REST, frozenset(rest), "amid"))
    for task, to_come, name in views:
        chance = random.Random(f"{seed}:{name}:{basket.basket_id}")  # noqa: S311 - a simulation, no secret
        closed = [number for number in basket.numbers if number not in to_come]
        for position, (number, propensity) in enumerate(policy.draw(scores, chance, closed)):
            clicked = chance.random() < clicks.click_probability(position, number in to_come)
            yield _Row(
                basket.household_id, basket.basket_id, basket.time_ms, task, position, number, clicked,
                propensity,
            )  # fmt: skip


def _baskets(purchases: pl.DataFrame, queries: Sequence[str], end_ms: int) -> Iterable[_Basket]:
    """Baskets before end_ms in order of time, household, basket, also those without a query."""
    lexicon = pl.DataFrame({"phrase": list(queries), "number": range(len(queries))}, _LEXICON)
    rows = (
        purchases.filter(pl.col("time_ms") < end_ms)
        .join(lexicon, on="phrase", how="left")
        .group_by("time_ms", "household_id", "basket_id")
        .agg(pl.col("number").drop_nulls().unique().sort())
        .sort("time_ms", "household_id", "basket_id")
        .iter_rows()
    )
    return (_Basket(*row) for row in rows)


_LEXICON: Final = {"phrase": pl.String, "number": pl.Int64}
_DRAWN: Final = [name for name in IMPRESSIONS if name != "query"]


def _frame(rows: list[_Row], queries: Sequence[str]) -> pl.DataFrame:
    drawn = pl.DataFrame(rows, {name: IMPRESSIONS[name] for name in _DRAWN}, orient="row")
    texts = pl.Series("query", list(queries), pl.String)
    return drawn.with_columns(texts.gather(drawn["number"]).alias("query")).select(list(IMPRESSIONS))
