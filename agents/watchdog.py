"""Notices a consumer that has lag but commits nothing: Faust consumers have been seen to stop in silence.

The ends of the partitions are asked of Kafka itself: what the consumer knows of them stands still with it.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any, Final

from faust.types import TP

from streams.app import NearlineApp
from streams.metrics import Metrics

ASK_EVERY_S: Final = 2.0
SILENT_AFTER_S: Final = 6.0


@dataclass(slots=True)
class CommitWatch:
    """Since when each partition has had lag without a commit (a monotonic clock, seconds)."""

    _last: dict[tuple[str, int], tuple[int, float]] = field(default_factory=dict)

    def age_s(self, partition: tuple[str, int], lag: int, committed: int, now_s: float) -> float:
        """Seconds that this partition has stood still with records to read; 0 when all is well."""
        before, since_s = self._last.get(partition, (committed, now_s))
        if lag <= 0 or committed != before:
            since_s = now_s
        self._last[partition] = (committed, since_s)
        return now_s - since_s

    def keep(self, partitions: set[tuple[str, int]]) -> set[tuple[str, int]]:
        """Forget partitions that are others' now; returns them."""
        gone = self._last.keys() - partitions
        for partition in gone:
            del self._last[partition]
        return gone


@dataclass(slots=True)
class BrokerWatch:
    """Asks Kafka for the ends of partitions, one question at a time; one may stay without an answer."""

    ends: dict[TP, int] = field(default_factory=dict)
    _asked: asyncio.Task[Any] | None = None
    _asked_s: float = 0.0
    _silent_since_s: float | None = None

    def turn(self, app: NearlineApp, partitions: set[TP], now_s: float) -> None:
        """Take an answer, ask anew when it is time."""
        if self._asked is not None and self._asked.done():
            if not self._asked.cancelled() and self._asked.exception() is None:
                self.ends, self._silent_since_s = dict(self._asked.result()), None
            self._asked = None
        if self._asked is None and partitions and now_s - self._asked_s >= ASK_EVERY_S:
            consumer: Any = app.consumer
            self._asked = asyncio.ensure_future(consumer.highwaters(*partitions))
            self._asked_s = now_s
            if self._silent_since_s is None:
                self._silent_since_s = now_s
        if not partitions:
            self._silent_since_s = None

    def problem(self, now_s: float) -> str:
        """What is wrong; empty: Kafka answers."""
        silent_s = now_s - self._silent_since_s if self._silent_since_s is not None else 0.0
        return f"no answer for {silent_s:.0f} s" if silent_s > SILENT_AFTER_S else ""

    def stop(self) -> None:
        """Ask no more."""
        if self._asked is not None:
            self._asked.cancel()


@dataclass(slots=True)
class AppWatch:
    """What is known of one app's consumer. standing_s: of the partition that has stood still longest."""

    commits: CommitWatch = field(default_factory=CommitWatch)
    broker: BrokerWatch = field(default_factory=BrokerWatch)
    standing_s: float = 0.0
    lags: dict[str, int] = field(default_factory=dict)  # per topic

    def observe(self, app: NearlineApp, metrics: Metrics, now_s: float) -> None:
        """Measure lag and commit age of the app's partitions; now_s: monotonic."""
        if not app.ready:  # partitions move: what was measured stands until they are somebody's
            self.broker.turn(app, set(), now_s)
            self.standing_s = 0.0
            return
        consumer: Any = app.consumer
        owned = {tp for tp in consumer.assignment() if tp.topic not in app.tables.changelog_topics}
        self.broker.turn(app, owned, now_s)
        for topic, partition in self.commits.keep({(tp.topic, tp.partition) for tp in owned}):
            metrics.lag.remove(topic, partition)
        self.standing_s, self.lags = 0.0, {}
        for tp in owned:
            end = max(consumer.highwater(tp) or 0, self.broker.ends.get(tp, 0))
            committed = consumer._committed_offset[tp] or 0
            lag = max(0, end - committed)
            metrics.lag.labels(tp.topic, tp.partition).set(lag)
            self.lags[tp.topic] = self.lags.get(tp.topic, 0) + lag
            age_s = self.commits.age_s((tp.topic, tp.partition), lag, committed, now_s)
            self.standing_s = max(self.standing_s, age_s)
        metrics.commit_age_s.labels(app.conf.id).set(self.standing_s)
