"""Each arm's click-through from the *logged* hints alone, beside what it truly is: do the estimates agree?

A shop cannot ask its arms about every basket; it has the log of another policy. So for each logged hint (case
x, position k, hint h with propensity p, the hints before it, click c) the arm is taken as the policy that
shows there its own k-th hint; where the log has shown that in an earlier slot already, the arm's next
one after its first places: no page shows a hint twice, and a propensity holds after the hints before it:

    t(h | x, k, before) = share of the arm's training seeds that would show h        0 or 1 for one seed

IPS, SNIPS and DR (training.evaluation.off_policy) estimate the clicks per place of that policy. `true` is
what they should come to: its exact click chance on the same rows, read off the real baskets. It lies a little
below the arm's own CTR (training.evaluation.ab_test), wherever the log has taken the arm's hint away.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import polars as pl

from streams.errors import TrainingError
from training.datasets.complete_journey import Span
from training.datasets.interface import ClickModel
from training.evaluation.ab_test import Draws
from training.evaluation.bootstrap import Interval
from training.evaluation.cases import Cases
from training.evaluation.click_scores import ClickTable
from training.evaluation.off_policy import estimates
from training.sessions import NEXT

Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]
Lists = Sequence[Sequence[str]]

ESTIMATES: Final = ("ips", "snips", "dr")


@dataclass(frozen=True, slots=True)
class LoggedHints:
    """N logged hints of a month, all (N,): case among C, position from 0, phrase by number in the
    vocabulary, clicked 0 or 1, propensity (NaN where the log has none), household. before: (N, S) phrases of
    the page's earlier slots, -1 for none."""

    case: Int64
    position: Int64
    phrase: Int64
    clicked: Float64
    propensity: Float64
    households: Int64
    before: Int64

    def __len__(self) -> int:
        return len(self.case)

    @property
    def has_propensities(self) -> bool:
        """A shop's own log says with what chance it drew its hints only if it recorded that."""
        return len(self) > 0 and not bool(np.isnan(self.propensity).any())


def logged_hints(impressions: pl.DataFrame, span: Span, cases: Cases, phrases: Sequence[str]) -> LoggedHints:
    """The hints of `span` that were shown before the (next-basket) cases' baskets. phrases: by number."""
    row_of = pl.DataFrame({"basket_id": cases.baskets, "case": np.arange(len(cases))})
    queries = pl.DataFrame({"query": list(phrases), "phrase": np.arange(len(phrases))})
    rows = (
        impressions.filter(
            pl.col("time_ms").is_between(span.start_ms, span.end_ms, closed="left"), pl.col("task") == NEXT
        )
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
        _before(rows),
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
    """true, ips, snips, dr, dm, logged (Interval each), impressions, effective_samples, mean_weight, and
    agrees: for each of ESTIMATES whether its interval holds the true value.

    Raises TrainingError without propensities.
    """
    if not log.has_propensities:
        raise TrainingError(
            "The log has no hints with propensities, so nothing can be estimated from it.",
            action="Record with each impression the chance with which its hint was drawn.",
        )
    target, model, true = np.zeros((3, len(log)))
    for lists in lists_of_seeds:
        shown = target_hints(log, lists, table.number)
        there = shown >= 0
        target += there & (shown == log.phrase)
        model[there] += table.at(log.case[there], shown[there], log.position[there])
        true += _true(log, shown, cases, list(table.number), clicks)
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


def target_hints(log: LoggedHints, lists: Lists, number: Mapping[str, int]) -> Int64:
    """(N,) number of the phrase that the lists' arm shows at each logged place, -1 for none; see the module.

    lists: one per case, read to twice as many places as the log has slots.
    """
    slots = log.before.shape[1] + 1
    numbers = np.full((len(lists), 2 * slots), -1, np.int64)
    for case, queries in enumerate(lists):
        first = queries[: 2 * slots]
        numbers[case, : len(first)] = [number[query] for query in first]
    own = numbers[log.case, log.position]
    offered = np.column_stack([own, numbers[log.case, slots:]])
    used = (offered[:, :, None] == log.before[:, None, :]).any(-1)
    # The arm's own hint, also when it has none there; else the first of the next ones that is left.
    choice = np.argmin(used, axis=1)
    return np.asarray(offered[np.arange(len(log)), choice], np.int64)


def _before(rows: pl.DataFrame) -> Int64:
    """(N, S): for each row the phrases of earlier positions of the same page, S one less than the slots."""
    slots = int(rows["position"].max() or 0) + 1  # type: ignore[arg-type] # Polars types max() for every dtype
    page = rows.select(pl.struct("case", "time_ms").rank("dense").cast(pl.Int64) - 1).to_series().to_numpy()
    phrases, positions = rows["phrase"].to_numpy(), rows["position"].to_numpy()
    shown = np.full((int(page.max(initial=-1)) + 1, slots), -1, np.int64)
    shown[page, positions] = phrases
    earlier = np.arange(slots - 1) < positions[:, None]
    return np.asarray(np.where(earlier, shown[page, : slots - 1], -1), np.int64)


def _true(log: LoggedHints, shown: Int64, cases: Cases, names: Sequence[str], clicks: ClickModel) -> Float64:
    """(N,) exact click chance of the phrases shown, by number; 0 for none, and past the model's positions."""
    chances = np.zeros(len(log))
    for row, (case, position, phrase) in enumerate(zip(log.case, log.position, shown, strict=True)):
        if phrase >= 0 and position < len(clicks.examine):
            chances[row] = clicks.click_probability(int(position), names[phrase] in cases.truths[case])
    return chances


def _holds(interval: Interval, value: float) -> bool:
    return bool(interval.low <= value <= interval.high)
