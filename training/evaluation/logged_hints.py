"""Each arm's click-through from the *logged* hints alone, beside what it truly is: do the estimates agree?

A shop has no real basket to ask, only the log of another policy. So for each logged hint (case x, position k,
hint h, propensity p, click c) the arm is the target policy that shows its own k-th hint there:

    t(h | x, k) = share of the arm's training seeds whose k-th hint for x is h        0 or 1 for one seed

and IPS, SNIPS and DR (training.evaluation.off_policy) estimate its clicks per place. `true` is the exact mean
click chance of the arm's own hints on the same rows, from the real baskets (training.evaluation.ab_test).

The recorded p is that of h *after the hints before it*: where the arm's k-th hint was already drawn for an
earlier slot it has no chance left. IPS then comes out too low, by 1 − `mean_weight`; SNIPS divides by it, and DR
falls back on the ranker there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import polars as pl

from streams.errors import TrainingError
from training.datasets.complete_journey import Span
from training.datasets.interface import ClickModel
from training.evaluation.ab_test import Draws, click_chances
from training.evaluation.bootstrap import Interval
from training.evaluation.cases import Cases
from training.evaluation.click_scores import ClickTable
from training.evaluation.off_policy import estimates

Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]
Lists = Sequence[Sequence[str]]

ESTIMATES: Final = ("ips", "snips", "dr")


@dataclass(frozen=True, slots=True)
class LoggedHints:
    """N logged hints of a month, all (N,): case among C, position from 0, phrase by number in the vocabulary,
    clicked 0 or 1, propensity (NaN where the log has none), household."""

    case: Int64
    position: Int64
    phrase: Int64
    clicked: Float64
    propensity: Float64
    households: Int64

    def __len__(self) -> int:
        return len(self.case)

    @property
    def has_propensities(self) -> bool:
        """A shop's own log says with what chance it drew its hints only if it recorded that."""
        return len(self) > 0 and not bool(np.isnan(self.propensity).any())


def logged_hints(impressions: pl.DataFrame, span: Span, cases: Cases, lexicon: Sequence[str]) -> LoggedHints:
    """The hints of `span` that were shown before one of the (next-basket) cases. lexicon: by number."""
    row_of = pl.DataFrame({"basket_id": cases.baskets, "case": np.arange(len(cases))})
    queries = pl.DataFrame({"query": list(lexicon), "phrase": np.arange(len(lexicon))})
    rows = (
        impressions.filter(pl.col("time_ms").is_between(span.start_ms, span.end_ms, closed="left"))
        .join(row_of, on="basket_id", maintain_order="left")
        .join(queries, on="query", maintain_order="left")
    )
    return LoggedHints(
        rows["case"].to_numpy(),
        rows["position"].to_numpy(),
        rows["phrase"].to_numpy(),
        rows["clicked"].to_numpy().astype(np.float64),
        rows["propensity"].cast(pl.Float64).fill_null(np.nan).to_numpy(),
        rows["household_id"].to_numpy(),
    )


def logged_chances(log: LoggedHints, table: ClickTable) -> Float64:
    """(N,) the model's click probability of each logged hint, at its own position."""
    return table.at(log.case, log.phrase, log.position)


def off_policy(
    log: LoggedHints,
    lists_of_seeds: Sequence[Lists],
    cases: Cases,
    table: ClickTable,
    clicks: ClickModel,
    draws: Draws = Draws(),  # noqa: B008 - frozen
) -> dict[str, Any]:
    """true, ips, snips, dr, dm, logged (Interval each), impressions, effective_samples, mean_weight, and agrees:
    for each of ESTIMATES whether its interval holds the true value. Raises TrainingError without propensities.
    """
    if not log.has_propensities:
        raise TrainingError(
            "The log has no hints with propensities, so nothing can be estimated from it.",
            action="Record with each impression the chance with which its hint was drawn.",
        )
    target, model = np.zeros(len(log)), np.zeros(len(log))
    true = np.zeros(len(log))
    for lists in lists_of_seeds:
        shown = _shown(log, lists, table)
        target += shown == log.phrase
        there = shown >= 0
        model[there] += table.at(log.case[there], shown[there], log.position[there])
        true += _true(log, lists, cases, clicks)
    seeds = len(lists_of_seeds)
    found = estimates(
        log.clicked,
        log.propensity,
        target / seeds,
        logged_chances(log, table),
        model / seeds,
        log.households,
        draws=draws.count,
        seed=draws.seed,
    )
    exact = draws.of(true / seeds, log.households)
    return {
        "true": exact,
        **found.click_through,
        "agrees": {name: _holds(found.click_through[name], exact.value) for name in ESTIMATES},
        "impressions": found.impressions,
        "effective_samples": found.effective_samples,
        "mean_weight": found.mean_weight,
    }


def _shown(log: LoggedHints, lists: Lists, table: ClickTable) -> Int64:
    """(N,) number of the phrase that the lists show at each logged place, -1 for none."""
    length = int(log.position.max(initial=0)) + 1
    numbers = np.full((len(lists), length), -1, np.int64)
    for case, queries in enumerate(lists):
        first = queries[:length]
        numbers[case, : len(first)] = [table.number[query] for query in first]
    return np.asarray(numbers[log.case, log.position], np.int64)


def _true(log: LoggedHints, lists: Lists, cases: Cases, clicks: ClickModel) -> Float64:
    """(N,) exact chance of a click on the lists' hint at each logged place; 0 past the model's positions."""
    chances = click_chances(lists, cases.truths, clicks)
    inside = log.position < chances.shape[1]
    places = np.where(inside, log.position, 0)
    return np.where(inside, chances[log.case, places], 0.0)


def _holds(interval: Interval, value: float) -> bool:
    return bool(interval.low <= value <= interval.high)
