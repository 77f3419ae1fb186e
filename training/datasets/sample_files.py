"""The samples of one span, made some households at a time and kept in one npz file.

    task household_id basket_id time_ms     (B,) of each sample
    items habit texts                       ragged: all rows in one flat array beside <name>_offsets (B + 1,)
    phrases                                 each text once; `texts` holds places in it
    context_*                               the arrays of agents.hints.context.Contexts

The file holds no pickle: whoever reads it runs no code of whoever wrote it.
"""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import polars as pl

from agents.hints.context import Contexts, QueryIndex, context_arrays
from streams.errors import DatasetError
from training.datasets.dataset_config import within
from training.datasets.whole_files import replaced
from training.progress import progress
from training.sessions import Sample, SampleMaker, Samples, joined

FORMAT: Final = 1
HOUSEHOLDS_AT_ONCE: Final = 25
CONTEXT: Final = "context_"


def make_samples(
    maker: SampleMaker, purchases: pl.DataFrame, title: str, behaviours: pl.DataFrame | None = None
) -> Samples:
    """As `maker.make`, some households at a time, with progress. behaviours: a log's own, as `maker.pairs`
    takes them. Raises DatasetError when there is no sample."""
    inside = purchases.filter(within(maker.span))["household_id"].unique().sort().to_list()
    samples: list[Sample] = []
    parts: list[Contexts] = []
    index = QueryIndex(list(maker.number))
    with progress(title, len(inside)) as report:
        for start in range(0, len(inside), HOUSEHOLDS_AT_ONCE):
            some = inside[start : start + HOUSEHOLDS_AT_ONCE]
            chosen = purchases.filter(pl.col("household_id").is_in(some))
            pairs = list(maker.pairs(chosen, behaviours))
            samples += [sample for sample, _ in pairs]
            if pairs:
                parts.append(context_arrays([request for _, request in pairs], index))
            report(start + len(some), "households")
    if not samples:
        raise DatasetError(
            f"{title}: no basket makes a sample.", action="Take more households, or a longer span."
        )
    return Samples(samples, joined(parts))


def save_samples(samples: Samples, path: Path) -> None:
    """One npz file in one step; the same samples give the same bytes."""
    rows = samples.samples
    phrases = sorted({text for row in rows for text in row.texts})
    number = {phrase: place for place, phrase in enumerate(phrases)}
    arrays: dict[str, npt.NDArray[Any]] = {
        "format": np.array(FORMAT),
        "task": np.array([row.task for row in rows], np.int8),
        "household_id": np.array([row.household_id for row in rows], np.int64),
        "basket_id": np.array([row.basket_id for row in rows], np.int64),
        "time_ms": np.array([row.time_ms for row in rows], np.int64),
        "phrases": np.array(phrases, np.str_),
        **_flat("items", [row.items for row in rows], np.int32),
        **_flat("habit", [row.habit for row in rows], np.float64),
        **_flat("texts", [sorted(number[text] for text in row.texts) for row in rows], np.int32),
        **{CONTEXT + name: array for name, array in samples.contexts.inputs().items()},
    }
    with replaced(path) as unfinished, unfinished.open("wb") as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]  # its stub takes `allow_pickle` for one


def load_samples(path: Path) -> Samples:
    """Inverse of `save_samples`. Raises DatasetError."""
    try:
        with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        if arrays["format"] != FORMAT:
            raise ValueError(f"its format is {arrays['format']}, ours is {FORMAT}")
        return Samples(_rows(arrays), _contexts(arrays))
    except (OSError, ValueError, KeyError, TypeError, IndexError, zipfile.BadZipFile) as error:
        raise DatasetError(
            f"{path} holds no samples of this version: {error}.", action="Build the data set again."
        ) from error


def _rows(arrays: dict[str, npt.NDArray[Any]]) -> list[Sample]:
    phrases = arrays["phrases"].tolist()
    texts = [frozenset(phrases[place] for place in row) for row in _ragged(arrays, "texts")]
    plain = (arrays[name].tolist() for name in ("task", "household_id", "basket_id", "time_ms"))
    ragged = (_ragged(arrays, name) for name in ("items", "habit"))
    return [Sample(*values) for values in zip(*plain, *ragged, texts, strict=True)]


def _contexts(arrays: dict[str, npt.NDArray[Any]]) -> Contexts:
    named = {name: array for name, array in arrays.items() if name.startswith(CONTEXT)}
    return Contexts(**{name.removeprefix(CONTEXT): array for name, array in named.items()})


def _flat(name: str, rows: Sequence[Sequence[float]], kind: type) -> dict[str, npt.NDArray[Any]]:
    lengths = np.array([len(row) for row in rows], np.int64)
    return {
        name: np.array([value for row in rows for value in row], kind),
        f"{name}_offsets": np.concatenate([np.zeros(1, np.int64), lengths.cumsum()]),
    }


def _ragged(arrays: dict[str, npt.NDArray[Any]], name: str) -> list[tuple[Any, ...]]:
    values, offsets = arrays[name].tolist(), arrays[f"{name}_offsets"].tolist()
    return [tuple(values[start:end]) for start, end in pairwise(offsets)]
