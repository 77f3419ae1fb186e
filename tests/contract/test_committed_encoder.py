"""The committed encoder's geometry makes drift mean something."""

from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from agents.hints.bundle import load_encoder
from agents.hints.encoder import SubwordEncoder
from training.datasets.complete_journey import load_phrases

COMMITTED = Path(__file__).resolve().parents[2] / "exported_models" / "complete-journey"


@pytest.fixture(scope="module")
def encoder() -> SubwordEncoder:
    return load_encoder(COMMITTED)[0]


def cosine(encoder: SubwordEncoder, one: str, other: str) -> float:
    a, b = (encoder.embed(text).astype(float) / 127 for text in (one, other))
    return float(a @ b)


def test_phrases_of_one_category_are_near_and_others_far_on_average(encoder: SubwordEncoder) -> None:
    rows = load_phrases().select("phrase", "category_phrase").unique(subset="phrase").sort("phrase").rows()
    vectors = np.stack([encoder.embed(phrase) for phrase, _ in rows]).astype(float) / 127
    categories = np.array([category for _, category in rows])
    nearness = vectors @ vectors.T
    same = (categories[:, None] == categories[None, :]) & ~np.eye(len(rows), dtype=bool)
    assert nearness[same].mean() > 0.35
    assert abs(nearness[~same & ~np.eye(len(rows), dtype=bool)].mean()) < 0.05


@pytest.mark.parametrize(
    ("text", "near", "far"),
    [
        ("dry dog food", "dog treats", "toothpaste"),
        ("ice cream", "ice cream sandwiches", "motor oil"),
        ("gala apples", "apples", "cigarettes"),
        ("shampoo", "hair conditioner", "frozen pizza"),
    ],
)
def test_kin_is_nearer_than_a_stranger(encoder: SubwordEncoder, text: str, near: str, far: str) -> None:
    assert cosine(encoder, text, near) > cosine(encoder, text, far) + 0.2


def test_popular_phrases_stay_apart_from_each_other(encoder: SubwordEncoder) -> None:
    popular = ["milk", "bananas", "white bread", "soda cans", "potato chips", "beer"]
    assert max(cosine(encoder, a, b) for a, b in combinations(popular, 2)) < 0.5


def test_a_foreign_shops_titles_are_told_apart(encoder: SubwordEncoder) -> None:
    titles = [
        "Bosch GSR 12V-15 Akkuschrauber",
        "Nike Air Zoom Pegasus 41",
        "Кофемашина De'Longhi",
        "小米手机 15 Pro",
    ]
    assert max(cosine(encoder, a, b) for a, b in combinations(titles, 2)) < 0.4
