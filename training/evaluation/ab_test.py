"""A simulated A/B test: three hints before every real basket of a month, clicked as the real basket says.

The loop is closed by data, not by a model of the shopper: a hint is clicked with the chances of
training.datasets.interface.ClickModel, and whether it is a hit is read off the basket that really followed.
So every arm can be asked about every basket (a shop could show only one of them each time), and the arms are
compared *paired*, on all baskets, with exact chances in place of drawn clicks:

    p_j   = examine(j) · ( attract if hint j is in the basket, else noise )      0 where the list is shorter
    ctr   = Σ_j p_j / 3                                clicks per place
    uctr  = 1 − Π_j (1 − p_j)                          chance that the page view (one basket) has a click

UCTR here is the share of page views with at least one click; the paper reports a UCTR (§5.4) and does not
say what it is of. What an arm shows changes neither what is bought nor any later context. The same test as a
shop would run it stands beside: households dealt out to the arms in turn, clicks drawn (`split`).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from training.datasets.interface import ClickModel
from training.evaluation.bootstrap import Interval, household_bootstrap, paired_lift

Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]
Lists = Sequence[Sequence[str]]

UCTR: Final = "uctr@3"
CTR: Final = "ctr@3"


@dataclass(frozen=True, slots=True)
class Draws:
    """Of the bootstrap over households."""

    count: int = 1000
    seed: int = 0

    def of(self, values: Float64, households: Int64) -> Interval:
        """Mean of `values` (C,) with its interval."""
        return household_bootstrap(values, households, draws=self.count, seed=self.seed)

    def lift(self, values: Float64, baseline: Float64, households: Int64) -> Interval:
        """values / baseline − 1, of the means, with its interval."""
        return paired_lift(values, baseline, households, draws=self.count, seed=self.seed)


def click_model_of(about: Mapping[str, Any]) -> ClickModel:
    """The click model that a data set was made with; the default one for a log of a shop's own."""
    made = about.get("interface")
    if not made:
        return ClickModel()
    clicks = made["clicks"]
    return ClickModel(tuple(clicks["examine"]), clicks["attract"], clicks["noise"])


def click_chances(lists: Lists, truths: Sequence[Collection[str]], clicks: ClickModel) -> Float64:
    """(C, S): p_j of the first S = len(examine) hints of each list. Raises ValueError if one is missing."""
    chances = np.zeros((len(truths), len(clicks.examine)))
    for case, (queries, truth) in enumerate(zip(lists, truths, strict=True)):
        for position, query in enumerate(queries[: len(clicks.examine)]):
            chances[case, position] = clicks.click_probability(position, query in truth)
    return chances


def clicked_views(chances: Float64) -> Float64:
    """(C,) from (C, S): the chance of at least one click."""
    return np.asarray(1.0 - np.prod(1.0 - chances, axis=1), np.float64)


def click_figures(lists: Lists, truths: Sequence[Collection[str]], clicks: ClickModel) -> dict[str, Float64]:
    """UCTR and CTR of every case, (C,) each."""
    chances = click_chances(lists, truths, clicks)
    return {UCTR: clicked_views(chances), CTR: np.asarray(chances.mean(axis=1), np.float64)}


def ab_test(
    views: Mapping[str, Float64],
    households: Int64,
    traditional: Collection[str],
    draws: Draws = Draws(),
) -> dict[str, Any]:
    """UCTR of each arm, `views` (C,) chances by arm, and its lift over the best traditional arm.

    The split test's clicks are drawn from draws.seed; its intervals are those of the arm's own households.
    Keys: best_traditional (None without any) and arms: uctr, split_uctr, lift (None without a best).
    """
    means = {arm: float(values.mean()) for arm, values in views.items() if arm in traditional}
    best = max(means, key=lambda arm: means[arm], default=None)
    split = split_test(views, households, draws.seed)
    arms = {
        arm: {
            "uctr": draws.of(values, households),
            "split_uctr": draws.of(split[arm][1], split[arm][0]),
            "lift": None if best is None else draws.lift(values, views[best], households),
        }
        for arm, values in views.items()
    }
    return {"best_traditional": best, "arms": arms}


def split_test(
    views: Mapping[str, Float64], households: Int64, seed: int
) -> dict[str, tuple[Int64, Float64]]:
    """By arm: households and drawn clicks (0 or 1) of the cases that fell to it.

    Households are shuffled and dealt out in turn. A case draws one number whatever its arm, so that an arm's
    clicks do not depend on which others take part.
    """
    chance = np.random.default_rng((seed, 1))
    names, place = np.unique(households, return_inverse=True)
    turn = chance.permutation(len(names))[place] % max(1, len(views))
    drawn = chance.random(len(households))
    return {
        arm: (households[turn == number], (drawn < values)[turn == number].astype(np.float64))
        for number, (arm, values) in enumerate(views.items())
    }
