"""The deny rules as one process knows them: read again as soon as their version is another.

`latest` asks Redis and is for whoever is about to write; it raises when Redis does not answer. `at_hand` is
for whoever lets Redis compare the version as it writes. `known` is for whoever only prepares: the last rules
that were read hold while Redis is away. Rules that Redis lost (its
version went back) hold on in this process: better too little is shown.
"""

from __future__ import annotations

import asyncio
import math
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

import redis.asyncio
import structlog

from streams.deny_rules import NO_RULES, DenyRules
from streams.deny_store import read_rules, read_version, refuse_unreadable
from streams.errors import StoreError

log = structlog.get_logger("deny")
KNOWN_FOR_S: Final = 1.0


@dataclass(slots=True)
class DenyGate:
    """version: of the rules at hand; None: never read."""

    client: redis.asyncio.Redis
    version: int | None = None
    _rules: DenyRules = NO_RULES
    _lost: DenyRules = NO_RULES
    _read_s: float = -math.inf

    async def latest(self, within_s: float = 0.0) -> DenyRules:
        """The rules of now, or of `within_s` ago. Raises StoreError: away, or a rule that cannot be read."""
        if time.monotonic() - self._read_s < within_s:
            return self._rules
        read_s = time.monotonic()
        if self.version is None or await read_version(self.client) != self.version:
            await self._read()
        self._read_s = read_s
        return self._rules

    async def at_hand(self) -> tuple[int, DenyRules]:
        """The rules that were read last, and their version; whoever writes by them must look whether Redis
        still has it. Raises StoreError: never read, and away."""
        if self.version is None:
            await self._read()
        return self.version or 0, self._rules

    async def known(self) -> DenyRules:
        """The rules of the last second or, while Redis is away, the last that were read."""
        with suppress(StoreError):
            await self.latest(KNOWN_FOR_S)
        return self._rules

    async def _read(self) -> None:
        stored = await read_rules(self.client)
        refuse_unreadable(stored)
        if self.version is not None and stored.version < self.version:
            self._lost = self._rules
            log.warning("deny_rules_lost", known=len(self._rules), stored=len(stored.rules))
        rules = {rule.id: rule for rule in (*self._lost.rules, *stored.rules)}
        self._rules = await asyncio.to_thread(DenyRules, rules.values())
        self.version = stored.version
