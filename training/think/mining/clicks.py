"""How likely the click ranker holds a click on a query when the trigger was the last behaviour.

    click(a, b) = mean over up to 8 of the training span's contexts whose newest behaviour is a of p̂(b)

p̂ is that of the first place, 0 to 1. A context's newest behaviour is known by its embedding; a category
stands for the phrases that belong to it. Pairs whose trigger is nobody's last behaviour, or whose query the
ranker's lexicon lacks, have no figure.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from streams.query_text import normalise_query
from training.datasets.dataset import Dataset
from training.ranker import ClickRanker
from training.sessions import taken

Int64 = npt.NDArray[np.int64]

CONTEXTS: Final = 8
BATCH: Final = 256


def mean_clicks(
    ranker: ClickRanker,
    data: Dataset,
    pairs: Iterable[tuple[str, str]],
    *,
    contexts: int = CONTEXTS,
    seed: int = 0,
) -> dict[tuple[str, str], float]:
    """click(trigger, query) of the pairs that have one, by normal forms. Reads the training samples."""
    wanted = _wanted(pairs, {normalise_query(text): place for place, text in enumerate(data.queries)})
    samples = data.samples("train")
    rows, owners = _drawn(_rows_by_text(samples.contexts.events[:, 0], data), wanted, contexts, seed)
    sums: defaultdict[tuple[str, int], float] = defaultdict(float)
    times: defaultdict[str, int] = defaultdict(int)
    for start in range(0, len(rows), BATCH):
        batch = taken(samples.contexts, rows[start : start + BATCH])
        triggers = owners[start : start + BATCH]
        numbers = _padded([wanted[trigger] for trigger in triggers])
        p = ranker.clicks(batch, numbers).numpy()
        for row, trigger in enumerate(triggers):
            times[trigger] += 1
            for column, number in enumerate(wanted[trigger]):
                sums[trigger, number] += float(p[row, column])
    return {
        (trigger, normalise_query(data.queries[number])): total / times[trigger]
        for (trigger, number), total in sums.items()
    }


def _wanted(pairs: Iterable[tuple[str, str]], number: Mapping[str, int]) -> dict[str, list[int]]:
    """The queries' numbers by trigger, each once."""
    found: defaultdict[str, set[int]] = defaultdict(set)
    for trigger, query in pairs:
        place = number.get(normalise_query(query))
        if place is not None:
            found[normalise_query(trigger)].add(place)
    return {trigger: sorted(found[trigger]) for trigger in sorted(found)}


def _rows_by_text(newest: npt.NDArray[np.int8], data: Dataset) -> dict[str, list[int]]:
    """Contexts by their newest behaviour's text, and by its categories. newest: (B, D)."""
    encoder = data.encoder()
    names: defaultdict[bytes, set[str]] = defaultdict(set)
    for texts in _texts(data).iter_rows():
        names[encoder.embed(texts[0]).tobytes()] |= {normalise_query(text) for text in texts if text}
    found: defaultdict[str, list[int]] = defaultdict(list)
    for row, vector in enumerate(newest):
        for name in names.get(vector.tobytes(), ()):
            found[name].append(row)
    return found


def _texts(data: Dataset) -> pl.DataFrame:
    """Each text with its category; what was searched has none."""
    bought = data.purchases.select(text="phrase", category="category_phrase").unique()
    if data.behaviours is None:
        return bought.sort(bought.columns)
    searched = data.behaviours.select("text", category=pl.lit("")).unique()
    return pl.concat([bought, searched]).sort(bought.columns)


def _drawn(
    rows: Mapping[str, list[int]], wanted: Mapping[str, list[int]], count: int, seed: int
) -> tuple[Int64, list[str]]:
    """Up to `count` contexts of each trigger, and the trigger of each."""
    chance = random.Random(f"{seed}:clicks")  # noqa: S311 - a sample, no secret
    drawn: list[int] = []
    owners: list[str] = []
    for trigger in wanted:
        own = rows.get(trigger, [])
        chosen = chance.sample(own, min(count, len(own)))
        drawn += chosen
        owners += [trigger] * len(chosen)
    return np.array(drawn, np.int64), owners


def _padded(numbers: list[list[int]]) -> Int64:
    """(B, N), the shorter rows filled up with their first."""
    width = max(map(len, numbers))
    return np.array([row + row[:1] * (width - len(row)) for row in numbers], np.int64)
