"""Which pairs of a trigger and a query count as associated, and how strongly.

For a trigger a and a query b (training.think.mining.occasions says when an occasion holds a for b), over the
N baskets in which they may meet, and over all pairs of a basket and a later one of the household within
`days`,

    low(a, b)     = Wilson's lower bound (z = 1.96) of the share n_ab / n_a
    kept if         low / (n_b / N) >= 1.5: the lift, shrunk by its support, in one basket or in a later one,
                    with at least 10 baskets and 5 households, for a trigger of at least 30 baskets
    tie(a, b)     = low · (n_a / n_b)^0.65                     0 to 1; with 0.5 it is the shrunk cosine
    score(a, b)   = (tie within + tie across / 2) / 1.5                                            0 to 1

Floors keep single shoppers' quirks out. Lift alone ranks the rare first, the share alone the popular
(docs/decisions/0008); 0.65 leans towards what a household does not know yet. Within baskets, counts are
decayed with a half-life of 90 days. What the two texts say does not count: with `similarity` above 0 the
score is multiplied by 1 + similarity · cos of their embeddings, and a title in the log could then speak for a
query (docs/decisions/0013). The paper does not say how reference pairs are made (§3.4.2): all of this is
ours, chosen on November.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from training.datasets.complete_journey import HABIT_HALF_LIFE_MS
from training.think.mining.pair_counts import PairCounts

Float64 = npt.NDArray[np.float64]
Numbers = npt.NDArray[np.int64] | Float64

Z_95: Final = 1.96
SMALLEST: Final = 1e-12


@dataclass(frozen=True, slots=True)
class MiningRule:
    """Floors and weights; ours. days: how far a later basket may be. half_life_ms: of a basket's weight.
    lift_min holds for the shrunk lift. rarity: exponent of n_a / n_b. across, similarity: what later baskets
    and embeddings count beside what stands in one basket."""

    days: int = 7
    half_life_ms: int = HABIT_HALF_LIFE_MS
    trigger_baskets_min: int = 30
    pair_baskets_min: int = 10
    pair_households_min: int = 5
    lift_min: float = 1.5
    rarity: float = 0.65
    across: float = 0.5
    similarity: float = 0.0


MINING_RULE: Final = MiningRule()


def scores_of(counts: PairCounts, similarities: Float64, rule: MiningRule) -> Float64:
    """(T', V') score(a, b), whatever the floors say. similarities: (T', V') cosines."""
    within = tie(counts.decayed, counts.trigger_decayed, counts.query_decayed, rule.rarity)
    across = tie(counts.after, counts.windows[:, None], counts.query_windows, rule.rarity)
    likeness = 1 + rule.similarity * similarities
    most = (1 + rule.across) * (1 + rule.similarity)
    return np.asarray(np.maximum((within + rule.across * across) * likeness / most, 0.0), np.float64)


def lifts_of(counts: PairCounts, rule: MiningRule) -> Float64:
    """(T', V') the shrunk lift, in one basket or in a later one, whichever is larger; 0 below the floors."""
    chance = counts.query_baskets / max(counts.all_baskets, 1)
    later_chance = counts.query_windows / max(counts.all_windows, 1)
    within = shrunk_lift(counts.baskets, counts.trigger_baskets, chance)
    within[(counts.baskets < rule.pair_baskets_min) | (counts.households < rule.pair_households_min)] = 0.0
    across = shrunk_lift(counts.after, counts.windows[:, None], later_chance)
    across[(counts.after < rule.pair_baskets_min) | (counts.near < rule.pair_households_min)] = 0.0
    lifts = np.maximum(within, across) if rule.across else within
    lifts[(lifts < rule.lift_min) | (counts.trigger_baskets < rule.trigger_baskets_min)] = 0.0
    return lifts


def tie(both: Numbers, held: Numbers, sold: Numbers, rarity: float) -> Float64:
    """low · (n_a / n_b)^rarity of counts (T, V), (T, V) or (T, 1), and (V,); 0 to 1."""
    return np.asarray(wilson_low(both, held) * (held / np.maximum(sold, SMALLEST)) ** rarity, np.float64)


def shrunk_lift(both: Numbers, held: Numbers, chance: Float64) -> Float64:
    """low / chance; shapes as `tie` takes them."""
    return np.asarray(wilson_low(both, held) / np.maximum(chance, SMALLEST), np.float64)


def wilson_low(hits: Numbers, trials: Numbers, z: float = Z_95) -> Float64:
    """Lower end of Wilson's score interval for hits / trials (Wilson 1927); 0 when there are no hits."""
    tried = np.maximum(trials, SMALLEST)
    share = np.minimum(hits / tried, 1.0)
    spread = z * np.sqrt(share * (1 - share) / tried + (z / (2 * tried)) ** 2)
    low = (share + z**2 / (2 * tried) - spread) / (1 + z**2 / tried)
    return np.asarray(np.where(hits > 0, np.maximum(low, 0.0), 0.0), np.float64)
