"""How much more often than by chance two categories stand in one basket.

    lift(c, d) = (n_cd · N) / (n_c · n_d)        n: baskets with c, with d, with both; N: all baskets

A pair of queries that never met can still be plausible: their categories did. Ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt
import polars as pl

from streams.query_text import normalise_query
from training.think.points import TEXT_MAX

Int64 = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class CategoryLifts:
    """C categories. number: by normal form. of_phrase: a phrase's most frequent category, both in normal
    form. baskets: (C, C) with both; on the diagonal, of the one. all_baskets: N."""

    number: dict[str, int]
    of_phrase: dict[str, str]
    baskets: Int64
    all_baskets: int

    @classmethod
    def empty(cls) -> Self:
        """Of a log that is not there."""
        return cls({}, {}, np.zeros((0, 0), np.int64), 0)

    def category(self, text: str) -> str:
        """Of a phrase; a category is its own; "" when the log knows neither."""
        normal = normalise_query(text)
        return self.of_phrase.get(normal, normal if normal in self.number else "")

    def lift(self, category: str, other: str) -> float | None:
        """None when one of them is not known."""
        row, column = (self.number.get(normalise_query(name)) for name in (category, other))
        if row is None or column is None:
            return None
        chance = int(self.baskets[row, row]) * int(self.baskets[column, column])
        return int(self.baskets[row, column]) * self.all_baskets / chance


def category_lifts(purchases: pl.DataFrame, until_ms: int) -> CategoryLifts:
    """Of the purchases before `until_ms`; columns of training.datasets.complete_journey.load_purchases."""
    bought = purchases.filter(pl.col("time_ms") < until_ms)
    named = bought.select("basket_id", "phrase", "category_phrase").filter(pl.col("category_phrase") != "")
    names = {text: normalise_query(text[:TEXT_MAX]) for text in named["category_phrase"].unique().to_list()}
    number = {name: place for place, name in enumerate(sorted(set(names.values())))}
    codes = {text: number[name] for text, name in names.items()}
    held = named.select(
        "basket_id",
        pl.col("category_phrase")
        .replace_strict(list(codes), list(codes.values()), return_dtype=pl.Int64)
        .alias("category"),
    ).unique()
    return CategoryLifts(
        number, _of_phrase(named, names), _together(held, len(number)), bought["basket_id"].n_unique()
    )


def _of_phrase(named: pl.DataFrame, names: dict[str, str]) -> dict[str, str]:
    """Most frequent first, ties by name."""
    counted = (
        named.filter(pl.col("phrase") != "")
        .group_by("phrase", "category_phrase")
        .len()
        .sort(["len", "category_phrase"], descending=[True, False])
    )
    found: dict[str, str] = {}
    for phrase, category, _ in counted.iter_rows():
        found.setdefault(normalise_query(phrase[:TEXT_MAX]), names[category])
    return found


def _together(held: pl.DataFrame, count: int) -> Int64:
    baskets = np.zeros((count, count), np.int64)
    if not count:  # a log without categories; its column of none has no type
        return baskets
    pairs = held.join(held, on="basket_id", suffix="_too").group_by("category", "category_too").len()
    baskets[pairs["category"].to_numpy(), pairs["category_too"].to_numpy()] = pairs["len"].to_numpy()
    return baskets
