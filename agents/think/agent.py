"""The think agent: keeps the mapping version that the manifest names loaded in Redis.

A plain timer: it reads no topic, and a Faust application without one cannot start. A torn or unreadable
version changes nothing in Redis and says why.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import structlog
from redis.asyncio import Redis

from agents.think.mapping import LoadOutcome, LoadReport, load_mapping
from streams.errors import MappingError, StoreError
from streams.metrics import Metrics
from streams.settings import Settings

log = structlog.get_logger("think")


@dataclass(slots=True)
class ThinkAgent:
    """The periodic loader. `problem` says why the last load failed; empty: it did not.

    told: the version whose being held back was logged, so that it is logged once.
    """

    settings: Settings
    redis: Redis
    metrics: Metrics
    problem: str = "no mapping loaded yet"
    told: str = ""

    async def run(self) -> None:
        """Load now, then look at the manifest every `think_every_s`, until cancelled."""
        while True:
            await self.load()
            await asyncio.sleep(self.settings.think_every_s)

    async def load(self) -> None:
        """Load the current version unless it is served already."""
        try:
            report = await load_mapping(self.redis, self.settings.think_dir)
        except (MappingError, StoreError) as error:
            self.problem = str(error)
            self.metrics.think_loads.labels("failed").inc()
            log.warning("mapping_not_loaded", error=error.message, action=error.action)
            return
        self.problem = ""
        self.metrics.think_loads.labels(report.outcome).inc()
        if report.outcome is not LoadOutcome.BUSY:
            self.metrics.think_triggers.set(report.triggers)
        if report.outcome is LoadOutcome.LOADED:
            log.info("mapping_loaded", version=report.version, triggers=report.triggers)
        self._tell_held(report)

    def _tell_held(self, report: LoadReport) -> None:
        held = report.version if report.outcome is LoadOutcome.HELD else ""
        if held and held != self.told:
            log.info("mapping_held", served=held, why="people decided against the one in current.json")
        self.told = held
