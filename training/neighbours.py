"""What is bought together: counts of pairs, and the item-to-item model that is made from them.

EASE (Steck 2019, "Embarrassingly Shallow Autoencoders for Sparse Data") in closed form: with C_pq the number
of baskets that hold p and q (C_pp: that hold p),

    P = (C + ridge · I)^−1,   E_pq = −P_pq / P_qq,   E_pp = 0

E_pq is what the sight of p in a basket adds to the chance of q, beyond what the other queries already say;
so it finds what is new to a household better than pairwise cosines do. Only the N strongest of a query are
kept: with 32 of 1,644 the lists for November's baskets were as good as with all.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

EASE_RIDGE: Final = 300.0  # baskets
NEIGHBOURS: Final = 32  # N
CHUNK: Final = 8_192

Float32 = npt.NDArray[np.float32]
Int64 = npt.NDArray[np.int64]


class Neighbours(NamedTuple):
    """Of each query the N that it speaks for or against most: numbers (V, N) and strengths (V, N)."""

    numbers: Int64
    strengths: Float32


def neighbours_of(
    purchases: pl.DataFrame, number: dict[str, int], count: int = NEIGHBOURS, ridge: float = EASE_RIDGE
) -> Neighbours:
    """Neighbours of the queries by the baskets of `purchases`; `number`: lexicon number by phrase."""
    known = purchases.filter(pl.col("phrase").is_in(list(number)))
    items = np.array([number[phrase] for phrase in known["phrase"].to_list()], np.int64)
    strengths = ease(co_occurrence(known["basket_id"].to_numpy(), items, len(number)), ridge)
    numbers = np.argsort(-np.abs(strengths), axis=1, kind="stable")[:, :count]
    return Neighbours(numbers, np.take_along_axis(strengths, numbers, 1))


def ease(together: npt.NDArray[np.float64], ridge: float) -> Float32:
    """E (V, V) of the counts C (V, V)."""
    inverse = np.linalg.inv(together + ridge * np.eye(len(together)))
    strengths: Float32 = (-inverse / np.diag(inverse)).astype(np.float32)
    np.fill_diagonal(strengths, 0.0)
    return strengths


def co_occurrence(groups: npt.NDArray[np.int64], items: Int64, count: int) -> npt.NDArray[np.float64]:
    """(V, V): in how many groups two items stand together, and on the diagonal each by itself.

    groups, items: (n,), one pair of a group and an item 0..count−1 each; pairs may come twice.
    """
    _, rows = np.unique(groups, return_inverse=True)
    counts = np.zeros((count, count), np.float32)
    for start in range(0, int(rows.max(initial=-1)) + 1, CHUNK):
        inside = (rows >= start) & (rows < start + CHUNK)
        present = np.zeros((CHUNK, count), np.float32)
        present[rows[inside] - start, items[inside]] = 1.0
        counts += present.T @ present
    return counts.astype(np.float64)
