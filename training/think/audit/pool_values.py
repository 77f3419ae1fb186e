"""What a period says of queries after a trigger: the truth that pools are made of.

Counted from the validation span alone (November of The Complete Journey); what judges have learned ends
before it. Popularity, by which options are made alike, is the training span's.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import polars as pl

from streams.query_text import normalise_query
from training.datasets.complete_journey import HABIT_HALF_LIFE_MS
from training.datasets.dataset import Dataset
from training.think.mining.occasions import occasions_of
from training.think.mining.pair_counts import count_pairs

Int64 = npt.NDArray[np.int64]
Float64 = npt.NDArray[np.float64]


@dataclass(frozen=True)
class PoolValues:
    """Of T item triggers and V queries of the lexicon. baskets, trigger_baskets: (T, V) with both, and with
    the trigger (training.think.mining.occasions). popularity: (V,) the lexicon's counts."""

    triggers: list[str]
    queries: list[str]
    baskets: Int64
    trigger_baskets: Int64
    popularity: Float64

    @cached_property
    def shares(self) -> Float64:
        """(T, V) of the baskets with the trigger, those that hold the query."""
        return np.asarray(self.baskets / np.maximum(self.trigger_baskets, 1), np.float64)

    @cached_property
    def trigger_number(self) -> dict[str, int]:
        """By normal form."""
        return {normalise_query(text): place for place, text in enumerate(self.triggers)}


def pool_values(data: Dataset, trigger_baskets: int) -> PoolValues:
    """Counted over the validation span; triggers of so many baskets at least. Raises DatasetError."""
    span = data.split.validate
    bought = data.purchases.filter(pl.col("time_ms") >= span.start_ms)
    log = occasions_of(bought, span.end_ms)
    counts = count_pairs(
        log,
        until_ms=span.end_ms,
        days=1,
        half_life_ms=HABIT_HALF_LIFE_MS,  # of decayed counts, which are not read
        trigger_baskets_min=trigger_baskets,
    )
    popularity = {normalise_query(query): count for query, count in data.lexicon}
    rows = [at for at, number in enumerate(counts.triggers.tolist()) if log.kinds[number] == "item"]
    columns = [
        at
        for at, number in enumerate(counts.queries.tolist())
        if normalise_query(log.queries[number]) in popularity
    ]
    queries = [log.queries[number] for number in counts.queries[columns].tolist()]
    return PoolValues(
        triggers=[log.triggers[number] for number in counts.triggers[rows].tolist()],
        queries=queries,
        baskets=counts.baskets[np.ix_(rows, columns)],
        trigger_baskets=counts.trigger_baskets[np.ix_(rows, columns)],
        popularity=np.array([popularity[normalise_query(query)] for query in queries], np.float64),
    )
