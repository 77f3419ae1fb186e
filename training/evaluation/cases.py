"""The cases of an evaluation: who asks, what the household owns by then, and what the basket still brings.

A case is one sample of one task, judged on real purchases. History is every purchase of the household
*strictly before* the case's time: a second basket of the same second is none. Rest of basket: what was
already bought of this basket is `seen`, and owned. A phrase is new where the household does not own it
yet. All of it is ours; the paper does not say what its truth is (§5.1.2).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from streams.errors import DatasetError
from training.sessions import NEXT, REST, Sample, Samples

TASK_NAMES: Final = {NEXT: "next_basket", REST: "rest_of_basket"}
COLD_START_EVENTS: Final = 5

Int64 = npt.NDArray[np.int64]
Bool = npt.NDArray[np.bool_]
Place = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Cases:
    """C cases of one task, in the order of the samples they were made from.

    rows: (C,) row of each case in the Samples. times_ms: (C,) epoch ms of the basket. seen: phrases of this
    basket that were already bought; empty before the first. truths: phrases still to come, also those that
    no lexicon holds. owned: phrases of strictly older baskets, and `seen`. new_truths: truths - owned.
    events: (C,) purchase rows of the household before, and rows of this basket whose phrase was seen.
    """

    task: str
    rows: Int64
    households: Int64
    baskets: Int64
    times_ms: Int64
    seen: list[frozenset[str]]
    truths: list[frozenset[str]]
    owned: list[frozenset[str]]
    new_truths: list[frozenset[str]]
    events: Int64

    def __len__(self) -> int:
        return len(self.truths)


# Per case at most 30 distinct queries, best first; True: leave out what the case owns.
Recommender = Callable[[Cases, bool], list[list[str]]]


def cases_of(samples: Samples, purchases: pl.DataFrame, task: int) -> Cases:
    """The cases of `task`, NEXT or REST, in the order of the samples.

    purchases: at least the whole year up to the last case's basket; later rows are never looked at.
    Raises DatasetError when a basket of which a part was seen does not stand in them as the sample says.
    """
    rows = [row for row, sample in enumerate(samples.samples) if sample.task == task]
    chosen = [samples.samples[row] for row in rows]
    past = _Past.of(_of_households(purchases, {sample.household_id for sample in chosen}))
    bought = _bought(purchases, chosen)
    known = [_known(sample, past, bought) for sample in chosen]
    truths = [sample.texts for sample in chosen]
    owned = [entry.owned for entry in known]
    return Cases(
        task=TASK_NAMES[task],
        rows=np.array(rows, np.int64),
        households=np.array([sample.household_id for sample in chosen], np.int64),
        baskets=np.array([sample.basket_id for sample in chosen], np.int64),
        times_ms=np.array([sample.time_ms for sample in chosen], np.int64),
        seen=[entry.seen for entry in known],
        truths=truths,
        owned=owned,
        new_truths=[truth - mine for truth, mine in zip(truths, owned, strict=True)],
        events=np.array([entry.events for entry in known], np.int64),
    )


def cold_starts(cases: Cases, events_below: int = COLD_START_EVENTS) -> Bool:
    """(C,) where fewer purchases than so many are known."""
    return np.asarray(cases.events < events_below, np.bool_)


def with_unseen_products(cases: Cases, lexicon: Collection[str]) -> Bool:
    """(C,) where the truth holds a phrase that training never saw; `lexicon`: those that it saw."""
    known = frozenset(lexicon)
    return np.array([not truth <= known for truth in cases.truths], np.bool_)


class _Known(NamedTuple):
    """What is known of a household when a case asks."""

    seen: frozenset[str]
    owned: frozenset[str]
    events: int


@dataclass(frozen=True, slots=True)
class _Past:
    """Per household its row times, and when it bought each phrase first; both oldest first."""

    times_ms: dict[int, Int64]
    first_ms: dict[int, Int64]
    first_phrases: dict[int, list[str]]

    @classmethod
    def of(cls, purchases: pl.DataFrame) -> _Past:
        rows = purchases.select("household_id", "time_ms").sort("household_id", "time_ms")
        first = (
            purchases.group_by("household_id", "phrase")
            .agg(pl.col("time_ms").min())
            .sort("household_id", "time_ms", "phrase")
        )
        phrases = {household: part["phrase"].to_list() for household, part in _parts(first)}
        return cls(_times(rows), _times(first), phrases)

    def before(self, household_id: int, time_ms: int) -> tuple[frozenset[str], int]:
        """Phrases that the household had bought strictly before, and in how many rows."""
        if household_id not in self.times_ms:
            return frozenset(), 0
        rows = int(np.searchsorted(self.times_ms[household_id], time_ms, side="left"))
        count = int(np.searchsorted(self.first_ms[household_id], time_ms, side="left"))
        return frozenset(self.first_phrases[household_id][:count]), rows


def _known(sample: Sample, past: _Past, bought: dict[Place, list[str]]) -> _Known:
    owned, events = past.before(sample.household_id, sample.time_ms)
    if sample.task == NEXT:
        return _Known(frozenset(), owned, events)
    basket = bought.get((sample.household_id, sample.basket_id), [])
    if not sample.texts.issubset(basket):
        raise DatasetError(
            f"Basket {sample.basket_id} of household {sample.household_id} is not in the purchases"
            " as its sample says; no case was made.",
            action="Give the purchases that the samples were made from, up to the end of their span.",
        )
    seen_rows = [phrase for phrase in basket if phrase not in sample.texts]
    seen = frozenset(seen_rows)
    return _Known(seen, owned | seen, events + len(seen_rows))


def _bought(purchases: pl.DataFrame, samples: Collection[Sample]) -> dict[Place, list[str]]:
    """Phrases of the baskets of which a part was seen, one per row."""
    baskets = {sample.basket_id for sample in samples if sample.task == REST}
    rows = purchases.filter(pl.col("basket_id").is_in(list(baskets)))
    grouped = rows.group_by("household_id", "basket_id").agg("phrase")
    return {(household, basket): phrases for household, basket, phrases in grouped.iter_rows()}


def _of_households(purchases: pl.DataFrame, households: Collection[int]) -> pl.DataFrame:
    return purchases.filter(pl.col("household_id").is_in(list(households)))


def _times(ordered: pl.DataFrame) -> dict[int, Int64]:
    return {household: part["time_ms"].to_numpy() for household, part in _parts(ordered)}


def _parts(ordered: pl.DataFrame) -> Iterator[tuple[int, pl.DataFrame]]:
    """Each household's rows; `ordered` is sorted by household."""
    for (household,), part in ordered.group_by("household_id", maintain_order=True):
        yield int(str(household)), part
