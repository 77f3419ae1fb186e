"""The task "next basket": a shopper opens the home page; which 10 hints meet what is bought now?

Every basket of a span is one context. What may be used is what happened strictly before the basket's
time; a second basket of the same household in the same second is no history. The truth is the set of
the basket's items. An item is a hint: a phrase. (`items_baskets` also builds the task over other columns.)

Recall is capped at 10, as in the design: hits / min(10, items of the basket), averaged over baskets.
A repeated hint counts once; hints beyond the tenth are not read.

>>> recall_at_10(["milk", "eggs"], {"milk", "bananas"})
0.5
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import polars as pl

from training.datasets.complete_journey import Span

LIST_LENGTH = 10


class Context(NamedTuple):
    """Who asks, and when: epoch ms, the basket's own time. History ends strictly before it."""

    household_id: int
    time_ms: int


@dataclass(frozen=True, slots=True)
class NextBasketTask:
    """B contexts in order of (time, household, basket), each with what was then bought.

    `truths`: items of the basket. `new_truths`: those of them that the household bought for the first
    time in the data; empty for many.
    """

    contexts: list[Context]
    truths: list[frozenset[str]]
    new_truths: list[frozenset[str]]


@dataclass(frozen=True, slots=True)
class NextBasketScores:
    """Recall over all items of a basket, and over the new ones (baskets without new items left out)."""

    recall_at_10: float
    baskets: int
    new_recall_at_10: float
    baskets_with_new: int


# Lists of hints, best first, for B contexts in the order they are given (time order).
Recommender = Callable[[Sequence[Context]], Sequence[Sequence[str]]]


def items_baskets(purchases: pl.DataFrame, item: str = "phrase") -> pl.DataFrame:
    """One row per basket in time order: household_id, time_ms, basket_id, items, new_items (sorted lists).

    `item` names the column to recommend from. An item is new where no earlier basket of the household
    in `purchases` holds it: give the whole year, not the span that is judged.
    """
    first_ms = pl.col("time_ms").min().over("household_id", "item")
    return (
        purchases.select("household_id", "time_ms", "basket_id", pl.col(item).alias("item"))
        .unique()
        .with_columns((first_ms == pl.col("time_ms")).alias("new"))
        .sort("item")
        .group_by("household_id", "time_ms", "basket_id", maintain_order=True)
        .agg(pl.col("item").alias("items"), pl.col("item").filter("new").alias("new_items"))
        .sort("time_ms", "household_id", "basket_id")
    )


def next_basket_task(baskets: pl.DataFrame, span: Span) -> NextBasketTask:
    """The task over the baskets of a span; `baskets` as `items_baskets` gives them."""
    rows = baskets.filter(pl.col("time_ms").is_between(span.start_ms, span.end_ms, closed="left"))
    return NextBasketTask(
        contexts=[Context(*row) for row in rows.select("household_id", "time_ms").iter_rows()],
        truths=[frozenset(items) for items in rows["items"].to_list()],
        new_truths=[frozenset(items) for items in rows["new_items"].to_list()],
    )


def recall_at_10(hints: Sequence[str], truth: Collection[str]) -> float:
    """Hits among the first 10 hints / min(10, |truth|), 0 to 1; `truth` must not be empty."""
    hits = len(set(hints[:LIST_LENGTH]).intersection(truth))
    return hits / min(LIST_LENGTH, len(truth))


def evaluate_next_basket(recommend: Recommender, task: NextBasketTask) -> NextBasketScores:
    """Ask once for all contexts, judge every list. Raises ValueError when a list is missing."""
    lists = recommend(task.contexts)
    recalls = _recalls(lists, task.truths)
    new_recalls = _recalls(lists, task.new_truths)
    return NextBasketScores(
        recall_at_10=_mean(recalls),
        baskets=len(recalls),
        new_recall_at_10=_mean(new_recalls),
        baskets_with_new=len(new_recalls),
    )


def _recalls(lists: Sequence[Sequence[str]], truths: Sequence[frozenset[str]]) -> list[float]:
    return [recall_at_10(hints, truth) for hints, truth in zip(lists, truths, strict=True) if truth]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0
