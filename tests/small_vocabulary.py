"""A vocabulary of five phrases in a plane, and cases of an evaluation with given truths."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from streams.hint_request import Int8, to_int8
from training.evaluation.cases import Cases
from training.vocabulary import Vocabulary, vocabulary_of

LEXICON = [("milk", 8), ("soap", 4), ("yogurt", 2), ("beer", 2)]  # shares 1/2, 1/4, 1/8, 1/8
CATEGORY = {"milk": "dairy", "yogurt": "dairy", "soap": "household", "beer": "drinks", "caviar": "fish"}
UNIT = {
    "milk": (1.0, 0.0),
    "yogurt": (0.6, 0.8),
    "soap": (0.0, 1.0),
    "beer": (-1.0, 0.0),
    "caviar": (0.8, 0.6),
}


class Plane:
    """A text encoder of two dimensions; a text that it does not know is zeros."""

    name = "plane"
    dim = 2

    def embed(self, text: str) -> Int8:
        """e(text)·127."""
        return to_int8(np.array(UNIT.get(text, (0.0, 0.0)), np.float32))


def purchases_of(rows: Sequence[tuple[str, str]]) -> pl.DataFrame:
    """Of (phrase, category), as far as a vocabulary reads them."""
    return pl.DataFrame(rows, schema=["phrase", "category_phrase"], orient="row")


def plane_vocabulary() -> Vocabulary:
    """Numbers: milk, soap, yogurt, beer; caviar, which the lexicon lacks, is the last."""
    return vocabulary_of(LEXICON, purchases_of(list(CATEGORY.items())), Plane())


def cases_with(truths: list[set[str]], new: list[set[str]]) -> Cases:
    """Next-basket cases of which only the truths matter."""
    count = len(truths)
    zeros, none = np.zeros(count, np.int64), [frozenset[str]()] * count
    frozen = [frozenset(truth) for truth in truths]
    frozen_new = [frozenset(truth) for truth in new]
    return Cases("next_basket", np.arange(count), zeros, zeros, zeros, none, frozen, none, frozen_new, zeros)
