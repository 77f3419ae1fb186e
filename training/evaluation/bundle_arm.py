"""What a bundle serves: its graph's lists, filtered, ordered by its ranker, without what is held just then.

Sessions are rebuilt from the purchases (training.sessions), for a bundle's generator reads requests and not
the arrays that a data set keeps; for December this takes some minutes. A list holds at most the graph's K
hints, and a graph cannot be told to leave out what is owned: figures that read 30 queries, or novel lists,
are those of what is left of K, and not to be held against other arms'.
"""

from __future__ import annotations

from itertools import islice
from typing import Final

import polars as pl

from agents.hints.bundle import Bundle
from agents.hints.filters import filter_candidates
from agents.hints.generator import Candidate
from streams.hint_request import HintRequest
from training.datasets.dataset import Dataset
from training.evaluation.cases import TASK_NAMES, Cases
from training.evaluation.counting_arms import left_out
from training.progress import progress
from training.sessions import Sample, SampleMaker

BATCH: Final = 32
Key = tuple[str, int]  # task, basket


class BundleArm:
    """A Recommender. Lists are made as of the case's time: when the shop is opened, or amid the basket."""

    def __init__(self, bundle: Bundle, data: Dataset, part: str) -> None:
        self._written: dict[Key, list[str]] = {}
        self._served: dict[Key, list[str]] = {}
        span = getattr(data.split, part)
        numbers = {query: number for number, query in enumerate(bundle.lexicon)}
        maker = SampleMaker(bundle.encoder, numbers, span, honest=True, opened=True, seed=data.about["seed"])
        purchases = _who_shops(data.purchases, span.start_ms, span.end_ms)
        pairs = maker.pairs(purchases, data.behaviours)
        expected = sum(data.about["counts"][f"samples-{part}"].values())
        with progress("bundle", expected) as report:
            while batch := list(islice(pairs, BATCH)):
                self._add(bundle, batch)
                report(min(expected, len(self._served)), "lists")

    def __call__(self, cases: Cases, novel: bool) -> list[list[str]]:
        """As every Recommender; raises KeyError for a case of another data set."""
        return [
            [
                query
                for query in self._served[cases.task, int(basket)]
                if query not in left_out(cases, case, novel)
            ]
            for case, basket in enumerate(cases.baskets)
        ]

    def written(self, cases: Cases) -> list[list[str]]:
        """The graph's own lists, before any filter."""
        return [self._written[cases.task, int(basket)] for basket in cases.baskets]

    def _add(self, bundle: Bundle, batch: list[tuple[Sample, HintRequest]]) -> None:
        lists = bundle.generator.generate([request for _, request in batch])
        for (sample, request), candidates in zip(batch, lists, strict=True):
            key = (TASK_NAMES[sample.task], sample.basket_id)
            self._written[key] = [candidate.query for candidate in candidates]
            self._served[key] = _served(bundle, candidates, request, sample.time_ms)


def _served(bundle: Bundle, candidates: list[Candidate], request: HintRequest, time_ms: int) -> list[str]:
    """As agents.hints.compose writes it and a reader shows it at once."""
    kept, _ = filter_candidates(candidates, request)
    if bundle.ranker is not None:
        kept = bundle.ranker.order(kept, request)
    read_ms = max(time_ms, request.version.as_of_ms)
    return [candidate.query for candidate in kept if candidate.held_until_ms <= read_ms]


def _who_shops(purchases: pl.DataFrame, start_ms: int, end_ms: int) -> pl.DataFrame:
    """All up to the span's end, of those who buy in it."""
    until = purchases.filter(pl.col("time_ms") < end_ms)
    inside = until.filter(pl.col("time_ms") >= start_ms)["household_id"].unique()
    return until.filter(pl.col("household_id").is_in(inside.to_list()))
