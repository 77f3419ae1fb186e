"""Parts of a session state: the newest list, what is owed, and tallies."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np

from agents.session.interest import drift
from agents.session.refresh import Reason
from streams.hint_request import Int8, Version

DAY_MS: Final = 86_400_000
MINUTE_MS: Final = 60_000


class Listed(NamedTuple):
    """The newest list that was asked for: its version, why, and the visit's interest it was made from."""

    version: Version
    reason: Reason
    drift: float
    visit: bytes  # (D,) int8, as it is stored
    bundle: bytes

    def moved(self, visit: Int8) -> float:
        """Drift of another interest of a visit, (D,), from this one, 0 to 2."""
        return drift(visit, np.frombuffer(self.visit, np.int8))


class Owed(NamedTuple):
    """A refresh that a cooldown holds back until `due_ms` (event time). 0: nothing is owed."""

    due_ms: int = 0
    reason: Reason = Reason.STEADY


NOT_OWED: Final = Owed()


class Counts(NamedTuple):
    """Event-time tallies for budget and bot rules: number of the day or minute, and its count."""

    day: int = 0
    lists: int = 0
    minute: int = 0
    events: int = 0

    def with_event(self, at_ms: int) -> Counts:
        """One more event at `at_ms`; an older minute's event is not counted."""
        minute = at_ms // MINUTE_MS
        if minute < self.minute:
            return self
        events = self.events + 1 if minute == self.minute else 1
        return Counts(self.day, self.lists, minute, min(events, 65_535))

    def with_list(self, at_ms: int) -> Counts:
        """One more list at `at_ms`."""
        day = at_ms // DAY_MS
        lists = self.lists + 1 if day == self.day else 1
        return Counts(day, min(lists, 65_535), self.minute, self.events)

    def lists_on(self, at_ms: int) -> int:
        """Lists so far on the day of `at_ms`."""
        return self.lists if at_ms // DAY_MS == self.day else 0
