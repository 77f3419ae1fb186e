"""One normal form for queries: what is the same to a shopper is the same to us."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.query_text import normalise_query


@given(st.text())
def test_normalising_twice_changes_nothing_more(text: str) -> None:
    once = normalise_query(text)
    assert normalise_query(once) == once


@given(st.text())
def test_a_normal_form_is_one_line_without_outer_or_double_spaces(text: str) -> None:
    assert normalise_query(text) == " ".join(normalise_query(text).split())


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Milk", "mILK"),
        ("  whole\t milk\n", "whole milk"),
        ("Straße", "STRASSE"),
        ("cre\u0300me", "crème"),
        ("ﬁsh", "fish"),
        ("ＭＩＬＫ", "milk"),
        ("ΟΔΟΣ", "οδος"),
        ("a\u00a0b", "a b"),
    ],
)
def test_spellings_of_one_query_have_one_normal_form(one: str, other: str) -> None:
    assert normalise_query(one) == normalise_query(other)


@pytest.mark.parametrize(("one", "other"), [("milk", "milks"), ("crème", "creme"), ("ı", "i"), ("a b", "ab")])
def test_different_queries_stay_different(one: str, other: str) -> None:
    assert normalise_query(one) != normalise_query(other)
