"""Every entry of the mapping that ships has evidence, and the log gives the same numbers again.

The log is The Complete Journey itself; nothing that mining wrote on the way is read.
"""

from __future__ import annotations

import random
from pathlib import Path

import orjson
import polars as pl
import pytest

from agents.think.version_folder import read_current
from streams.deny_file import read_deny_file
from training.datasets.complete_journey import DENIED_PATH, TRAIN, load_phrases, load_purchases
from training.think.review.checks import Floors
from training.think.review.evidence import recount
from training.think.versions.lint import lint_folder
from training.think.versions.served import Served, read_served

ROOT = Path(__file__).parents[2] / "exported_models" / "think-complete-journey"
SAMPLE = 60
NOT_OF_A_LOG = {"similarity": 0.0, "click": None}


@pytest.fixture(scope="module")
def version() -> str:
    return read_current(ROOT)


@pytest.fixture(scope="module")
def entries(version: str) -> list[Served]:
    return list(read_served(ROOT, version))


@pytest.fixture(scope="module")
def purchases() -> pl.DataFrame:
    texts = pl.col("phrase", "category_phrase").cast(pl.Categorical)  # a million lines, a thousand texts
    return load_purchases(TRAIN).select("household_id", "time_ms", "basket_id", texts)


def test_the_version_is_whole_and_each_served_entry_has_its_evidence(version: str) -> None:
    assert [one for one in lint_folder(ROOT, [version]) if one.name != "current"] == []


def test_a_sample_of_entries_is_counted_again_from_the_log(
    entries: list[Served], purchases: pl.DataFrame
) -> None:
    for one in random.Random(4).sample(entries, SAMPLE):
        plain = recount(
            one.trigger, one.query, purchases, until_ms=one.evidence.until_ms, days=one.evidence.days
        )
        assert one.evidence.model_copy(update=NOT_OF_A_LOG) == plain, (one.trigger, one.query)


def test_the_baskets_of_all_entries_are_counted_again_in_one_join(
    entries: list[Served], purchases: pl.DataFrame
) -> None:
    lines = purchases.select("basket_id", pl.col("phrase", "category_phrase").cast(pl.String))
    held = pl.concat(
        [
            lines.select("basket_id", "phrase", trigger="phrase"),
            lines.select("basket_id", "phrase", trigger="category_phrase"),
        ]
    ).unique()
    sold = lines.select("basket_id", query="phrase").unique()
    told = pl.DataFrame(
        [(one.trigger, one.query, one.evidence.baskets) for one in entries], _TOLD, orient="row"
    )
    counted = (
        told.lazy()
        .join(held.lazy(), on="trigger")
        .filter(pl.col("phrase") != pl.col("query"))
        .select("trigger", "query", "basket_id")
        .join(sold.lazy(), on=["query", "basket_id"])
        .unique()
        .group_by("trigger", "query")
        .len("counted")
        .collect()
    )
    both = told.join(counted, on=["trigger", "query"], how="left").with_columns(
        pl.col("counted").fill_null(0)
    )
    assert both.height == len(entries) > 10_000
    assert both.filter(pl.col("baskets") != pl.col("counted")).rows() == []


def test_nothing_was_counted_after_the_training_span(entries: list[Served]) -> None:
    assert {one.evidence.until_ms for one in entries} == {TRAIN.end_ms}


def test_every_entry_stands_above_the_reviews_floors_and_names_who_approved_it(entries: list[Served]) -> None:
    floors = Floors()
    for one in entries:
        assert max(one.evidence.baskets, one.evidence.after) >= floors.baskets
        assert one.evidence.households >= floors.households
        assert one.review.by in ("rules", "rules+corrections", "person")
        assert one.review.reason


def test_every_text_is_of_our_table_and_none_is_denied(entries: list[Served]) -> None:
    table = load_phrases()
    queries, known = set(table["phrase"]), {*table["phrase"], *table["category_phrase"]}
    denied = read_deny_file(DENIED_PATH)
    for one in entries:
        assert one.query in queries
        assert one.trigger in known
        assert denied.denying(one.query) is None, one.query


def test_no_list_is_of_one_reasoners_invention(version: str) -> None:
    manifest = orjson.loads((ROOT / version / "manifest.json").read_bytes())
    assert manifest["review"]["approved_without_evidence"] == 0
    assert manifest["counts"]["entries"] == manifest["files"]["evidence.jsonl"]["count"]


_TOLD = {"trigger": pl.String, "query": pl.String, "baskets": pl.Int64}
