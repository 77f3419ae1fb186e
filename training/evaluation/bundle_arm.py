"""What a bundle serves: its graph's lists, filtered, ordered by its ranker, as a reader shows them at once.

Sessions are rebuilt from the purchases (training.evaluation.moments), for a bundle's generator reads requests
and not the arrays that a data set keeps; for December this takes some minutes. A list holds at most the
graph's K hints, and a graph cannot be told to leave out what is owned: figures that read 30 queries, or novel
lists, are those of what is left of K, and not to be held against other arms'.
"""

from __future__ import annotations

from itertools import islice
from typing import Final

from agents.hints.bundle import Bundle
from agents.hints.compose import composed_of
from streams.hint_answer import Tiers, personal
from streams.hint_list import HintList
from training.datasets.dataset import Dataset
from training.evaluation.cases import Cases
from training.evaluation.moments import Key, Moments, Source, moments_of
from training.progress import progress

BATCH: Final = 32


class BundleArm:
    """A Recommender. Lists are made as of the case's time: when the shop is opened, or amid the basket.

    moments: of the cases, for other arms that are asked at the same times.
    """

    def __init__(self, bundle: Bundle, data: Dataset, part: str) -> None:
        self._written: dict[Key, list[str]] = {}
        self._lists: dict[Key, HintList] = {}
        self.moments = Moments({})
        sources = moments_of(data, part, bundle.encoder, list(bundle.lexicon))
        expected = sum(data.about["counts"][f"samples-{part}"].values())
        with progress("bundle", expected) as report:
            while batch := list(islice(sources, BATCH)):
                self._add(bundle, batch)
                report(min(expected, len(self._lists)), "lists")

    def __call__(self, cases: Cases, novel: bool) -> list[list[str]]:
        """As every Recommender; raises KeyError for a case of another data set."""
        return self.moments.pages(cases, novel, lambda key, _: self.tiers(key))

    def tiers(self, key: Key) -> Tiers:
        """The user's own list, as a reader finds it."""
        return Tiers(own=tuple(personal([self._lists[key]])), held=self._lists[key].held)

    def written(self, cases: Cases) -> list[list[str]]:
        """The graph's own lists, before any filter."""
        return [self._written[cases.task, int(basket)] for basket in cases.baskets]

    def _add(self, bundle: Bundle, batch: list[Source]) -> None:
        requests = [source.request for source in batch]
        contexts = bundle.generator.contexts(requests)
        written = bundle.generator.write(contexts)
        composed = composed_of(requests, contexts, written, bundle, generated_at_ms=0)
        for (key, _, moment), candidates, made in zip(batch, written, composed, strict=True):
            self.moments.of[key] = moment
            self._written[key] = [candidate.query for candidate in candidates]
            self._lists[key] = made.hints
