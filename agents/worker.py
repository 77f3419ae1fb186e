"""One worker process: the chosen roles, each a Faust application, with health endpoint and watchdog.

Every role is its own consumer group, in one process or many, so a shop can split the roles over
machines without losing offsets or state.
"""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Callable, Iterable, Sequence
from enum import StrEnum
from functools import partial
from typing import Any

import structlog
from redis.asyncio import Redis

from agents.erasure.agent import ErasureAgent, receipt_key
from agents.feedback.agent import FeedbackAgent
from agents.health import HealthServer
from agents.hints.agent import HintsAgent
from agents.hints.batches import Batches
from agents.hints.bundle import Bundle, load_encoder
from agents.hints.generation import Generation
from agents.hints.publishing import Publishing
from agents.hints.think_source import ThinkSource
from agents.serving import open_bundle, rules_of
from agents.session.agent import SessionAgent
from agents.think.agent import ThinkAgent
from agents.watchdog import CommitWatch, observe_consumer
from streams.app import NearlineApp, create_app
from streams.errors import AigqError, BrokerError
from streams.hint_store import AsyncHintReader
from streams.hint_writer import HintWriter
from streams.metrics import Metrics
from streams.redis_client import connect_redis
from streams.settings import Settings
from streams.topics import SESSION_APP, broker_away, ensure_topics

log = structlog.get_logger("worker")
WATCH_EVERY_S = 0.5
STOP_WITHIN_S = 15.0


class Role(StrEnum):
    """What a worker does; by default all of it."""

    SESSION = "session"
    HINTS = "hints"
    THINK = "think"
    FEEDBACK = "feedback"
    ERASURE = "erasure"


ALL_ROLES: tuple[Role, ...] = tuple(Role)


class Worker:
    """Builds the roles' apps, runs them until told to stop or until one fails."""

    def __init__(self, settings: Settings, roles: Iterable[Role] = ALL_ROLES) -> None:
        self.settings, self.roles = settings, tuple(roles)
        self.metrics = Metrics()
        self.apps: list[NearlineApp] = []
        self.health = HealthServer(settings, self.metrics, self.problems, self.facts)
        self._hints: HintsAgent | None = None
        self._think: ThinkAgent | None = None
        self._feedback: FeedbackAgent | None = None
        self._erasure: ErasureAgent | None = None
        self._redis: Redis | None = None
        self._watches: dict[str, CommitWatch] = {}
        self._standing_s: dict[str, float] = {}
        self._built = False
        self._loader: asyncio.Task[None] | None = None
        self._stop = asyncio.Event()

    def problems(self) -> dict[str, str]:
        """Part → what is wrong with it; empty when the worker is ready."""
        found = {app.conf.id: "not assigned, or recovering" for app in self.apps if not app.ready}
        if not self._built:
            found["worker"] = "starting"
        for name, standing_s in self._standing_s.items():
            if standing_s >= self.settings.stuck_after_s:
                found[name] = f"lag, but no commit for {standing_s:.0f} s"
        if self._store_error():
            found["redis"] = self._store_error()
        if self._erasure is not None and self._erasure.problem:
            found["erasure"] = self._erasure.problem
        if self._think is not None and self._think.problem:
            found["think"] = self._think.problem
        return found

    def facts(self) -> dict[str, Any]:
        """What else `/ready` tells: the mapping that is served, if this worker loads it."""
        return {"mapping": self._think.facts()} if self._think is not None else {}

    def stop(self) -> None:
        """Ask the worker to stop; `run` returns when it has."""
        self._stop.set()

    async def run(self, on_ready: Callable[[], None] | None = None) -> None:
        """Run until `stop` is called or a signal comes. Raises AigqError when it cannot go on."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self.stop)
        await self.health.start()
        try:
            await asyncio.to_thread(ensure_topics, self.settings)
            self._build()
            await self._start()
            log.info("worker_ready", roles=[str(r) for r in self.roles], health_port=self.health.port)
            if on_ready is not None:
                on_ready()
            await self._watch()
        finally:
            await self._shut_down()

    def _build(self) -> None:
        settings = self.settings
        bundle = open_bundle(settings) if Role.HINTS in self.roles else None
        self._redis = connect_redis(settings)
        writer = HintWriter(self._redis, runs_kept=settings.runs_kept, ttl_s=settings.hints_ttl_s)
        if Role.THINK in self.roles:
            self._think = ThinkAgent(settings, self._redis, self.metrics)
        for role in self.roles:
            if role is not Role.THINK:
                app = create_app(SESSION_APP if role is Role.SESSION else f"aigq-{role}", settings)
                self._attach(role, app, bundle, writer)
                self.apps.append(app)
        self._built = True

    def _attach(self, role: Role, app: NearlineApp, bundle: Bundle | None, writer: HintWriter) -> None:
        settings, metrics = self.settings, self.metrics
        if role is Role.SESSION:
            encoder, name = (bundle.encoder, bundle.name) if bundle else load_encoder(settings.bundle_dir)
            SessionAgent(app, settings, rules_of(settings, encoder, name), metrics).attach()
        elif role is Role.HINTS and bundle is not None:
            think = ThinkSource(self._redis) if self._redis is not None else None
            generation = Generation(
                bundle, metrics, think, partial(open_bundle, settings), settings.generation_timeout_s
            )
            publishing = Publishing(writer, metrics)
            self._hints = HintsAgent(app, settings, Batches(generation), publishing, metrics)
            self._hints.attach()
        elif role is Role.FEEDBACK and self._redis is not None:
            self._feedback = FeedbackAgent(app, settings, AsyncHintReader(self._redis), metrics)
            self._feedback.attach()
        elif role is Role.ERASURE:
            self._erasure = ErasureAgent(app, settings, metrics, receipt_key(settings))
            self._erasure.attach()

    async def _start(self) -> None:
        if self._think is not None:
            self._loader = asyncio.create_task(self._think.run())
        for app in self.apps:
            app.finalize()
        try:
            await asyncio.gather(*(app.start() for app in self.apps))
        except AigqError:
            raise
        except Exception as error:
            raise broker_away(self.settings, error) from error
        while not all(app.ready for app in self.apps) and not self._stop.is_set():
            self._raise_if_crashed()
            await asyncio.sleep(0.05)

    async def _watch(self) -> None:
        while not self._stop.is_set():
            self._raise_if_crashed()
            for app in self.apps:
                watch = self._watches.setdefault(app.conf.id, CommitWatch())
                self._standing_s[app.conf.id] = observe_consumer(app, watch, self.metrics, time.monotonic())
            self._raise_if_stuck()
            try:
                await asyncio.wait_for(self._stop.wait(), WATCH_EVERY_S)
            except TimeoutError:
                continue

    def _raise_if_crashed(self) -> None:
        if self._loader is not None and self._loader.done():
            self._loader.result()
        for app in self.apps:
            if app.crashed:
                reason = app.crash_reason
                if isinstance(reason, AigqError):
                    raise reason
                raise BrokerError(
                    f"The application {app.conf.id} failed: {reason!r}. Nothing was committed after it.",
                    action="Restart the worker; it reads on from the last commit.",
                ) from reason

    def _store_error(self) -> str:
        """Why agents wait for Redis; empty: none does."""
        return next(
            (agent.store_error for agent in (self._hints, self._feedback) if agent and agent.store_error), ""
        )

    def _raise_if_stuck(self) -> None:
        """A consumer that stands still is replaced by a restart, unless it waits for Redis."""
        if self._store_error():
            return
        limit_s = 2 * self.settings.stuck_after_s
        stuck = [name for name, age_s in self._standing_s.items() if age_s > limit_s]
        if stuck:
            raise BrokerError(
                f"{', '.join(stuck)} has lag but has committed nothing for {limit_s:.0f} s.",
                action="Restart the worker; it reads on from the last commit.",
            )

    async def _shut_down(self) -> None:
        if self._loader is not None:
            self._loader.cancel()
        for app in reversed(self.apps):
            try:
                async with asyncio.timeout(STOP_WITHIN_S):
                    await app.stop()
            except Exception as error:
                log.warning("stop_failed", app=app.conf.id, error=repr(error))
        if self._redis is not None:
            await self._redis.aclose()
        await self.health.stop()


def run_worker(settings: Settings, roles: Sequence[Role] = ALL_ROLES) -> None:
    """Run a worker in this process until it is told to stop. Raises AigqError."""
    asyncio.run(Worker(settings, roles).run())
