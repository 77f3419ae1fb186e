"""The think agent: keeps the mapping version that the manifest names loaded in Redis.

A plain timer: it reads no topic, and a Faust application without one cannot start. A torn or unreadable
version changes nothing in Redis and says why.
"""

from __future__ import annotations

import asyncio
import time as clock
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, time
from typing import Any, Final

import structlog
from redis.asyncio import Redis

from agents.think.mapping import LoadOptions, LoadOutcome, LoadReport, load_mapping
from agents.think.stored import known_versions, read_pointer
from agents.think.version_folder import read_manifest
from streams.backoff import BackOff, Breaker
from streams.errors import MappingError, SettingsError, StoreError
from streams.metrics import Metrics
from streams.redis_errors import store_errors
from streams.settings import Settings
from streams.signed_manifests import trusted_keys
from streams.think_entry import ThinkPointer

log = structlog.get_logger("think")
NOT_YET: Final = "no mapping loaded yet"


@dataclass(slots=True)
class ThinkAgent:
    """The periodic loader. `problem` says why the last load failed; empty: it did not.

    served: the pointer as it was last seen. loading: how far a load that goes on is; empty: none does.
    told: the version whose being held back was logged, so that it is logged once.
    """

    settings: Settings
    redis: Redis
    metrics: Metrics
    problem: str = NOT_YET
    served: ThinkPointer | None = None
    created: str = ""
    loading: str = ""
    told: str = ""
    options: LoadOptions = field(init=False)
    breaker: Breaker = field(init=False)

    def __post_init__(self) -> None:
        self.options = LoadOptions(report=self._note)
        self.breaker = Breaker(BackOff(1.0, self.settings.think_every_s))

    async def run(self) -> None:
        """Load now, then look at the manifest every `think_every_s`, sooner after a failure."""
        while True:
            await self.load()
            wait_s = self.settings.think_every_s
            if self.problem and self.problem != NOT_YET:
                wait_s = min(wait_s, self.breaker.failed(self.problem, clock.monotonic()))
            else:
                self.breaker.worked()
            await asyncio.sleep(wait_s)
            self.breaker.begin_trial()

    async def load(self) -> None:
        """Load the current version unless it is served already."""
        await self._look()
        if self.served is not None and self.problem == NOT_YET:
            self.problem = ""  # an earlier one is served, while this worker loads
        try:
            options = replace(self.options, trusted=trusted_keys(self.settings))
            report = await load_mapping(self.redis, self.settings.think_dir, options)
        except (MappingError, SettingsError, StoreError) as error:
            self.problem = str(error)
            self.metrics.think_loads.labels("failed").inc()
            log.warning("mapping_not_loaded", error=error.message, action=error.action)
            return
        finally:
            self.loading = ""
        self.problem = NOT_YET if report.outcome is LoadOutcome.BUSY and self.served is None else ""
        self.metrics.think_loads.labels(report.outcome).inc()
        if report.outcome is LoadOutcome.LOADED:
            log.info(
                "mapping_loaded",
                version=report.version,
                triggers=report.triggers,
                left_out=report.left_out,
            )
        self._tell_held(report)
        await self._look()

    def facts(self) -> dict[str, Any]:
        """What is served, for `/ready`; no figure of a user."""
        found: dict[str, Any] = {"version": None, "loading": self.loading}
        if self.served is not None:
            canary = self.served.canary
            found |= {
                "version": self.served.version,
                "triggers": self.served.triggers,
                "created": self.created,
                "canary": canary.version if canary else None,
                "share": canary.share if canary else 0.0,
                "held": list(self.served.held),
            }
        return found

    async def _look(self) -> None:
        """See what is served, whoever brought it about."""
        with suppress(StoreError), store_errors("The mapping's pointer was not read"):
            self.served = await read_pointer(self.redis)
            self.metrics.think_versions.set(len(await known_versions(self.redis)))
        self.metrics.think_triggers.set(self.served.triggers if self.served else 0)
        self.created = await asyncio.to_thread(self._created)
        self.metrics.think_created_s.set(_unix_s(self.created))

    def _created(self) -> str:
        """The day on which the served version was built; "": this worker's folder has not that version."""
        if self.served is None:
            return ""
        try:
            created = read_manifest(self.settings.think_dir, self.served.version).created
        except MappingError:
            return ""
        return created.isoformat() if created else ""

    def _note(self, done: int, version: str) -> None:
        self.loading = f"{version}: {done:,} triggers written"

    def _tell_held(self, report: LoadReport) -> None:
        held = report.version if report.outcome is LoadOutcome.HELD else ""
        if held and held != self.told:
            log.info("mapping_held", served=held, why="people decided against the one in current.json")
        self.told = held


def _unix_s(day: str) -> float:
    """The day's beginning in UTC; 0 for none."""
    if not day:
        return 0.0
    return datetime.combine(datetime.fromisoformat(day).date(), time(), UTC).timestamp()
