"""Does a Think mapping lead on? One phrase of a real basket is the trigger, the rest of the basket the truth.

A stand-in until clicks are logged: a shopper who has just put the trigger in the basket will put in the rest.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from training.evaluation.metrics import LIST_LENGTH, Hits, recall
from training.think.mapping_version import Mapping

PHRASES_MIN = 4


@dataclass(frozen=True, slots=True)
class LeadsOn:
    """Means over baskets; a basket whose trigger has no entry counts as a miss.

    `recall_at_10`: of the rest of the basket, capped at 10. `any_hit`: share with at least one hit.
    `covered`: share whose trigger has an entry.
    """

    baskets: int
    recall_at_10: float
    any_hit: float
    covered: float


def judge_mapping(mapping: Mapping, baskets: Sequence[Sequence[str]], *, seed: int) -> LeadsOn:
    """One seeded trigger for each basket of PHRASES_MIN distinct phrases or more."""
    chance = random.Random(seed)  # noqa: S311 - a sample, no secret
    lists, truths = [], []
    for basket in baskets:
        if len(basket) < PHRASES_MIN:
            continue
        trigger = chance.choice(basket)
        lists.append([found["query"] for found in mapping.get(trigger, ())])
        truths.append(set(basket) - {trigger})
    recalls = recall(Hits.of(lists, truths), LIST_LENGTH).tolist()
    judged = max(len(recalls), 1)
    return LeadsOn(
        baskets=len(recalls),
        recall_at_10=round(sum(recalls) / judged, 4),
        any_hit=round(sum(share > 0 for share in recalls) / judged, 4),
        covered=round(sum(map(bool, lists)) / judged, 4),
    )
