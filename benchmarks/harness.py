"""Measuring: works take turns, figures keep every round, ratios are of rounds side by side.

    rounds = alternated({"ours": ours, "theirs": theirs}, rounds=9)          # each work returns one number
    ours = Figure("ours", "events/s", rounds["ours"])
    theirs = Figure("theirs", "events/s", rounds["theirs"])
    faster = paired("ours to theirs", ours, theirs, Bar.at_least(10))

The machine is faster in one minute than in the next, so works of one round run right after another and in an
order that moves on each round; a ratio is the median of the rounds' ratios. `benchmarks.report` prints them.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, Self

ROUNDS: Final = 9
QUICK_ROUNDS: Final = 3

Clock = Callable[[], float]


@dataclass(frozen=True, slots=True)
class Bar:
    """What a median must reach; `side`: whether `value` is the least or the most that passes."""

    side: Literal["least", "most"]
    value: float

    @classmethod
    def at_least(cls, value: float) -> Self:
        """The median must be `value` or more."""
        return cls("least", value)

    @classmethod
    def at_most(cls, value: float) -> Self:
        """The median must be `value` or less."""
        return cls("most", value)

    def is_met(self, median: float) -> bool:
        """Whether that passes."""
        return median >= self.value if self.side == "least" else median <= self.value


@dataclass(frozen=True, slots=True)
class Measured:
    """One number a round; at least one round. low, high: the least and the greatest of them."""

    name: str
    values: tuple[float, ...]
    bar: Bar | None = None

    def __post_init__(self) -> None:
        if not self.values:
            raise ValueError(f"{self.name}: no round was measured")

    @property
    def median(self) -> float:
        """Of all rounds."""
        return statistics.median(self.values)

    @property
    def low(self) -> float:
        """The least round."""
        return min(self.values)

    @property
    def high(self) -> float:
        """The greatest round."""
        return max(self.values)

    @property
    def is_met(self) -> bool | None:
        """Whether the median passes the bar; None without a bar."""
        return None if self.bar is None else self.bar.is_met(self.median)


@dataclass(frozen=True, slots=True)
class Figure(Measured):
    """A measured number with its unit: "events/s", "ms", "MB", "s"; "" for a share or a count."""

    unit: str = ""

    @classmethod
    def of(cls, name: str, unit: str, values: Sequence[float], bar: Bar | None = None) -> Self:
        """In the order that reads best."""
        return cls(name, tuple(map(float, values)), bar, unit)


@dataclass(frozen=True, slots=True)
class Ratio(Measured):
    """How many times `of` is `to`, round by round; both are names of figures."""

    of: str = ""
    to: str = ""


def paired(name: str, of: Figure, to: Figure, bar: Bar | None = None) -> Ratio:
    """The ratio of two figures of the same rounds. Raises ValueError when they have not as many."""
    values = tuple(one / other for one, other in zip(of.values, to.values, strict=True))
    return Ratio(name, values, bar, of.name, to.name)


def alternated(
    works: Mapping[str, Callable[[], float]], rounds: int = ROUNDS, *, warm: int = 1
) -> dict[str, tuple[float, ...]]:
    """What each work returned in each round. `warm`: rounds before the first that counts.

    The order moves on by one each round, so that no work always runs behind the same other one.
    """
    names = list(works)
    found: dict[str, list[float]] = {name: [] for name in names}
    for turn in range(warm + rounds):
        start = turn % max(1, len(names))
        for name in names[start:] + names[:start]:
            value = works[name]()
            if turn >= warm:
                found[name].append(value)
    return {name: tuple(values) for name, values in found.items()}


def per_second(count: int, work: Callable[[], object], clock: Clock = time.perf_counter) -> float:
    """`work` does `count` things once: things per second of `clock` (time.process_time: of CPU)."""
    started_s = clock()
    work()
    return count / (clock() - started_s)


def percentile(values: Sequence[float], share: float) -> float:
    """The value that `share` (0 to 1) of all do not exceed: nearest rank, never between two. Not empty."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, -int(-share * len(ordered) // 1) - 1))]
