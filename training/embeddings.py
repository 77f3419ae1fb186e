"""The encoder's table: products bought together, by the same households or of one category lie near.

Three views of the phrases are laid side by side: how much more often than by chance two stand in one
basket, how much more often in one household's year (both as positive PMI with context smoothing 0.75,
Levy et al. 2015, "Improving Distributional Similarity"), and the category. Their truncated SVD gives each
phrase a vector; ridge regression spreads the vectors over the phrases' words, so that the encoder needs
words only. Everything is dense linear algebra on about 1,600 phrases: seconds, and no seed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl
from tokenizers import Tokenizer

from training.lexicon import word_forms

Float64 = npt.NDArray[np.float64]

DIM: Final = 64  # D
CONTEXT_SMOOTHING: Final = 0.75
HOUSEHOLD_WEIGHT: Final = 0.5
CATEGORY_WEIGHT: Final = 0.5
RIDGE: Final = 0.02
FORM_WEIGHT: Final = 0.5  # of a phrase in another form (singular, plural) beside the phrase itself


def phrase_vectors(purchases: pl.DataFrame, queries: Sequence[str]) -> Float64:
    """(V, D) unit vectors of the queries, from the purchases they were bought in."""
    number = {query: index for index, query in enumerate(queries)}
    known = purchases.filter(pl.col("phrase").is_in(list(queries)))
    items = np.array([number[phrase] for phrase in known["phrase"].to_list()])
    views = [
        _scaled(_ppmi(_together(known["basket_id"].to_numpy(), items, len(queries)))),
        HOUSEHOLD_WEIGHT * _scaled(_ppmi(_together(known["household_id"].to_numpy(), items, len(queries)))),
        CATEGORY_WEIGHT * _scaled(_category_view(known, number)),
    ]
    return _reduced(np.hstack(views), DIM)


def word_table(
    tokenizer_json: bytes, queries: Sequence[str], vectors: Float64, weights: Sequence[float]
) -> npt.NDArray[np.float16]:
    """(tokens, D) float16: rows whose mean over a query's tokens is nearest to its vector.

    weights: how much each query's error counts. Rows of tokens that stand in no query are zeros.
    """
    tokenizer = Tokenizer.from_str(tokenizer_json.decode())
    texts, targets, importance = _with_forms(queries, vectors, np.asarray(weights, np.float64))
    bags = np.zeros((len(texts), tokenizer.get_vocab_size()))
    for row, encoding in enumerate(tokenizer.encode_batch(texts, add_special_tokens=False)):
        np.add.at(bags[row], encoding.ids, 1.0 / len(encoding.ids))
    used = np.flatnonzero(bags.any(axis=0))
    design = bags[:, used] * importance[:, None]
    gram = design.T @ bags[:, used] + RIDGE * np.eye(len(used))
    table = np.zeros((tokenizer.get_vocab_size(), vectors.shape[1]), np.float16)
    table[used] = np.linalg.solve(gram, design.T @ targets)
    return table


def _with_forms(
    queries: Sequence[str], vectors: Float64, weights: Float64
) -> tuple[list[str], Float64, Float64]:
    """Queries and their singular and plural forms, each with its target and weight."""
    texts, rows, importance = [], [], []
    for row, query in enumerate(queries):
        *head, last = query.split()
        for place, form in enumerate(word_forms(last)):
            texts.append(" ".join((*head, form)))
            rows.append(row)
            importance.append(weights[row] * (FORM_WEIGHT if place else 1.0))
    return texts, vectors[rows], np.array(importance)


def _together(groups: npt.NDArray[np.int64], items: npt.NDArray[np.int64], count: int) -> Float64:
    """(V, V): in how many groups two items stand together; the diagonal is zero."""
    _, rows = np.unique(groups, return_inverse=True)
    counts = np.zeros((count, count), np.float32)
    chunk = 8_192
    for start in range(0, int(rows.max()) + 1, chunk):
        inside = (rows >= start) & (rows < start + chunk)
        present = np.zeros((chunk, count), np.float32)
        present[rows[inside] - start, items[inside]] = 1.0
        counts += present.T @ present
    np.fill_diagonal(counts, 0.0)
    return counts.astype(np.float64)


def _ppmi(together: Float64) -> Float64:
    """Positive pointwise mutual information; contexts are smoothed, so that rare ones do not dominate."""
    joint = together / together.sum()
    context = together.sum(axis=0) ** CONTEXT_SMOOTHING
    expected = joint.sum(axis=1, keepdims=True) * (context / context.sum())[None, :]
    ratio = np.divide(joint, expected, out=np.ones_like(joint), where=(expected > 0) & (joint > 0))
    return np.maximum(np.log(ratio), 0.0)


def _category_view(known: pl.DataFrame, number: dict[str, int]) -> Float64:
    """(V, categories): 1 where the phrase belongs to the category."""
    pairs = known.select("phrase", "category_phrase").unique().sort("phrase", "category_phrase")
    categories = {
        name: place for place, name in enumerate(pairs["category_phrase"].unique().sort().to_list())
    }
    view = np.zeros((len(number), len(categories)))
    for phrase, category in pairs.iter_rows():
        view[number[phrase], categories[category]] = 1.0
    return view


def _scaled(view: Float64) -> Float64:
    """Rows of unit length (zeros stay), without the direction that all rows share."""
    view = view / np.maximum(np.linalg.norm(view, axis=1, keepdims=True), 1e-9)
    return view - view.mean(axis=0, keepdims=True)


def _reduced(view: Float64, dim: int) -> Float64:
    """(V, dim) unit vectors: left singular vectors, weighted by the root of their singular values."""
    left, values, _ = np.linalg.svd(view, full_matrices=False)
    vectors = left[:, :dim] * np.sqrt(values[:dim])
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)
