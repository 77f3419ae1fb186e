"""A data set in a folder: all that training reads, made once (training.datasets.build), split by time.

    dataset.json                     format, source, options, spans, counts, each file's hash and inputs
    purchases.parquet                what was bought (columns: training.datasets.complete_journey)
    behaviours.parquet               of a log alone: purchases and searches at their own times
                                     (training.datasets.shop_frames)
    counted-searches.parquet         of a log alone: searches that say how much was found
    no-results.jsonl                 of a log alone: deny rules for queries that last found nothing
    lexicon.tsv tokenizer.json embeddings.npy     as in a bundle, made of the training span alone
    impressions.parquet              hints shown and clicked (columns: training.datasets.interface)
    samples-{train,validate,test}.npz    contexts and truths (training.sessions)

Nothing looks ahead: a sample's context holds what its household did strictly before its time, and the
training part is made of purchases before the validation span begins.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import orjson
import polars as pl

from agents.hints.bundle import parse_lexicon
from agents.hints.encoder import SubwordEncoder
from agents.hints.manifest import LEXICON, TABLE, TOKENIZER
from streams.errors import DatasetError
from training.datasets.complete_journey import Span
from training.datasets.dataset_config import PARTS, Split
from training.datasets.sample_files import load_samples
from training.datasets.whole_files import sha256_of
from training.sessions import Samples

FORMAT: Final = 2
ABOUT: Final = "dataset.json"
PURCHASES, IMPRESSIONS = "purchases.parquet", "impressions.parquet"
BEHAVIOURS: Final = "behaviours.parquet"
COUNTED_SEARCHES, NO_RESULTS_RULES = "counted-searches.parquet", "no-results.jsonl"
OF_A_LOG: Final = (BEHAVIOURS, COUNTED_SEARCHES, NO_RESULTS_RULES)


@dataclass(frozen=True, slots=True)
class Dataset:
    """A data set as `load_dataset` gives it. lexicon: (query, count), most popular first, as the tokenizer
    (JSON) and table (tokens, D) made of the training span. about: what dataset.json holds. behaviours: as
    SampleMaker.pairs takes them; None: simulated around the purchases."""

    folder: Path
    about: dict[str, Any]
    split: Split
    purchases: pl.DataFrame
    impressions: pl.DataFrame
    lexicon: list[tuple[str, int]]
    tokenizer: bytes
    table: npt.NDArray[np.float16]
    behaviours: pl.DataFrame | None = None

    @property
    def queries(self) -> list[str]:
        """The lexicon without counts; a query's place is its number."""
        return [query for query, _ in self.lexicon]

    def encoder(self) -> SubwordEncoder:
        """The text encoder that the samples' contexts were made with."""
        return SubwordEncoder(self.tokenizer, self.table)

    def samples(self, part: str) -> Samples:
        """Of "train", "validate" or "test"; read from disk at each call. Raises DatasetError."""
        return load_samples(_verified(self.folder, self.about, samples_name(part)))


def load_dataset(folder: Path) -> Dataset:
    """Read a complete data set, every file checked against its hash. Raises DatasetError."""
    about = read_about(folder)
    return Dataset(
        folder,
        about,
        Split(*(Span(*about["spans"][part]) for part in PARTS)),
        pl.read_parquet(_verified(folder, about, PURCHASES)),
        pl.read_parquet(_verified(folder, about, IMPRESSIONS)),
        list(parse_lexicon(_verified(folder, about, LEXICON).read_bytes()).items()),
        _verified(folder, about, TOKENIZER).read_bytes(),
        np.load(_verified(folder, about, TABLE), allow_pickle=False),
        pl.read_parquet(_verified(folder, about, BEHAVIOURS)) if about["source"]["kind"] == "log" else None,
    )


def read_about(folder: Path) -> dict[str, Any]:
    """What dataset.json says of a complete data set. Raises DatasetError."""
    about = about_of(folder)
    if not about.get("complete"):
        state = "is not complete" if about else f"holds no {ABOUT} of format {FORMAT}"
        raise DatasetError(
            f"The data set {folder} {state}.", action=f"Build it, or go on: aigq data build --out {folder}"
        )
    return about


def samples_name(part: str) -> str:
    """File name of a part's samples."""
    return f"samples-{part}.npz"


def about_of(folder: Path) -> dict[str, Any]:
    """dataset.json as it is; {} when there is none of this format."""
    try:
        about = orjson.loads((folder / ABOUT).read_bytes())
    except (OSError, orjson.JSONDecodeError):
        return {}
    return about if isinstance(about, dict) and about.get("format") == FORMAT else {}


def _verified(folder: Path, about: dict[str, Any], name: str) -> Path:
    path = folder / name
    entry = about["files"].get(name)
    if entry is None or not path.is_file() or sha256_of(path) != entry["sha256"]:
        raise DatasetError(
            f"{path} is missing, or is not the file that {ABOUT} was written for (SHA-256 differs).",
            action=f"Build it again: aigq data build --out {folder}",
        )
    return path
