"""Waiting between tries, and when to stop trying for a while: the same at every border of a worker.

Pure: chance and time come in. Each wait is drawn between half and all of a length that doubles, so that
workers that lost the same server do not come back to it in step ("equal jitter").
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

Chance = Callable[[], float]  # 0 ≤ c < 1
CHANCE: Final[Chance] = random.SystemRandom().random
OPENS_AFTER: Final = 3


class Circuit(StrEnum):
    """closed: calls go through. open: none does until its wait is over. half-open: one is on trial."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"


@dataclass(frozen=True, slots=True)
class BackOff:
    """The first wait and the longest, in seconds."""

    first_s: float = 0.1
    longest_s: float = 5.0

    def wait_s(self, failures: int, chance: float) -> float:
        """Seconds before the next try, after so many failures in a row; chance: 0 to 1."""
        length_s: float = min(self.longest_s, self.first_s * 2.0 ** min(failures - 1, 60))
        return length_s * (0.5 + chance / 2)


@dataclass(slots=True)
class Breaker:
    """The circuit of one border. Whoever calls asks `allows` first, and says how it went.

    failures: in a row. problem: what the last of them said; empty: the last call worked.
    """

    back_off: BackOff = field(default_factory=BackOff)
    opens_after: int = OPENS_AFTER
    chance: Chance = CHANCE
    failures: int = 0
    problem: str = ""
    _again_s: float = 0.0
    _on_trial: bool = False

    @property
    def circuit(self) -> Circuit:
        """What it is now."""
        if self.failures < self.opens_after:
            return Circuit.CLOSED
        return Circuit.HALF_OPEN if self._on_trial else Circuit.OPEN

    @property
    def is_open(self) -> bool:
        """Whether the border is held to be down; a trial does not change that before it has worked."""
        return self.circuit is not Circuit.CLOSED

    def allows(self, now_s: float) -> bool:
        """Whether to call now. Of an open circuit, one call when its wait is over: the trial."""
        if now_s < self._again_s or (self.is_open and self._on_trial):
            return False
        self.begin_trial()
        return True

    def begin_trial(self) -> None:
        """The wait is over, says a border's only caller, who slept through it."""
        self._on_trial = self.is_open

    def worked(self) -> None:
        """The call worked: closed."""
        self.failures, self.problem, self._again_s, self._on_trial = 0, "", 0.0, False

    def failed(self, problem: str, now_s: float) -> float:
        """The call failed; returns the seconds to wait before the next."""
        self.failures += 1
        self.problem, self._on_trial = problem, False
        wait_s = self.back_off.wait_s(self.failures, self.chance())
        self._again_s = now_s + wait_s
        return wait_s
