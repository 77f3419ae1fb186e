"""The encoder's table: products bought together, by the same households or of one category lie near.

Meaning: three views of the phrases are laid side by side: how much more often than by chance two stand in
one basket, how much more often in one household's year (both as positive PMI with context smoothing 0.75,
Levy et al. 2015, "Improving Distributional Similarity"), and the category; then a truncated SVD.
Identity: an interest is a sum of embeddings, and what a household buys by habit is to be read off it again.
For that the best D directions are the principal ones of households' decayed purchases. Their rows are long
for popular phrases and short for rare ones, so in the sum of both parts popular phrases keep apart from
each other, and rare ones lie with their category.

Ridge regression then spreads the vectors over the phrases' words, so that the encoder needs words only.
Everything is dense linear algebra on about 1,600 phrases: seconds, and no seed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl
from tokenizers import Tokenizer

from agents.session.interest import InterestPolicy
from training.lexicon import word_forms
from training.neighbours import co_occurrence

Float64 = npt.NDArray[np.float64]

DIM: Final = 64  # D
CONTEXT_SMOOTHING: Final = 0.75
HOUSEHOLD_WEIGHT: Final = 0.5
CATEGORY_WEIGHT: Final = 0.5
IDENTITY_WEIGHT: Final = 10.0
HALF_LIFE_MS: Final = InterestPolicy().shopper_half_life_ms
SNAPSHOT_MS: Final = 14 * 86_400_000
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
    return _unit(_reduced(np.hstack(views), DIM) + IDENTITY_WEIGHT * _principal(known, items, len(queries)))


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


def _principal(known: pl.DataFrame, items: npt.NDArray[np.int64], count: int) -> Float64:
    """(V, D): principal directions of households' decayed purchases, looked at every SNAPSHOT_MS."""
    _, household = np.unique(known["household_id"].to_numpy(), return_inverse=True)
    times = known["time_ms"].to_numpy()
    span = (times - times.min()) // SNAPSHOT_MS
    decayed = np.zeros((int(household.max()) + 1, count), np.float32)
    gram = np.zeros((count, count))
    for step in range(int(span.max()) + 1):
        decayed *= np.float32(2.0 ** (-SNAPSHOT_MS / HALF_LIFE_MS))
        inside = span == step
        np.add.at(decayed, (household[inside], items[inside]), np.float32(1.0))
        directions = _unit(decayed)
        gram += directions.T @ directions
    _, vectors = np.linalg.eigh(gram)
    return np.asarray(vectors[:, -DIM:], np.float64)


def _together(groups: npt.NDArray[np.int64], items: npt.NDArray[np.int64], count: int) -> Float64:
    """(V, V): in how many groups two items stand together; the diagonal is zero."""
    counts = co_occurrence(groups, items, count)
    np.fill_diagonal(counts, 0.0)
    return counts


def _ppmi(together: Float64) -> Float64:
    """Positive pointwise mutual information; contexts are smoothed, so that rare ones do not dominate."""
    joint = together / together.sum()
    context = together.sum(axis=0) ** CONTEXT_SMOOTHING
    expected = joint.sum(axis=1, keepdims=True) * (context / context.sum())[None, :]
    ratio = np.divide(joint, expected, out=np.ones_like(joint), where=(expected > 0) & (joint > 0))
    positive: Float64 = np.maximum(np.log(ratio), 0.0)
    return positive


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
    view = _unit(view)
    centred: Float64 = view - view.mean(axis=0, keepdims=True)
    return centred


def _reduced(view: Float64, dim: int) -> Float64:
    """(V, dim) unit vectors: left singular vectors, weighted by the root of their singular values."""
    left, values, _ = np.linalg.svd(view, full_matrices=False)
    return _unit(left[:, :dim] * np.sqrt(values[:dim]))


def _unit(rows: npt.NDArray[np.floating]) -> Float64:
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9), np.float64)
