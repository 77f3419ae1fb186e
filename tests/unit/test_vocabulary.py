"""The vocabulary of an evaluation: numbers, categories and directions of all phrases."""

from __future__ import annotations

import numpy as np
import pytest

from streams.errors import TrainingError
from tests.small_vocabulary import Plane, plane_vocabulary, purchases_of
from training.vocabulary import Vocabulary, vocabulary_of


@pytest.fixture(scope="module")
def vocabulary() -> Vocabulary:
    return plane_vocabulary()


def near(values: object) -> object:
    return pytest.approx(values, nan_ok=True, abs=0.01)


def test_a_phrase_belongs_to_the_category_it_is_bought_in_most() -> None:
    rows = [("tea", "z"), ("tea", "a"), ("tea", "z"), ("milk", "b"), ("milk", "a"), ("caviar", "z")]
    made = vocabulary_of([("milk", 2), ("tea", 1)], purchases_of(rows), Plane())
    assert made.number == {"milk": 0, "tea": 1, "caviar": 2}
    assert made.lexicon_size == 2
    assert made.categories.tolist() == [0, 1, 1]  # a, z, z
    assert made.counts.tolist() == [2, 1, 1]


def test_units_have_length_one_and_a_text_without_words_none(vocabulary: Vocabulary) -> None:
    assert np.linalg.norm(vocabulary.units, axis=1) == pytest.approx(np.ones(5))
    assert vocabulary.cosines[0] == near([1.0, 0.0, 0.6, -1.0, 0.8])
    wordless = vocabulary_of([("?", 1)], purchases_of([("?", "x")]), Plane())
    assert wordless.units.tolist() == [[0.0, 0.0]]


@pytest.mark.parametrize("lexicon", [[], [("milk", 0)], [("milk", 2), ("milk", 1)]])
def test_a_lexicon_that_makes_no_sense_is_refused(lexicon: list[tuple[str, int]]) -> None:
    with pytest.raises(TrainingError, match="lexicon"):
        vocabulary_of(lexicon, purchases_of([("milk", "dairy")]), Plane())
