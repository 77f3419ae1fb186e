"""One worker process: the chosen roles, each a Faust application, with health endpoint and watchdog.

Every role is its own consumer group, in one process or many, so a shop can split the roles over
machines without losing offsets or state.
"""

from __future__ import annotations

import asyncio
import gc
import signal
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import structlog

from agents.drain import Deadline, drain, end_now
from agents.health import HealthServer
from agents.overload import Load, Overload
from agents.parts import ALL_ROLES, Parts, Role
from agents.watchdog import AppWatch
from streams.app import NearlineApp
from streams.errors import AigqError, BrokerError
from streams.metrics import Metrics
from streams.settings import Settings
from streams.topics import broker_away, ensure_topics

log = structlog.get_logger("worker")
FAILED_WITHIN_S = 5.0  # what failed has nothing to finish: whoever comes next reads it again
WATCH_EVERY_S = 0.5
STOOD_STILL_S = 5.0
COLLECT_EVERY = 20_000  # new objects; a batch of events makes as many (measured: a tenth of its CPU time)


class Worker:
    """Builds the roles' apps, runs them until told to stop or until one fails."""

    def __init__(self, settings: Settings, roles: Iterable[Role] = ALL_ROLES) -> None:
        self.settings, self.roles = settings, tuple(roles)
        self.metrics = Metrics()
        self.health = HealthServer(settings, self.metrics, self.problems, self.facts, self.dead)
        self.deadline = Deadline(settings.stop_within_s)
        self.overload = Overload()
        self._parts: Parts | None = None
        self._watches: dict[str, AppWatch] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._turned_s = 0.0
        self._told_at_s = self._waited_s = float("-inf")
        self._stood_still = ""
        self._stop = asyncio.Event()

    @property
    def apps(self) -> list[NearlineApp]:
        """One a role, once they are built."""
        return self._parts.apps if self._parts is not None else []

    def problems(self) -> dict[str, str]:
        """Part → what is wrong with it; empty when the worker is ready."""
        parts, now_s = self._parts, time.monotonic()
        if parts is None:
            return {"worker": "starting"}
        found = {app.conf.id: "not assigned, or recovering" for app in parts.apps if not app.ready}
        for name, watch in self._watches.items():
            if watch.standing_s >= self.settings.stuck_after_s:
                found[name] = f"lag, but no commit for {watch.standing_s:.0f} s"
            if watch.broker.problem(now_s):
                found["kafka"] = watch.broker.problem(now_s)
        if parts.alive is not None and parts.alive.problem(now_s):
            found["redis"] = parts.alive.problem(now_s)
        if parts.think is not None and parts.think.problem:
            found["think"] = parts.think.problem
        return found | parts.waits_for | self._own_problem(now_s)

    def facts(self) -> dict[str, Any]:
        """What else `/ready` tells, ready or not: bundle and mapping, circuits, load."""
        parts = self._parts
        if parts is None:
            return {}
        found: dict[str, Any] = {
            "breakers": {name: breaker.circuit for name, breaker in parts.breakers.items()},
            "overload": self.overload.now,
        }
        if parts.alive is not None and parts.alive.lost:
            found["redis"] = {"lost": parts.alive.lost}
        if parts.bundles is not None:
            found["bundle"] = parts.bundles.facts()
        if parts.think is not None:
            found["mapping"] = parts.think.facts()
        return found

    def dead(self) -> list[str]:
        """Needed tasks that have ended; the worker ends itself for them, unless that hangs."""
        if self._parts is None:
            return []
        tasks = [task.get_name() for task in self._tasks if task.done()]
        return [*tasks, *(app.conf.id for app in self._parts.apps if app.crashed)]

    def stop(self) -> None:
        """Ask the worker to stop; `run` returns when it has, or the process ends at the deadline."""
        self.deadline.begin()
        self._stop.set()

    async def run(self, on_ready: Callable[[], None] | None = None) -> None:
        """Run until `stop` is called or a signal comes. Raises AigqError when it cannot go on."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._signalled, number)
        await self.health.start()
        try:
            await asyncio.to_thread(ensure_topics, self.settings)
            self._parts = Parts.of(self.settings, self.roles, self.metrics)
            await self._start(self._parts)
            log.info("worker_ready", roles=[str(r) for r in self.roles], health_port=self.health.port)
            if on_ready is not None:
                on_ready()
            await self._watch(self._parts)
        except AigqError as error:
            self.deadline.exit_code = error.exit_code
            self.deadline.within_s = min(self.deadline.within_s, FAILED_WITHIN_S)
            raise
        finally:
            await self._shut_down()

    def _signalled(self, number: int) -> None:
        """The first asks to stop, the second ends at once: nothing is lost by it, only read again."""
        if self._stop.is_set():
            log.warning("ended_at_once", signal=number)
            end_now(128 + number)
        self.stop()

    async def _start(self, parts: Parts) -> None:
        needed = {"think": parts.think, "bundle": parts.bundles, "redis": parts.alive}
        self._tasks = [asyncio.create_task(one.run(), name=name) for name, one in needed.items() if one]
        self._turned_s = time.monotonic()
        for app in parts.apps:
            app.finalize()
        settle_memory()
        try:
            await asyncio.gather(*(app.start() for app in parts.apps))
        except AigqError:
            raise
        except Exception as error:
            raise broker_away(self.settings, error) from error
        while not all(app.ready for app in parts.apps) and not self._stop.is_set():
            self._raise_if_crashed(parts)
            self._turned_s = time.monotonic()
            await asyncio.sleep(0.05)

    async def _watch(self, parts: Parts) -> None:
        while not self._stop.is_set():
            now_s = time.monotonic()
            self._notice_standstill(now_s)
            self._raise_if_crashed(parts)
            for app in parts.apps:
                self._watches.setdefault(app.conf.id, AppWatch()).observe(app, self.metrics, now_s)
            self._measure(parts, now_s)
            self._raise_if_stuck(parts, now_s)
            try:
                await asyncio.wait_for(self._stop.wait(), WATCH_EVERY_S)
            except TimeoutError:
                continue

    def _own_problem(self, now_s: float) -> dict[str, str]:
        """A process that was stopped, or starved, may have lost its partitions without knowing it yet."""
        self._notice_standstill(now_s, turn=False)
        heartbeats_s = 2 * max(1, self.settings.session_timeout_s // 5)  # by then the group has said
        recent = now_s - self._told_at_s < heartbeats_s
        return {"worker": self._stood_still} if recent else {}

    def _notice_standstill(self, now_s: float, *, turn: bool = True) -> None:
        gap_s = now_s - self._turned_s
        if gap_s > STOOD_STILL_S:
            self._stood_still = f"stood still for {gap_s:.0f} s: others may have its partitions"
            self._told_at_s = now_s
            if turn:
                log.warning("stood_still", seconds=round(gap_s))
        if turn:
            self._turned_s = now_s

    def _measure(self, parts: Parts, now_s: float) -> None:
        metrics, hints, age_s = self.metrics, parts.hints, 0.0
        for name, breaker in parts.breakers.items():
            metrics.breaker_open.labels(name).set(breaker.is_open)
        if hints is not None:
            age_s = hints.queue.age_s(now_s)
            metrics.queue_requests.set(hints.queue.waiting)
            metrics.queue_bytes.set(hints.acks.size)
            metrics.queue_age_s.set(age_s)
        lag = max((lag for watch in self._watches.values() for lag in watch.lags.values()), default=0)
        late = self.overload.observe(Load(age_s, hints is not None and hints.full, lag))
        metrics.overloaded.set(bool(late))

    def _raise_if_crashed(self, parts: Parts) -> None:
        for task in self._tasks:
            if task.done():
                task.result()
        for app in parts.apps:
            if app.crashed:
                reason = app.crash_reason
                if isinstance(reason, AigqError):
                    raise reason
                raise BrokerError(
                    f"The application {app.conf.id} failed: {reason!r}. Nothing was committed after it.",
                    action="Restart the worker; it reads on from the last commit.",
                ) from reason

    def _raise_if_stuck(self, parts: Parts, now_s: float) -> None:
        """A consumer that stands still is replaced by a restart, unless it waits for something it names.

        When that is over it has as long as any other: its next commit is still to come.
        """
        if parts.waits_for:
            self._waited_s = now_s
        limit_s = 2 * self.settings.stuck_after_s
        since_s = now_s - self._waited_s
        stuck = [name for name, one in self._watches.items() if min(one.standing_s, since_s) > limit_s]
        if stuck:
            raise BrokerError(
                f"{', '.join(stuck)} has lag but has committed nothing for {limit_s:.0f} s.",
                action="Restart the worker; it reads on from the last commit.",
            )

    async def _shut_down(self) -> None:
        """All of it within the one deadline, and the process too: threads and tasks may still hang."""
        self.deadline.begin()
        for task in self._tasks:
            task.cancel()
        for watch in self._watches.values():
            watch.broker.stop()
        parts = self._parts
        if parts is not None:
            await drain(parts.apps, parts.hints, self.deadline)
            await parts.redis.aclose()
        await self.health.stop()


def settle_memory() -> None:
    """What was loaded stays: the garbage collector need not go through models and modules again and again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(COLLECT_EVERY)


def run_worker(settings: Settings, roles: Sequence[Role] = ALL_ROLES) -> None:
    """Run a worker in this process until it is told to stop. Raises AigqError."""
    asyncio.run(Worker(settings, roles).run())
