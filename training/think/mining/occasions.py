"""A log as mining reads it: who met which text when, in arrays that count fast.

An *occasion* is a basket, or a moment in which a household searched without a basket following (a log's own
searches alone; simulated ones are no log). On an occasion stand *lines*: each purchase is one under its
phrase and one under its category, each search is one under its text. A text is one trigger, whichever of
the three it was: it is looked up by its text. Texts are told apart by their normal form
(streams.query_text) and shown as they stand in the log first.

An occasion holds the trigger t for the query q when a line of t stands on it that is not q's own purchase:
so the category "apples" leads to "gala apples" only through other apples.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from agents.session.interest import ACTION_CODES
from streams.errors import DatasetError
from streams.query_text import normalise_query
from streams.records import Action
from training.think.points import TEXT_MAX, TriggerKind

Int64 = npt.NDArray[np.int64]

DAY_MS: Final = 86_400_000
NO_BASKET: Final = -1
SEARCHED: Final = -1  # the phrase of a line that is a search
KINDS: Final[tuple[TriggerKind, ...]] = ("item", "query", "category")
_OCCASION: Final = ("household_id", "time_ms", "basket_id")


@dataclass(frozen=True)
class Occasions:
    """O occasions in order of household, time and basket; L lines; T triggers; V queries.

    household: (O,) from 0, by order. time_ms, basket_id: (O,); NO_BASKET for a search alone. baskets: how
    many are baskets. line_occasion, line_trigger, line_query: (L,), each triple once, in order of occasion;
    line_query is SEARCHED for a search. bought_occasion, bought_query: (M,) likewise. triggers, queries:
    texts. kinds, of the triggers: "item" if it was ever bought, else "query" if searched, else "category".
    categories: of the queries.
    """

    household: Int64
    time_ms: Int64
    basket_id: Int64
    baskets: int
    line_occasion: Int64
    line_trigger: Int64
    line_query: Int64
    bought_occasion: Int64
    bought_query: Int64
    triggers: list[str]
    kinds: list[TriggerKind]
    queries: list[str]
    categories: list[str]

    @cached_property
    def trigger_number(self) -> dict[str, int]:
        """By normal form."""
        return {normalise_query(text): place for place, text in enumerate(self.triggers)}

    @cached_property
    def query_number(self) -> dict[str, int]:
        """By normal form."""
        return {normalise_query(text): place for place, text in enumerate(self.queries)}

    def windows(self, days: int) -> tuple[Int64, Int64]:
        """(O,) each: from where, and up to where, the household's later occasions of `days` days stand."""
        start = self.time_ms.min(initial=0)
        stride = int(self.time_ms.max(initial=0) - start) + days * DAY_MS + 2
        place = self.household * stride + (self.time_ms - start)
        first = np.searchsorted(place, place, side="right")
        return first, np.searchsorted(place, place + days * DAY_MS, side="right")


def occasions_of(purchases: pl.DataFrame, until_ms: int, behaviours: pl.DataFrame | None = None) -> Occasions:
    """What stands in the log before `until_ms`.

    purchases: columns of training.datasets.complete_journey.load_purchases. behaviours: of a log
    (training.datasets.shop_frames), for its searches. Raises DatasetError when nothing was bought.
    """
    bought = purchases.filter(pl.col("time_ms") < until_ms)
    if not bought.height:
        raise DatasetError("Nothing was bought before that time.", action="Take a later time, or more data.")
    lines = pl.concat([_bought_lines(bought), _searched_lines(behaviours, until_ms)])
    occasions = lines.select(_OCCASION).unique().sort(_OCCASION).with_row_index("occasion")
    texts = lines.filter(pl.col("is_query"))["text"].unique()
    queries = _numbered(texts)
    categories = _categories(bought, queries)
    triggers = _numbered(lines["text"].unique())
    lines = (
        lines.join(occasions, on=_OCCASION)
        .with_columns(
            _as_number("text", triggers).alias("trigger"),
            _as_number("phrase", queries).fill_null(SEARCHED).alias("query"),
        )
        .sort("occasion", "trigger", "query")
    )
    distinct = lines.select("occasion", "trigger", "query").unique(maintain_order=True)
    sold = distinct.filter(pl.col("query") != SEARCHED).select("occasion", "query").unique()
    sold = sold.sort("occasion", "query")
    _, household = np.unique(occasions["household_id"].to_numpy(), return_inverse=True)
    return Occasions(
        household=household.astype(np.int64),
        time_ms=occasions["time_ms"].to_numpy(),
        basket_id=occasions["basket_id"].to_numpy(),
        baskets=occasions.filter(pl.col("basket_id") != NO_BASKET).height,
        line_occasion=_whole(distinct["occasion"]),
        line_trigger=_whole(distinct["trigger"]),
        line_query=_whole(distinct["query"]),
        bought_occasion=_whole(sold["occasion"]),
        bought_query=_whole(sold["query"]),
        triggers=_shown(triggers),
        kinds=_kinds(lines),
        queries=_shown(queries),
        categories=categories,
    )


def _whole(column: pl.Series) -> Int64:
    return np.asarray(column.cast(pl.Int64).to_numpy(), np.int64)


def _bought_lines(bought: pl.DataFrame) -> pl.DataFrame:
    named = bought.filter(pl.col("phrase") != "").with_columns(pl.col("phrase").str.slice(0, TEXT_MAX))
    of = named.select(*_OCCASION, text="phrase", phrase="phrase", kind=pl.lit(0), is_query=pl.lit(True))
    within = named.filter(pl.col("category_phrase") != "").select(
        *_OCCASION,
        text=pl.col("category_phrase").str.slice(0, TEXT_MAX),
        phrase="phrase",
        kind=pl.lit(2),
        is_query=pl.lit(False),
    )
    return pl.concat([of, within])


def _searched_lines(behaviours: pl.DataFrame | None, until_ms: int) -> pl.DataFrame:
    if behaviours is None:
        return pl.DataFrame(schema=_LINES)
    searched = behaviours.filter(
        (pl.col("action") == ACTION_CODES[Action.SEARCH])
        & (pl.col("at_ms") < until_ms)
        & (pl.col("time_ms") < until_ms)
        & (pl.col("text") != "")
    )
    return searched.select(
        "household_id",
        "time_ms",
        pl.col("basket_id").fill_null(NO_BASKET),
        text=pl.col("text").str.slice(0, TEXT_MAX),
        phrase=pl.lit(None, pl.String),
        kind=pl.lit(1),
        is_query=pl.lit(False),
    )


def _numbered(texts: Iterable[str]) -> dict[str, int]:
    """Each text's number; texts of one normal form have the same."""
    numbers: dict[str, int] = {}
    found: dict[str, int] = {}
    for text in sorted(texts):
        found[text] = numbers.setdefault(normalise_query(text), len(numbers))
    return found


def _shown(numbers: dict[str, int]) -> list[str]:
    first = {number: text for text, number in reversed(numbers.items())}
    return [first[number] for number in range(len(first))]


def _as_number(column: str, numbers: dict[str, int]) -> pl.Expr:
    return pl.col(column).replace_strict(
        list(numbers), list(numbers.values()), default=None, return_dtype=pl.Int64
    )


def _categories(bought: pl.DataFrame, queries: dict[str, int]) -> list[str]:
    """Each query's most frequent category, ties by name."""
    counted = (
        bought.select(_as_number("phrase", queries).alias("query"), "category_phrase")
        .drop_nulls()
        .group_by("query", "category_phrase")
        .len()
        .sort(["query", "len", "category_phrase"], descending=[False, True, False])
        .unique("query", keep="first", maintain_order=True)
    )
    return [str(name)[:TEXT_MAX] for name in counted["category_phrase"].to_list()]


def _kinds(lines: pl.DataFrame) -> list[TriggerKind]:
    """Of each trigger, by number."""
    lowest = lines.group_by("trigger").agg(pl.col("kind").min()).sort("trigger")
    return [KINDS[place] for place in lowest["kind"].to_list()]


_LINES: Final = {
    "household_id": pl.Int64,
    "time_ms": pl.Int64,
    "basket_id": pl.Int64,
    "text": pl.String,
    "phrase": pl.String,
    "kind": pl.Int32,
    "is_query": pl.Boolean,
}
