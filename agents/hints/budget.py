"""How many lists may be generated now, and how much may wait for that."""

from __future__ import annotations

from dataclasses import dataclass

from streams.acks import InOrderAcks


@dataclass(slots=True)
class TokenBucket:
    """At most `per_s` lists a second; of what was not used one second's worth is kept. 0: no limit.

    A clock that stood still (a stopped process) gives no more than that second.
    """

    per_s: float = 0.0
    _tokens: float = 0.0
    _at_s: float | None = None

    def grant(self, wanted: int, now_s: float) -> int:
        """How many of the wanted lists may be made now; these are spent. now_s: monotonic."""
        if not self.per_s:
            return wanted
        most = max(1.0, self.per_s)
        since_s = max(0.0, now_s - self._at_s) if self._at_s is not None else most / self.per_s
        self._tokens = min(most, self._tokens + since_s * self.per_s)
        self._at_s = now_s
        granted = min(wanted, int(self._tokens))
        self._tokens -= granted
        return granted

    def wait_s(self) -> float:
        """Seconds until the next list may be made."""
        return max(0.0, (1.0 - self._tokens) / self.per_s) if self.per_s else 0.0


@dataclass(frozen=True, slots=True)
class QueueLimits:
    """Of what is taken from Kafka and not acknowledged: more stays in Kafka, where it costs no memory."""

    requests: int
    size: int

    def is_full(self, acks: InOrderAcks) -> bool:
        """Whether to take no more. The records count as they came; decoded they take more memory."""
        return len(acks) >= self.requests or acks.size >= self.size
