"""The last gate before publishing: lists lose what was denied since they were made, at each try.

Lists are judged by the rules at hand, and written only while Redis has these: the script that writes looks.
Those that it refuses are judged again by the rules of now, so a denial costs a round trip when there is one
and not with every batch. Without rules, since Redis does not give them, nothing is written. In a Cluster,
where no script can look, the version is asked for before each batch.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Final, NamedTuple

import redis.asyncio

from agents.deny.gate import DenyGate
from agents.hints.filters import forbidden
from streams.deny_rules import DenyRules
from streams.errors import StoreUnavailableError
from streams.hint_list import HintList
from streams.hint_writer import HintWriter, PublishOutcome
from streams.metrics import Metrics
from streams.redis_client import is_cluster

TRIES: Final = 10


class GatedHintWriter(HintWriter):
    """A HintWriter behind the gate."""

    def __init__(
        self, client: redis.asyncio.Redis, gate: DenyGate, metrics: Metrics, *, runs_kept: int, ttl_s: int
    ) -> None:
        super().__init__(client, runs_kept=runs_kept, ttl_s=ttl_s)
        self._gate, self._metrics = gate, metrics
        self._looks_itself = not is_cluster(client)

    async def publish(self, lists: Sequence[HintList]) -> list[PublishOutcome]:
        """As HintWriter.publish, of what the rules of now allow."""
        if not self._looks_itself:
            judged = judged_by(await self._gate.latest(), lists)
            self._count(judged)
            return await super().publish([one.allowed for one in judged])
        outcomes: dict[int, PublishOutcome] = {}
        left = list(range(len(lists)))
        for _ in range(TRIES):
            version, rules = await self._gate.at_hand()
            outcomes |= await self._publish_judged(left, judged_by(rules, [lists[n] for n in left]), version)
            left = [place for place in left if place not in outcomes]
            if not left:
                return [outcomes[place] for place in range(len(lists))]
            await self._gate.latest()
        raise StoreUnavailableError(
            "Hint lists were not all published: the deny rules change all the time.", action="Try again."
        )

    async def _publish_judged(
        self, places: Sequence[int], judged: Sequence[Judged], version: int
    ) -> dict[int, PublishOutcome]:
        """What became of those that were judged by the rules of now."""
        outcomes = await self.publish_under([one.allowed for one in judged], version)
        done = [
            (n, one, outcome) for n, one, outcome in zip(places, judged, outcomes, strict=True) if outcome
        ]
        self._count([one for _, one, _ in done])
        return {place: outcome for place, _, outcome in done}

    def _count(self, judged: Sequence[Judged]) -> None:
        for reason, count in Counter(reason for one in judged for reason in one.dropped).items():
            self._metrics.filtered.labels(reason).inc(count)


class Judged(NamedTuple):
    """A list without its forbidden hints, and why each of these went."""

    allowed: HintList
    dropped: tuple[str, ...]


def judged_by(rules: DenyRules, lists: Sequence[HintList]) -> list[Judged]:
    """Each list as the rules allow it; the same one if it holds nothing forbidden."""
    return [_judged(rules, one) for one in lists]


def _judged(rules: DenyRules, one: HintList) -> Judged:
    reasons = [forbidden(hint.query, rules) for hint in one.hints]
    dropped = tuple(reason for reason in reasons if reason)
    if not dropped:
        return Judged(one, ())
    kept = tuple(hint for hint, reason in zip(one.hints, reasons, strict=True) if reason is None)
    return Judged(one.model_copy(update={"hints": kept}), dropped)
