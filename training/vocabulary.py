"""What is known of every phrase of a data set: its number, count, category and embedding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import polars as pl

from agents.session.step import TextEncoder
from streams.errors import TrainingError
from streams.hint_request import to_unit

Int64 = npt.NDArray[np.int64]
Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Vocabulary:
    """P phrases, the V of the lexicon first, in its order; then phrases that it does not hold.

    number: phrase to its row. lexicon_size: V. counts: (P,) baskets that hold it, 1 for a phrase out of the
    lexicon. categories: (P,) number of the category it is bought in most, −1 for none. units: (P, D) of
    length 1, or 0 for a text without words.
    """

    number: dict[str, int]
    lexicon_size: int
    counts: Float64
    categories: Int64
    units: Float32

    @cached_property
    def cosines(self) -> Float32:
        """(P, P)."""
        return np.asarray(self.units @ self.units.T, np.float32)

    @cached_property
    def information(self) -> Float64:
        """(P,) −log2 of the popularity share: count / counts of the whole lexicon."""
        return np.asarray(-np.log2(self.counts / self.counts[: self.lexicon_size].sum()), np.float64)


def vocabulary_of(
    lexicon: Sequence[tuple[str, int]], purchases: pl.DataFrame, encoder: TextEncoder
) -> Vocabulary:
    """From the lexicon, most popular first, and purchases that hold every phrase of the truths.

    Raises TrainingError when the lexicon is empty, or a query has no count above 0 or stands twice.
    """
    number = {query: place for place, (query, _) in enumerate(lexicon)}
    if not number or len(number) < len(lexicon) or min(count for _, count in lexicon) <= 0:
        raise TrainingError(
            "The lexicon is empty, or holds a query twice or one that was never bought.",
            action="Build it again with training.lexicon.build_lexicon.",
        )
    category = _category_of(purchases)
    for phrase in sorted(category.keys() - number.keys()):
        number[phrase] = len(number)
    names = {name: place for place, name in enumerate(sorted(set(category.values())))}
    counts = np.ones(len(number))
    counts[: len(lexicon)] = [count for _, count in lexicon]
    categories = [names[category[phrase]] if phrase in category else -1 for phrase in number]
    vectors = to_unit(np.stack([encoder.embed(phrase) for phrase in number]))
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    units = np.asarray(vectors / np.where(lengths > 0, lengths, 1.0), np.float32)
    return Vocabulary(number, len(lexicon), counts, np.array(categories, np.int64), units)


def _category_of(purchases: pl.DataFrame) -> dict[str, str]:
    """Each phrase's most frequent category, ties by name."""
    counted = purchases.group_by("phrase", "category_phrase").len()
    ordered = counted.sort(["phrase", "len", "category_phrase"], descending=[False, True, False])
    first = ordered.unique("phrase", keep="first", maintain_order=True)
    return {str(phrase): str(name) for phrase, name in first.select("phrase", "category_phrase").iter_rows()}
