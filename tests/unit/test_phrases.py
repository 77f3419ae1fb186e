"""The hand-written phrase table: complete enough, typed like a shopper types, and free of source jargon."""

from __future__ import annotations

import re
from collections import Counter

import polars as pl
import pytest

from training.datasets.complete_journey import PHRASES_PATH, TYPE_KEY, load_lines, load_phrases

PLAIN_WORDS = re.compile(r"[a-z0-9][a-z0-9'%]*( [a-z0-9][a-z0-9'%]*)*")
SOURCE_JARGON = re.compile(
    r"\b(frzn|rfrgrtd|refrig|refrgratd|refrgrated|ckn|chix|sft|drnks?|drk|btl|sngl|srv|svc|misc|cnd|iws|sv|bev|jce"
    r"|jc|conc|prep|fds?|sw|gds|sal|prpc?k|ppk|prslc|hbc|wtr|mlt|pk|oz|lb|bn|veg|pwdr|crystl|mxs?|dnrs?|sgl|mach"
    r"|choc|pnt|btr|spry|supp|c?ntrl|cntl|rtd|rts|brkfst|whlsm|bkd|trsh|bg|fre|frz|iqf|rw|brd|grnd|ptty|stk|chp|slc"
    r"|hygn|fem|nat|pkgd?|pkld|dl|spec|qsr)\b"
)


@pytest.fixture(scope="module")
def phrases() -> pl.DataFrame:
    return load_phrases()


def words_of(table: pl.DataFrame) -> list[str]:
    return [*table["phrase"], *table["category_phrase"]]


def test_phrases_cover_at_least_97_percent_of_the_purchase_lines(phrases: pl.DataFrame) -> None:
    lines = load_lines()
    covered = lines.join(phrases, on=TYPE_KEY, how="semi").height
    assert lines.height == 1_469_307
    assert covered / lines.height >= 0.97


def test_every_row_of_the_table_names_a_product_type_that_was_sold(phrases: pl.DataFrame) -> None:
    assert phrases.join(load_lines(), on=TYPE_KEY, how="anti").height == 0


def test_no_product_type_has_two_phrases(phrases: pl.DataFrame) -> None:
    keys = Counter(phrases.select(TYPE_KEY).iter_rows())
    assert [key for key, count in keys.items() if count > 1] == []


def test_phrases_are_one_to_four_plain_lower_case_words_of_at_most_40_characters(
    phrases: pl.DataFrame,
) -> None:
    odd = [
        phrase
        for phrase in phrases["phrase"]
        if len(phrase) > 40 or len(phrase.split()) > 4 or not PLAIN_WORDS.fullmatch(phrase)
    ]
    assert odd == []


def test_category_phrases_are_plain_lower_case_words(phrases: pl.DataFrame) -> None:
    assert [text for text in phrases["category_phrase"] if not PLAIN_WORDS.fullmatch(text)] == []


def test_no_abbreviation_of_the_source_is_left(phrases: pl.DataFrame) -> None:
    assert [text for text in words_of(phrases) if SOURCE_JARGON.search(text)] == []


def test_the_best_sold_types_have_the_words_a_shopper_types(phrases: pl.DataFrame) -> None:
    table = dict(phrases.select("product_type", "phrase").iter_rows())
    assert table["FLUID MILK WHITE ONLY"] == "milk"
    assert table["BANANAS"] == "bananas"
    assert table["MAINSTREAM WHITE BREAD"] == "white bread"


def test_the_file_is_sorted_so_that_changes_are_easy_to_review() -> None:
    rows = PHRASES_PATH.read_text(encoding="utf-8").splitlines()[1:]
    keys = [tuple(row.split("\t")[:2]) for row in rows]
    assert keys == sorted(keys)
