"""What every generator has to beat on the next basket: popularity, habit, and popularity among new items.

All are updated basket by basket: a list made at time T has seen every basket of every household that
is strictly older than T, and nothing else.

    python -m training.baselines [phrase|phrased-type|type]     scores of December as JSON
"""

from __future__ import annotations

import sys
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from functools import partial
from heapq import nsmallest
from typing import NamedTuple

import orjson
import polars as pl

from training.datasets.complete_journey import REPORT, WHOLE_YEAR, load_lines, load_purchases
from training.next_basket import (
    LIST_LENGTH,
    Context,
    NextBasketScores,
    evaluate_next_basket,
    items_baskets,
    next_basket_task,
)

DAY_MS = 86_400_000
HABIT_HALF_LIFE_MS = 90 * DAY_MS


class Basket(NamedTuple):
    """One basket of one household; `time_ms` is epoch ms."""

    household_id: int
    time_ms: int
    items: list[str]


def popularity(baskets: pl.DataFrame, contexts: Sequence[Context]) -> list[list[str]]:
    """Per context the 10 items that stand in most older baskets; ties by name.

    `baskets` as `items_baskets` gives them. B contexts in, B lists out, in the contexts' order.
    """
    lists: list[list[str]] = [[]] * len(contexts)
    counts: Counter[str] = Counter()
    for position, arrived in _arrivals(baskets, contexts):
        for basket in arrived:
            counts.update(basket.items)
        lists[position] = _top(counts)
    return lists


def habit(
    baskets: pl.DataFrame, contexts: Sequence[Context], half_life_ms: int = HABIT_HALF_LIFE_MS
) -> list[list[str]]:
    """Per context the 10 items that its household bought most often, older baskets counting less.

    A basket's weight halves every `half_life_ms`. Ties go to the item that is more popular; a short list
    is filled up with popular items. Same shapes as `popularity`.
    """
    lists: list[list[str]] = [[]] * len(contexts)
    counts: Counter[str] = Counter()
    weights: defaultdict[int, defaultdict[str, float]] = defaultdict(lambda: defaultdict(float))
    for position, arrived in _arrivals(baskets, contexts):
        for basket in arrived:
            counts.update(basket.items)
            # Growing weights instead of shrinking sums: the order is the same at any later time.
            weight = 2.0 ** ((basket.time_ms - WHOLE_YEAR.start_ms) / half_life_ms)
            for item in basket.items:
                weights[basket.household_id][item] += weight
        favourites = _top_by(weights[contexts[position].household_id], counts)
        lists[position] = favourites if len(favourites) == LIST_LENGTH else _filled(favourites, _top(counts))
    return lists


def new_popularity(baskets: pl.DataFrame, contexts: Sequence[Context]) -> list[list[str]]:
    """Per context the 10 most popular items that its household has never bought. Shapes as `popularity`."""
    lists: list[list[str]] = [[]] * len(contexts)
    counts: Counter[str] = Counter()
    owned: defaultdict[int, set[str]] = defaultdict(set)
    for position, arrived in _arrivals(baskets, contexts):
        for basket in arrived:
            counts.update(basket.items)
            owned[basket.household_id].update(basket.items)
        known = owned[contexts[position].household_id]
        lists[position] = _top(Counter({item: n for item, n in counts.items() if item not in known}))
    return lists


def score_baselines(purchases: pl.DataFrame, item: str = "phrase") -> dict[str, NextBasketScores]:
    """Scores of the baselines on the reported month; `purchases` must hold the year before it as well."""
    baskets = items_baskets(purchases, item)
    task = next_basket_task(baskets, REPORT)
    return {
        "popularity": evaluate_next_basket(partial(popularity, baskets), task),
        "habit": evaluate_next_basket(partial(habit, baskets), task),
        "new_popularity": evaluate_next_basket(partial(new_popularity, baskets), task),
    }


def _arrivals(baskets: pl.DataFrame, contexts: Sequence[Context]) -> Iterator[tuple[int, list[Basket]]]:
    """For each context, in time order: its position, and the baskets older than it that are new to us."""
    rows = [Basket(*row) for row in baskets.select("household_id", "time_ms", "items").iter_rows()]
    rows.sort(key=lambda basket: basket.time_ms)
    start = 0
    for position in sorted(range(len(contexts)), key=lambda place: contexts[place].time_ms):
        end = start
        while end < len(rows) and rows[end].time_ms < contexts[position].time_ms:
            end += 1
        yield position, rows[start:end]
        start = end


def _top(counts: Counter[str]) -> list[str]:
    return nsmallest(LIST_LENGTH, counts, key=lambda item: (-counts[item], item))


def _top_by(weights: dict[str, float], counts: Counter[str]) -> list[str]:
    return nsmallest(LIST_LENGTH, weights, key=lambda item: (-weights[item], -counts[item], item))


def _filled(favourites: list[str], popular: list[str]) -> list[str]:
    return [*favourites, *(item for item in popular if item not in favourites)][:LIST_LENGTH]


def _items(over: str) -> tuple[pl.DataFrame, str]:
    if over == "type":  # also what has no phrase, e.g. deposits
        return load_lines().filter(pl.col("product_type") != ""), "product_type"
    return load_purchases(), {"phrase": "phrase", "phrased-type": "type_id"}[over]


def _main(over: str) -> None:
    scores = score_baselines(*_items(over))
    report = {name: asdict(score) for name, score in scores.items()}
    sys.stdout.buffer.write(orjson.dumps(report, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))


if __name__ == "__main__":
    _main(sys.argv[1] if len(sys.argv) > 1 else "phrase")
