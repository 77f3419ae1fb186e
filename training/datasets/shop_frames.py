"""What was found in a shop's log as frames: purchases, hints with their clicks, and behaviours.

- A basket is what a person buys in one session without a pause of more than 30 minutes, numbered from 0.
  A session may live for months in some shops, and what is bought after a pause must not count as bought
  at the first purchase's time. A basket's time is that of its first purchase.
- A hint belongs to the person's first basket that starts with it or within a day after it. It is clicked if
  a hint_click of the person on the same query follows; of several impressions the latest is credited. A log
  does not say how its hints were chosen: their propensity is null.
- A search belongs to the basket between whose purchases it stands, else to the one that starts with it or
  within 30 minutes after it: the list before that basket was due before the search, too. Other searches are
  history from their own time on.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal, NamedTuple

import polars as pl

from agents.session.interest import ACTION_CODES
from streams.records import Action
from training.datasets.complete_journey import PURCHASE_ORDER
from training.sessions import NEXT

PAUSE_MS: Final = 30 * 60_000
BASKET_WITHIN_MS: Final = 86_400_000
BASKET: Final = ("household_id", "basket_id", "time_ms")


class LoggedPurchase(NamedTuple):
    """`order`: of the record in the log, from 1."""

    order: int
    person: str
    session: str
    at_ms: int
    type_id: str
    phrase: str
    category_phrase: str
    price: float


class LoggedHint(NamedTuple):
    """An impression, or a click on one; `position` from 0, None: unknown."""

    order: int
    person: str
    time_ms: int
    position: int | None
    query: str
    clicked: bool


class LoggedSearch(NamedTuple):
    """What was typed, and when."""

    order: int
    person: str
    at_ms: int
    query: str


def lines_of(bought: Sequence[LoggedPurchase], number: dict[str, int]) -> pl.DataFrame:
    """Each purchase with its basket (household_id, basket_id, time_ms), in the order of the log; `number`:
    household_id by person."""
    rows = [(number[entry.person], *entry[2:]) for entry in bought]
    lines = pl.DataFrame(rows, _BOUGHT, orient="row").with_columns(
        (pl.col("at_ms").diff().over("household_id", "session") > PAUSE_MS)
        .fill_null(False)
        .cum_sum()
        .over("household_id", "session")
        .alias("part")
    )
    key = ["household_id", "session", "part"]
    baskets = (
        lines.group_by(key, maintain_order=True)
        .agg(pl.col("at_ms").first().alias("time_ms"))
        .with_row_index("basket_id")
        .with_columns(pl.col("basket_id").cast(pl.Int64))
    )
    return lines.join(baskets, on=key, how="left", maintain_order="left")


def purchases_of(lines: pl.DataFrame) -> pl.DataFrame:
    """One row per basket and type; of a type's titles and categories the first is taken."""
    return (
        lines.group_by(*BASKET, "type_id", maintain_order=True)
        .agg(
            pl.col("phrase", "category_phrase").first(),
            pl.len().cast(pl.Int64).alias("quantity"),
            pl.col("price").sum().round(2).alias("sales_value"),
        )
        .sort(PURCHASE_ORDER)
    )


def impressions_of(
    shown: Sequence[LoggedHint], number: dict[str, int], purchases: pl.DataFrame
) -> pl.DataFrame:
    """In order of time; hints of one moment as they stand in the log."""
    rows = [(number[hint.person], *hint[2:]) for hint in shown]
    baskets = purchases.select(BASKET).unique().sort("time_ms", "basket_id")
    return (
        pl.DataFrame(rows, _SHOWN, orient="row")
        .join_asof(
            baskets,
            on="time_ms",
            by="household_id",
            strategy="forward",
            tolerance=BASKET_WITHIN_MS,
            check_sortedness=False,  # both are; with `by` polars cannot see it and warns
        )
        .with_columns(pl.lit(NEXT, pl.Int64).alias("task"), pl.lit(None, pl.Float64).alias("propensity"))
        .select("household_id", "basket_id", "time_ms", "task", "position", "query", "clicked", "propensity")
    )


def behaviours_of(
    lines: pl.DataFrame, searches: Sequence[LoggedSearch], number: dict[str, int]
) -> pl.DataFrame:
    """household_id, basket_id (null: of none), time_ms (of the basket; its own when of none), action (code of
    agents.session.interest), at_ms (its own time), text; the first purchase of each basket and type, and all
    searches of people who are in `number`. In order of household, time_ms, at_ms."""
    bought = (
        lines.group_by(*BASKET, "type_id", maintain_order=True)
        .agg(pl.col("at_ms").first(), pl.col("phrase").first().alias("text"))
        .with_columns(pl.lit(ACTION_CODES[Action.PURCHASE], pl.Int64).alias("action"))
        .select(*BASKET, "action", "at_ms", "text")
    )
    rows = [(number[entry.person], *entry[2:]) for entry in searches if entry.person in number]
    searched = _with_baskets(pl.DataFrame(rows, _SEARCHED, orient="row"), lines)
    return pl.concat([bought, searched]).sort("household_id", "time_ms", "at_ms", maintain_order=True)


def _with_baskets(searched: pl.DataFrame, lines: pl.DataFrame) -> pl.DataFrame:
    spans = lines.group_by(BASKET).agg(pl.col("at_ms").max().alias("last_ms")).sort("time_ms", "basket_id")
    amid = pl.col("at_ms") <= pl.col("last_ms")
    begun = _nearest(searched, spans, "backward")
    return _nearest(begun, spans, "forward", PAUSE_MS).select(
        pl.col("household_id"),
        pl.when(amid).then("basket_id").otherwise("basket_id_right").alias("basket_id"),
        pl.when(amid).then("time_ms").otherwise(pl.col("time_ms_right").fill_null(pl.col("at_ms"))),
        pl.lit(ACTION_CODES[Action.SEARCH], pl.Int64).alias("action"),
        pl.col("at_ms"),
        pl.col("text"),
    )


def _nearest(
    searched: pl.DataFrame,
    spans: pl.DataFrame,
    strategy: Literal["backward", "forward"],
    within_ms: int | None = None,
) -> pl.DataFrame:
    """With the household's basket that began last before, or begins first after, each search."""
    return searched.join_asof(
        spans,
        left_on="at_ms",
        right_on="time_ms",
        by="household_id",
        strategy=strategy,
        tolerance=within_ms,
        coalesce=False,
        check_sortedness=False,  # both are; with `by` polars cannot see it and warns
    )


_BOUGHT: Final = {
    "household_id": pl.Int64,
    "session": pl.String,
    "at_ms": pl.Int64,
    "type_id": pl.String,
    "phrase": pl.String,
    "category_phrase": pl.String,
    "price": pl.Float64,
}
_SHOWN: Final = {
    "household_id": pl.Int64,
    "time_ms": pl.Int64,
    "position": pl.Int64,
    "query": pl.String,
    "clicked": pl.Boolean,
}
_SEARCHED: Final = {"household_id": pl.Int64, "at_ms": pl.Int64, "text": pl.String}
