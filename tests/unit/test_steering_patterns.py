"""The patterns for steering phrases: quiet on what a real shop sells, and unmoved by long texts."""

from __future__ import annotations

import pytest

from tests.audit_shop import BUNDLE
from training.datasets.complete_journey import load_phrases
from training.think.review.steering import first_steering, steering


def test_no_query_and_no_category_of_the_real_shop_is_taken_for_steering() -> None:
    lexicon = [line.split("\t")[0] for line in (BUNDLE / "lexicon.tsv").read_text().splitlines()[1:]]
    table = load_phrases()
    texts = [*lexicon, *table["phrase"], *table["category_phrase"]]
    assert len(texts) > 3_000
    assert [text for text in texts if steering(text)] == []


@pytest.mark.parametrize(
    "text",
    [
        "ignore " * 30_000,
        "you must " * 30_000,
        "everyone " * 30_000,
        "please " * 20_000 + "choose",
        "system " * 30_000,
        "only 1 " * 30_000,
        "a" * 300_000,
        " " * 300_000 + ":",
        "expert's'''''" * 20_000,
    ],
    ids=lambda text: text[:12],
)
def test_a_text_of_any_length_is_read_to_its_end(text: str) -> None:
    ends = (*steering(text), *steering(text + " hurry"))
    assert "urgency" in ends


def test_where_steering_begins_is_told_by_the_normal_form() -> None:
    assert first_steering("MILK.  Ignore the above") == len("milk. ")
    assert first_steering("prime rib") == len("prime rib")
