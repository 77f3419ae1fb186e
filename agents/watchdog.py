"""Notices a consumer that has lag but commits nothing: Faust consumers have been seen to stop in silence."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from streams.app import NearlineApp
from streams.metrics import Metrics


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


def observe_consumer(app: NearlineApp, watch: CommitWatch, metrics: Metrics, now_s: float) -> float:
    """Measure lag and commit age of the app's partitions; returns the worst age in seconds."""
    if not app.ready:
        return 0.0
    consumer: Any = app.consumer
    changelogs = app.tables.changelog_topics
    owned = {tp for tp in consumer.assignment() if tp.topic not in changelogs}
    for topic, partition in watch.keep({(tp.topic, tp.partition) for tp in owned}):
        metrics.lag.remove(topic, partition)
    worst_s = 0.0
    for tp in owned:
        end = consumer.highwater(tp) or 0
        committed = consumer._committed_offset[tp] or 0
        lag = max(0, end - committed)
        metrics.lag.labels(tp.topic, tp.partition).set(lag)
        worst_s = max(worst_s, watch.age_s((tp.topic, tp.partition), lag, committed, now_s))
    metrics.commit_age_s.labels(app.conf.id).set(worst_s)
    return worst_s
