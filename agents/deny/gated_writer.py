"""The last gate before publishing: lists lose what was denied since they were made, at each try.

A list that waited for Redis is judged by the rules of when it is written. Without rules, since Redis does not
give them, nothing is written; publishing needs Redis anyway.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import redis.asyncio

from agents.deny.gate import DenyGate
from agents.hints.filters import forbidden
from streams.deny_rules import DenyRules
from streams.hint_list import HintList
from streams.hint_writer import HintWriter, PublishOutcome
from streams.metrics import Metrics


class GatedHintWriter(HintWriter):
    """A HintWriter behind the gate."""

    def __init__(
        self, client: redis.asyncio.Redis, gate: DenyGate, metrics: Metrics, *, runs_kept: int, ttl_s: int
    ) -> None:
        super().__init__(client, runs_kept=runs_kept, ttl_s=ttl_s)
        self._gate, self._metrics = gate, metrics

    async def publish(self, lists: Sequence[HintList]) -> list[PublishOutcome]:
        """As HintWriter.publish, of what the rules of now allow."""
        rules = await self._gate.latest()
        dropped: Counter[str] = Counter()
        outcomes = await super().publish([allowed(one, rules, dropped) for one in lists])
        for reason, count in dropped.items():
            self._metrics.filtered.labels(reason).inc(count)
        return outcomes


def allowed(one: HintList, rules: DenyRules, dropped: Counter[str]) -> HintList:
    """The list without forbidden hints, which are counted by reason; the same one if it holds none."""
    reasons = [forbidden(hint.query, rules) for hint in one.hints]
    if not any(reasons):
        return one
    dropped.update(reason for reason in reasons if reason)
    kept = tuple(hint for hint, reason in zip(one.hints, reasons, strict=True) if reason is None)
    return one.model_copy(update={"hints": kept})
