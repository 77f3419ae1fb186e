"""What a training run knows of words before it begins: lexicon, tokenizer and the encoder's table."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from training.embeddings import phrase_vectors, word_table
from training.lexicon import build_lexicon, train_tokenizer


class TextModel(NamedTuple):
    """lexicon: (query, count), most popular first. tokenizer: JSON. table: (tokens, D) float16."""

    lexicon: list[tuple[str, int]]
    tokenizer: bytes
    table: npt.NDArray[np.float16]


def text_model_of(purchases: pl.DataFrame, texts: Iterable[str]) -> TextModel:
    """From the purchases of the training span; `texts`: all phrases and categories to know the words of."""
    lexicon = build_lexicon(purchases)
    tokenizer = train_tokenizer(texts)
    queries = [query for query, _ in lexicon]
    weights = np.log1p([count for _, count in lexicon])
    table = word_table(tokenizer, queries, phrase_vectors(purchases, queries), weights.tolist())
    return TextModel(lexicon, tokenizer, table)
