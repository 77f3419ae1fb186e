"""Which users' held-back refreshes fall due, and which marks of deletions end, by stream time.

Stream time of a partition is the newest event time read from it, going on at the wall clock's pace
while nothing comes. So in production a cooldown ends on time, and in a fast replay of an old log it does
not end before the log's next events are read. It stands still while records are known to wait, and for a
while after a rebalance: else a refresh would miss events that stand in Kafka already.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

# How long stream time stands still when events are expected: records wait, or reading has just begun.
GRACE_S: Final = 5.0


@dataclass(slots=True)
class DueList:
    """Heaps of (due_ms, user), one per partition, and each partition's stream time."""

    _heaps: dict[int, list[tuple[int, str]]] = field(default_factory=dict)
    _newest: dict[int, tuple[int, float]] = field(default_factory=dict)
    _resumed: dict[int, tuple[int, float]] = field(default_factory=dict)
    _queued: set[tuple[int, int, str]] = field(default_factory=set)
    _ends: set[tuple[int, int, str]] = field(default_factory=set)

    def observe(self, partition: int, at_ms: int, wall_s: float, *, more_wait: bool = False) -> None:
        """An event of `at_ms` was read at `wall_s` (a monotonic clock, seconds); do more records wait?"""
        newest_ms, _ = self._newest.get(partition, (0, 0.0))
        self._newest[partition] = (max(newest_ms, at_ms), wall_s + (GRACE_S if more_wait else 0.0))

    def stand_still(self, wall_s: float) -> None:
        """Reading begins again after a rebalance: events may have gathered meanwhile."""
        self._newest = {p: (at_ms, wall_s + GRACE_S) for p, (at_ms, _) in self._newest.items()}

    def resume(self, partition: int, at_ms: int, wall_s: float) -> None:
        """A stored state knows an event of `at_ms`: stream time, should no event come for a while."""
        newest_ms, _ = self._resumed.get(partition, (0, 0.0))
        self._resumed[partition] = (max(newest_ms, at_ms), wall_s + GRACE_S)

    def add(self, partition: int, due_ms: int, user: str, *, is_end: bool = False) -> None:
        """`user`'s refresh falls due at `due_ms`, or the state ends then; said twice, it counts once."""
        entry = (partition, due_ms, user)
        if is_end:
            self._ends.add(entry)
        if entry not in self._queued:
            self._queued.add(entry)
            heapq.heappush(self._heaps.setdefault(partition, []), (due_ms, user))

    def pop(self, wall_s: float) -> list[tuple[int, int, str]]:
        """(partition, due_ms, user) of all that are due now; each is given once."""
        due = []
        for partition, heap in self._heaps.items():
            now_ms = self._now_ms(partition, wall_s)
            while heap and heap[0][0] <= now_ms:
                due_ms, user = heapq.heappop(heap)
                due.append((partition, due_ms, user))
        self._queued.difference_update(due)
        self._ends.difference_update(due)
        return due

    def _now_ms(self, partition: int, wall_s: float) -> float:
        newest = self._newest.get(partition)
        if newest is not None:
            return newest[0] + max(0.0, wall_s - newest[1]) * 1000
        resumed = self._resumed.get(partition)
        if resumed is None or wall_s < resumed[1]:
            return 0
        return resumed[0] + (wall_s - resumed[1]) * 1000

    def keep(self, partitions: Iterable[int]) -> None:
        """Forget all partitions but these: they belong to other workers now."""
        kept = set(partitions)
        self._heaps = {p: heap for p, heap in self._heaps.items() if p in kept}
        self._newest = {p: newest for p, newest in self._newest.items() if p in kept}
        self._resumed = {p: newest for p, newest in self._resumed.items() if p in kept}
        self._queued = {entry for entry in self._queued if entry[0] in kept}
        self._ends = {entry for entry in self._ends if entry[0] in kept}

    def __len__(self) -> int:
        """Refreshes that are owed; ends are nobody's debt."""
        return len(self._queued) - len(self._ends)
