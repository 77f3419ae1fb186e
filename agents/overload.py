"""Whether a worker is overloaded: its lists get older, though all works. Said when it begins and ends."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import structlog

log = structlog.get_logger("worker")
AGE_S: Final = 10.0  # a request that waits longer than a visitor stays on a page
LAG_RECORDS: Final = 10_000  # of one topic, as the alarm in docs/operations.md


@dataclass(frozen=True, slots=True)
class Load:
    """queue_age_s: of the oldest waiting request. lag: of the topic that is furthest behind, in records."""

    queue_age_s: float = 0.0
    queue_full: bool = False
    lag: int = 0

    def reasons(self, share: float = 1.0) -> list[str]:
        """Which limits are exceeded, or a share of them."""
        found = ["the queue of requests is full"] if self.queue_full else []
        if self.queue_age_s > share * AGE_S:
            found.append(f"a request waits for {self.queue_age_s:.0f} s")
        if self.lag > share * LAG_RECORDS:
            found.append(f"{self.lag:,} records behind")
        return found


@dataclass(slots=True)
class Overload:
    """Begins at the limits, ends below half of them, so that it does not come and go."""

    now: str = ""

    def observe(self, load: Load) -> str:
        """Why lists are late; empty: they are not."""
        reasons = load.reasons(0.5 if self.now else 1.0)
        if reasons and not self.now:
            log.warning("overload_begins", reasons=reasons)
        if self.now and not reasons:
            log.info("overload_ends")
        self.now = "; ".join(reasons)
        return self.now
