"""How good interest points are, on histories of a period that nothing was learned from.

The reference points of these histories are the judge: what their shoppers did next, as
training.think.mining.reference reads it, with the counts of the training span. Beside the network stands
association alone: the queries that the counts of a history's lines speak for most, made into points by the
reference's own steps. All ours.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import torch

from streams.query_text import normalise_query
from training.datasets.dataset import Dataset
from training.think.mining.association import Association, training_counts
from training.think.mining.facts import FactBook
from training.think.mining.histories import LINES, Case, cases
from training.think.mining.reference import reference_points
from training.think.network.reasoner import NetworkReasoner
from training.think.network.rewards import trigger_reward
from training.think.network.stored import StoredNetwork
from training.think.points import InterestPoint, Reasoned

ASSOCIATION: Final = "association"


@dataclass(frozen=True, slots=True)
class PointFigures:
    """Means over histories. answered: share with a point. points, queries: of an answered history.

    trigger_rouge: mean r_trigger (Eq 16) of the reference's points, each with the written point at its place,
    0 where there is none. trigger_match: with the written point that suits it best. query_hits: share of the
    written queries that were bought within a week and are new to the history. query_recall: of what was
    bought so, the share that was written. any_hit: histories with one hit at least. first_hits: share of the
    first 10 queries. facts: share of the written facts that were true and to the point, NaN without any.
    """

    histories: int
    answered: float
    points: float
    queries: float
    trigger_rouge: float
    trigger_match: float
    query_hits: float
    query_recall: float
    any_hit: float
    first_hits: float
    facts: float


def judge_network(
    stored: StoredNetwork, data: Dataset, part: str, count: int, seed: int, *, threads: int = 1
) -> dict[str, PointFigures]:
    """Of the network, and of association offered as many queries a history.

    Raises TrainingError, DatasetError."""
    torch.set_num_threads(threads)
    counted = training_counts(data)
    sample = cases(data, part, count, seed)
    reference = list(reference_points(sample, counted))
    reasoner = NetworkReasoner.of(stored, data, FactBook(counted))
    written = list(reasoner.points([case.history for case in sample]))
    facts = reasoner.facts.share if reasoner.facts.written else float("nan")
    own = figures_of(written, reference, sample, facts)
    most = max(1, round(own.queries))
    counts_alone = list(association_points(sample, counted, most))
    return {
        reasoner.name: own,
        ASSOCIATION: figures_of(counts_alone, reference, sample, 1.0),
    }


def association_points(sample: Sequence[Case], counted: Association, most: int) -> Iterator[Reasoned]:
    """Points of the `most` new queries that the lines' scores speak for, as if these had been bought."""
    for case in sample:
        texts = list(dict.fromkeys(line.text for line in case.history.lines[:LINES]))
        known = {normalise_query(text) for text in texts}
        offered: dict[str, float] = {}
        for text in texts:
            for query, score in counted.candidates(text):
                if normalise_query(query) not in known:
                    offered[query] = offered.get(query, 0.0) + score
        best = sorted(offered, key=lambda query: (-offered[query], query))[:most]
        guessed = replace(case, bought=tuple((query, 0) for query in best))
        yield from reference_points([guessed], counted)


def figures_of(
    written: Sequence[Reasoned], reference: Sequence[Reasoned], sample: Sequence[Case], facts: float
) -> PointFigures:
    """All three in the same order of histories; see PointFigures."""
    answered = [one for one in written if one.points]
    places, matches, hits = [], [], []
    for one, other, case in zip(written, reference, sample, strict=True):
        places += [_at_place(one.points, place, point) for place, point in enumerate(other.points)]
        matches += [_best(one.points, point) for point in other.points]
        hits.append(_Hits.of(one, case))
    queries = sum(one.written for one in hits)
    return PointFigures(
        histories=len(written),
        answered=len(answered) / max(len(written), 1),
        points=sum(len(one.points) for one in answered) / max(len(answered), 1),
        queries=queries / max(len(answered), 1),
        trigger_rouge=_mean(places),
        trigger_match=_mean(matches),
        query_hits=sum(one.hits for one in hits) / max(queries, 1),
        query_recall=_mean([one.hits / one.new for one in hits if one.new]),
        any_hit=_mean([float(one.hits > 0) for one in hits if one.new]),
        first_hits=sum(one.first_hits for one in hits) / max(sum(min(one.written, 10) for one in hits), 1),
        facts=facts,
    )


@dataclass(frozen=True, slots=True)
class _Hits:
    """Of one history: queries written, hits among all and among the first ten, new queries bought."""

    written: int
    hits: int
    first_hits: int
    new: int

    @classmethod
    def of(cls, one: Reasoned, case: Case) -> _Hits:
        known = {normalise_query(line.text) for line in case.history.lines}
        new = {normalise_query(text) for text, _ in case.bought} - known
        asked = list(dict.fromkeys(normalise_query(query) for point in one.points for query in point.queries))
        return cls(len(asked), len(new.intersection(asked)), len(new.intersection(asked[:10])), len(new))


def _at_place(points: Sequence[InterestPoint], place: int, wanted: InterestPoint) -> float:
    return trigger_reward(points[place].triggers, wanted.triggers) if place < len(points) else 0.0


def _best(points: Sequence[InterestPoint], wanted: InterestPoint) -> float:
    return max((trigger_reward(point.triggers, wanted.triggers) for point in points), default=0.0)


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if len(values) else 0.0
