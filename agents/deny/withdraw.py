"""What a person asks for: rules added with all that they withdraw, removed with all that they held back.

Order of an addition: the rules (workers hold to them at their next list), the known queries for readers, then
Redis from end to end. A person who kills it in the middle gives the same command again, or `aigq deny sweep`.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import redis.asyncio

from agents.deny.sweep import Report, Sweep, Withdrawn
from streams.deny_rule import DenyRule, limited
from streams.deny_rules import DenyRules
from streams.deny_store import (
    Stored,
    add_rule,
    note_swept,
    read_rules,
    record,
    refuse_unreadable,
    release_all,
    remove_rule,
)
from streams.errors import DenyRuleError

BROAD_SHARE: Final = 0.5
BROAD_FROM: Final = 20  # queries of a lexicon; of fewer no share tells much
SHOWN: Final = 10


@dataclass(frozen=True, slots=True)
class Change:
    """What was done.

    added, there, removed, unknown: ids of rules; there: they stood there before. freed: queries that readers
    may show again. seconds: from the first command to Redis to the last.
    """

    added: tuple[str, ...] = ()
    there: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    freed: int = 0
    withdrawn: Withdrawn = field(default_factory=Withdrawn)
    seconds: float = 0.0

    def as_dict(self) -> dict[str, Any]:
        """For `--json`; examples are queries that stood in most values."""
        return {
            "added": list(self.added),
            "there": list(self.there),
            "removed": list(self.removed),
            "unknown": list(self.unknown),
            "freed": self.freed,
            **self.withdrawn.counts(),
            "examples": [query for query, _ in self.withdrawn.queries.most_common(SHOWN)],
            "seconds": round(self.seconds, 3),
        }


async def preview(
    client: redis.asyncio.Redis, rules: Sequence[DenyRule], known: Collection[str], report: Report
) -> Change:
    """What the rules would withdraw; nothing is changed. Raises DenyRuleError, StoreError."""
    started_s = time.monotonic()
    await _fitting(client, rules)
    found = await Sweep(client, DenyRules(rules), act=False, report=report).run(known)
    return Change(withdrawn=found, seconds=time.monotonic() - started_s)


async def add(
    client: redis.asyncio.Redis, rules: Sequence[DenyRule], known: Collection[str], report: Report
) -> Change:
    """Add the rules and withdraw what they deny. Raises DenyRuleError, StoreError."""
    started_s = time.monotonic()
    await _fitting(client, rules)
    new = [await add_rule(client, rule) for rule in rules]
    first = Sweep(client, DenyRules(rules))
    await first.deny(known)  # readers first, whatever else has to be swept
    found = await sweep(client, known, report, by=rules[0].by if rules else "", at_ms=_latest(rules))
    found.denied += first.found.denied
    return Change(
        added=tuple(rule.id for rule, is_new in zip(rules, new, strict=True) if is_new),
        there=tuple(rule.id for rule, is_new in zip(rules, new, strict=True) if not is_new),
        withdrawn=found,
        seconds=time.monotonic() - started_s,
    )


async def sweep(
    client: redis.asyncio.Redis, known: Collection[str], report: Report, *, by: str, at_ms: int
) -> Withdrawn:
    """Withdraw what all rules deny, and leave a record. Raises StoreError."""
    started_s = time.monotonic()
    stored = await _readable(client)
    found = await Sweep(client, DenyRules(stored.rules), report=report).run(known)
    await release_all(client)
    await note_swept(client, stored.version)
    seconds = round(time.monotonic() - started_s, 3)
    told = {"action": "swept", "at_ms": at_ms, "by": by, "version": stored.version, "seconds": seconds}
    await record(client, told | found.counts())
    return found


async def remove(client: redis.asyncio.Redis, ids: Sequence[str], *, by: str, at_ms: int) -> Change:
    """Remove the rules; readers show again what nothing else denies. Raises StoreError."""
    started_s = time.monotonic()
    gone = {one: await remove_rule(client, one, by=by, at_ms=at_ms) for one in ids}
    freed = await release_all(client)
    return Change(
        removed=tuple(one for one, was_there in gone.items() if was_there),
        unknown=tuple(one for one, was_there in gone.items() if not was_there),
        freed=freed,
        seconds=time.monotonic() - started_s,
    )


def check_breadth(rules: Sequence[DenyRule], lexicon: Collection[str]) -> None:
    """Raise DenyRuleError for a rule that denies more than half of what the shop can hint."""
    for rule in rules if len(lexicon) >= BROAD_FROM else ():
        alone = DenyRules([rule])
        share = sum(alone.denying(query) is not None for query in lexicon) / len(lexicon)
        if share > BROAD_SHARE:
            raise DenyRuleError(
                f"The rule {rule.text!r} denies {share:.0%} of the bundle's {len(lexicon):,} queries. "
                "No rule was added.",
                action="Say more, or mean it: --yes.",
            )


async def _fitting(client: redis.asyncio.Redis, rules: Sequence[DenyRule]) -> None:
    """Raise DenyRuleError if there would be too many rules."""
    stored = await read_rules(client)
    limited(list({rule.id: rule for rule in (*stored.rules, *rules)}.values()))


async def _readable(client: redis.asyncio.Redis) -> Stored:
    stored = await read_rules(client)
    refuse_unreadable(stored)
    return stored


def _latest(rules: Sequence[DenyRule]) -> int:
    return max((rule.at_ms for rule in rules), default=0)
