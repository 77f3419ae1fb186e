"""The evidence of an entry, counted again in a plain and slow way straight from the purchases.

Shares nothing with training.think.mining.association but the two rules that Evidence states in words: what
makes a line the trigger's, and how an example is named. Tests sample served entries and compare; so can
anybody.
"""

from __future__ import annotations

from hashlib import sha256
from math import sqrt
from typing import Final

import polars as pl

from agents.session.interest import ACTION_CODES
from streams.query_text import normalise_query
from streams.records import Action
from training.datasets.complete_journey import HABIT_HALF_LIFE_MS
from training.think.points import TEXT_MAX, Evidence

LABEL: Final = "aigq-think-basket"
_DAY_MS: Final = 86_400_000
_KEY: Final = ("household_id", "time_ms", "basket_id")


def recount(
    trigger: str,
    query: str,
    purchases: pl.DataFrame,
    *,
    until_ms: int,
    days: int,
    behaviours: pl.DataFrame | None = None,
    half_life_ms: int = HABIT_HALF_LIFE_MS,
) -> Evidence:
    """Evidence of (trigger, query) as training.think.mining.association gives it, but for `similarity` (0
    here) and `click` (None here), which no log can be asked about.

    Of `purchases` (columns of training.datasets.complete_journey.load_purchases) and of a log's searches
    (`behaviours`), what stands before `until_ms` counts.
    """
    bought = purchases.filter(pl.col("time_ms") < until_ms, pl.col("phrase") != "")
    sold = bought.filter(pl.col("phrase").is_in(_texts(bought["phrase"], query))).select(_KEY).unique()
    held = pl.concat([_bought(trigger, query, bought), _searched(trigger, behaviours, until_ms)]).unique()
    both = held.join(sold, on=_KEY).sort("time_ms", "basket_id", descending=[True, False])
    after = held.join(sold, on="household_id", suffix="_then").filter(
        pl.col("time_ms_then") > pl.col("time_ms"),
        pl.col("time_ms_then") <= pl.col("time_ms") + days * _DAY_MS,
    )
    baskets, trigger_baskets, query_baskets = both.height, held.height, sold.height
    all_baskets = bought["basket_id"].n_unique()
    ages_ms = [until_ms - time_ms for time_ms in both["time_ms"].to_list()]
    starts_ms = [bought["time_ms"].min(), _searches(behaviours, until_ms)["time_ms"].min()]
    start_ms = min((int(start) for start in starts_ms if isinstance(start, int)), default=until_ms)
    share = baskets / trigger_baskets if trigger_baskets else 0.0
    return Evidence(
        until_ms=until_ms,
        days=days,
        baskets=baskets,
        after=after.height,
        households=pl.concat([both["household_id"], after["household_id"]]).n_unique(),
        trigger_baskets=trigger_baskets,
        query_baskets=query_baskets,
        all_baskets=all_baskets,
        decayed=round(sum(2.0 ** (-age_ms / half_life_ms) for age_ms in ages_ms), 3),
        low=round(_wilson_low(baskets, trigger_baskets), 6),
        lift=round(share / (query_baskets / all_baskets), 4) if query_baskets else 0.0,
        later=_later(held, sold),
        newest_days=min(ages_ms, default=until_ms - start_ms) // _DAY_MS,
        similarity=0.0,
        examples=tuple(_named(basket_id) for basket_id in both["basket_id"].head(3).to_list()),
    )


def _texts(column: pl.Series, text: str) -> list[str]:
    """What of the column has the normal form of `text`."""
    own = normalise_query(text)
    return [one for one in column.unique().to_list() if normalise_query(one[:TEXT_MAX]) == own]


def _bought(trigger: str, query: str, bought: pl.DataFrame) -> pl.DataFrame:
    """Baskets with a purchase whose phrase or category is the trigger and that is not the query's own."""
    own, within = (_texts(bought[column], trigger) for column in ("phrase", "category_phrase"))
    return bought.filter(
        pl.col("phrase").is_in(own) | pl.col("category_phrase").is_in(within),
        ~pl.col("phrase").is_in(_texts(bought["phrase"], query)),
    ).select(_KEY)


def _searched(trigger: str, behaviours: pl.DataFrame | None, until_ms: int) -> pl.DataFrame:
    """Baskets that the trigger was searched for, and moments in which it was searched without one."""
    searches = _searches(behaviours, until_ms)
    is_trigger = pl.col("text").is_in(_texts(searches["text"], trigger))
    return searches.filter(is_trigger).select("household_id", "time_ms", pl.col("basket_id").fill_null(-1))


def _searches(behaviours: pl.DataFrame | None, until_ms: int) -> pl.DataFrame:
    if behaviours is None:
        return pl.DataFrame(schema=_SEARCHES)
    return behaviours.filter(
        pl.col("action") == ACTION_CODES[Action.SEARCH],
        pl.col("at_ms") < until_ms,
        pl.col("time_ms") < until_ms,
        pl.col("text") != "",
    ).select(list(_SEARCHES))


def _later(held: pl.DataFrame, sold: pl.DataFrame) -> int:
    first = pl.col("time_ms").min()
    met = held.group_by("household_id").agg(first)
    then = sold.group_by("household_id").agg(first.alias("then_ms"))
    households = met.join(then, on="household_id")
    if not households.height:
        return 0
    after = households.filter(pl.col("then_ms") > pl.col("time_ms")).height
    return round(100 * after / households.height)


def _wilson_low(hits: int, trials: int, z: float = 1.96) -> float:
    if not hits:
        return 0.0
    share = hits / trials
    spread = z * sqrt(share * (1 - share) / trials + z**2 / (4 * trials**2))
    return max((share + z**2 / (2 * trials) - spread) / (1 + z**2 / trials), 0.0)


def _named(basket_id: int) -> str:
    return sha256(f"{LABEL}:{basket_id}".encode()).hexdigest()[:16]


_SEARCHES: Final = {
    "household_id": pl.Int64,
    "time_ms": pl.Int64,
    "basket_id": pl.Int64,
    "text": pl.String,
}
