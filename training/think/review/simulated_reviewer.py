"""SIMULATED: a stand-in for the people who review, since none of their corrections exist in public data.

It goes by what no check can see: what shoppers did in a later period, and a taste of its own.

    holds    (n + 1) / (chance + 1) ≥ 1.5: in the later period, baskets with both against chance
    taste    it wants no hints to a fifth of the query categories, nor from one category to another for a
             tenth of the pairs; which ones is drawn by the seed, from their names alone
    slips    in one answer of twenty it says the opposite, drawn by seed, trigger and query
    approve  holds and taste allows it, unless it slips

So a part of its answers can be learned from others of its answers (taste), a part from counts (holds), and a
part by nobody (slips). It says what the machinery can do, and nothing of how often people would agree.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b
from typing import Final

from streams.query_text import normalise_query
from training.think.mining.category_lifts import CategoryLifts
from training.think.review.checks import PairEvidence
from training.think.review.corrections import Correction, Second, correct, forbidden
from training.think.review.decisions import Decision

REVIEWER: Final = "SIMULATED reviewer"


@dataclass(frozen=True, slots=True)
class SimulatedReviewer:
    """later: counts of a period that neither mining nor checks saw. categories: of triggers and queries."""

    later: PairEvidence
    categories: CategoryLifts
    seed: int = 0
    ratio_min: float = 1.5
    dislikes: float = 0.2
    pair_dislikes: float = 0.1
    slips: float = 0.05

    def answer(self, decision: Decision, at_ms: int) -> Correction:
        """What it says of one decision; it cannot approve what nobody may."""
        one = decision.proposal
        approves, reason = self._judged(one.trigger, one.query, one.category)
        if self._drawn("slip", one.trigger, one.query) < self.slips:
            approves, reason = not approves, ""
        second: Second = "approve" if approves and not forbidden(decision.actions) else "reject"
        return correct(decision, second, reason=reason, reviewer=REVIEWER, at_ms=at_ms)

    def _judged(self, trigger: str, query: str, category: str) -> tuple[bool, str]:
        its, mine = category or self.categories.category(query), self.categories.category(trigger)
        if self._drawn("query category", its) < self.dislikes:
            return False, f"no hints to {its}"
        if mine != its and self._drawn("categories", mine, its) < self.pair_dislikes:
            return False, f"no hints from {mine} to {its}"
        found = self.later.evidence(trigger, query)
        chance = found.trigger_baskets * found.query_baskets / max(found.all_baskets, 1)
        holds = (found.baskets + 1) / (chance + 1) >= self.ratio_min
        return holds, "" if holds else "seldom bought together later"

    def _drawn(self, *names: str) -> float:
        """0 to 1, the same for the same seed and names."""
        text = "\0".join([str(self.seed), *(normalise_query(name) for name in names)])
        return int.from_bytes(blake2b(text.encode(), digest_size=8).digest()) / 2**64
