"""When a case asks, and what is known then: its request, its triggers, what was just done.

A case is a moment of one shopper: when the shop is opened, or amid a basket. Sessions are rebuilt from the
purchases with the functions of live sessions (training.sessions).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import polars as pl

from agents.hints.filters import recently_done
from agents.session.step import TextEncoder
from streams.hint_answer import Tiers, merge
from streams.hint_request import HintRequest
from streams.query_text import normalise_query
from training.datasets.dataset import Dataset
from training.evaluation.cases import TASK_NAMES, Cases
from training.evaluation.counting_arms import LONGEST_LIST, left_out
from training.sessions import SampleMaker

Key = tuple[str, int]  # task, basket


@dataclass(frozen=True, slots=True)
class Moment:
    """triggers: newest first. held: as in a hint list. read_ms: when the page is shown."""

    triggers: tuple[str, ...]
    held: dict[str, int]
    read_ms: int


class Source(NamedTuple):
    """A case's request, and its moment."""

    key: Key
    request: HintRequest
    moment: Moment


@dataclass(frozen=True, slots=True)
class Moments:
    """The moments of a part's cases."""

    of: dict[Key, Moment]

    def pages(
        self, cases: Cases, novel: bool, tiers: Callable[[Key, Moment], Tiers], think_places: int = 0
    ) -> list[list[str]]:
        """What a reader shows of the tiers on a page of 30, without what an evaluation leaves out.

        Raises KeyError for a case of another data set.
        """
        pages = []
        for case, basket in enumerate(cases.baskets.tolist()):
            moment = self.of[cases.task, basket]
            closed = frozenset(map(_normal, left_out(cases, case, novel)))
            found = tiers((cases.task, basket), moment)
            chosen, _ = merge(found, closed, LONGEST_LIST, moment.read_ms, think_places=think_places)
            pages.append([hint.query for hint, _ in chosen])
        return pages


def moments_of(data: Dataset, part: str, encoder: TextEncoder, lexicon: list[str]) -> Iterator[Source]:
    """Every case of the part, in the order of its samples."""
    span = getattr(data.split, part)
    numbers = {query: number for number, query in enumerate(lexicon)}
    maker = SampleMaker(encoder, numbers, span, honest=True, opened=True, seed=data.about["seed"])
    purchases = _who_shops(data.purchases, span.start_ms, span.end_ms)
    for sample, request in maker.pairs(purchases, data.behaviours):
        read_ms = max(sample.time_ms, request.version.as_of_ms)
        moment = Moment(request.triggers, recently_done(request), read_ms)
        yield Source((TASK_NAMES[sample.task], sample.basket_id), request, moment)


_normal = lru_cache(maxsize=65_536)(normalise_query)


def _who_shops(purchases: pl.DataFrame, start_ms: int, end_ms: int) -> pl.DataFrame:
    """All up to the span's end, of those who buy in it."""
    until = purchases.filter(pl.col("time_ms") < end_ms)
    inside = until.filter(pl.col("time_ms") >= start_ms)["household_id"].unique()
    return until.filter(pl.col("household_id").is_in(inside.to_list()))
