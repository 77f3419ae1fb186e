"""What the click ranker knows of a shopper and a query: F numbers, each of which a never-seen query has, too.

Live ordering, training and the reward of IL-GRPO read them from this one function. The paper's production
ranker knows items by id (§3.5.1 leaves open how a never-seen query gets its features); ours knows a query by
its embedding, its popularity and the shopper's own past with it; for a new one these are zero or small.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from agents.hints.context import AGE_STEPS, COUNT_STEPS, VISIT_AGE, Contexts
from streams.hint_request import to_unit

RANKING_FEATURES: Final = (
    "visit",  # cosine of the visit's interest and the query
    "shopper",  # cosine of the shopper's interest and the query
    "nearest",  # greatest cosine of a behaviour in the window and the query, at least 0
    "along",  # sum of the cosines above 0 of the last hour's behaviours, log(1 + ·)
    "log_popularity",  # log(1 + the query's count) / 10
    "count",  # log2(1 + the shopper's decayed count of the query)
    "count_share",  # of the shopper's greatest count, 0 to 1
    "age",  # log2(1 + hours since the query last came up) / 10; 0 without a past
    "unknown",  # 1 when it never came up
    "past",  # log(1 + sum of the shopper's counts) / 5
    "under_way",  # 1 when a behaviour is less than an hour old
    "quiet",  # log2(1 + hours since anything came up) / 10
)
F: Final = len(RANKING_FEATURES)

Float32 = npt.NDArray[np.float32]
Int64 = npt.NDArray[np.int64]


def ranking_features(contexts: Contexts, units: Float32, log_popularity: Float32, numbers: Int64) -> Float32:
    """(B, N, F) float32 of N queries for each of B contexts.

    units: (N, D) embeddings. log_popularity: (N,), log(1 + count). numbers: (N,) in the lexicon that the
    contexts were made with, -1 for a query that it lacks. Each context may have N queries of its own: then
    all three have B in front.
    """
    across = np.swapaxes(units, -1, -2)
    interests = to_unit(contexts.interests) @ across  # (B, 2, N)
    window = np.maximum(to_unit(contexts.events) @ across, 0.0)  # (B, L, N)
    now = ((contexts.ages > 0) & (contexts.ages <= VISIT_AGE)).astype(np.float32)
    counts, ages = _past(contexts, numbers)
    habit_counts = np.exp2(contexts.habits[:, :, 1] / np.float32(COUNT_STEPS)) - 1.0
    habit_counts = np.where(contexts.habits[:, :, 0] > 0, habit_counts, 0.0).astype(np.float32)
    most = np.maximum(counts_code(habit_counts.max(1)), 1e-6)[:, None]
    every = np.ones_like(counts)
    columns = (
        interests[:, 0],
        interests[:, 1],
        window.max(1),
        np.log1p((window * now[:, :, None]).sum(1)),
        every * log_popularity / 10.0,
        counts,
        counts / most,
        np.where(counts > 0, ages, 0.0) / 10.0,
        (counts == 0).astype(np.float32),
        every * np.log1p(habit_counts.sum(1))[:, None] / 5.0,
        every * now.max(1)[:, None],
        every * _quiet(contexts)[:, None] / 10.0,
    )
    return np.stack(columns, -1).astype(np.float32)


def counts_code(counts: Float32) -> Float32:
    """log2(1 + count), as contexts hold it."""
    coded: Float32 = np.log2(1.0 + counts)
    return coded


def _past(contexts: Contexts, numbers: Int64) -> tuple[Float32, Float32]:
    """Counts and ages of the queries in each context's past, (B, N) both, as log2(1 + ·); 0 without one."""
    rows = np.arange(len(contexts))[:, None]
    size = max(int(contexts.habits[:, :, 0].max(initial=0)), int(numbers.max(initial=-1)) + 1) + 1
    found = np.zeros((2, len(contexts), size), np.float32)
    places = contexts.habits[:, :, 0].astype(np.int64)
    found[0, rows, places] = contexts.habits[:, :, 1] / COUNT_STEPS
    found[1, rows, places] = contexts.habits[:, :, 2] / AGE_STEPS
    found[:, :, 0] = 0.0  # padding, and queries without a number
    columns = np.broadcast_to(numbers + 1, (len(contexts), numbers.shape[-1]))
    return found[0][rows, columns], found[1][rows, columns]


def _quiet(contexts: Contexts) -> Float32:
    """(B,): log2(1 + hours) since the last thing that came up; 0 without a past."""
    shown = contexts.habits[:, :, 0] > 0
    ages = np.where(shown, contexts.habits[:, :, 2] / AGE_STEPS, np.inf).min(1)
    return np.where(np.isfinite(ages), ages, 0.0).astype(np.float32)
