"""Stopping within one deadline: take no more, finish what is in hand, commit, leave the group.

What is not finished in time is handed back: it was not acknowledged, so whoever gets its partition reads it
again. The process then ends at once, since Faust would acknowledge an event whose agent it cancels.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import structlog

from agents.hints.agent import HintsAgent
from streams.app import NearlineApp

log = structlog.get_logger("worker")
LATE_EXIT: Final = 1
SHARE_FOR_WORK: Final = 0.6  # of the deadline; the rest is for flushing, committing and leaving
POLL_S: Final = 0.02


@dataclass(slots=True)
class Deadline:
    """Ends the process, whatever hangs: a thread of its own watches the clock."""

    within_s: float
    exit_code: int = LATE_EXIT
    handed_back: str = "nothing was taken"
    _began_s: float | None = None
    _timer: threading.Timer | None = field(default=None, repr=False)

    def begin(self) -> None:
        """From now on; a second call changes nothing."""
        if self._timer is None:
            self._began_s = time.monotonic()
            self._timer = threading.Timer(self.within_s, self._over)
            self._timer.daemon = True
            self._timer.start()

    def left_s(self) -> float:
        """Seconds until the end."""
        since_s = time.monotonic() - self._began_s if self._began_s is not None else 0.0
        return max(0.0, self.within_s - since_s)

    def cancel(self) -> None:
        """All is stopped in time."""
        if self._timer is not None:
            self._timer.cancel()

    def _over(self) -> None:
        log.error("stopped_late", after_s=self.within_s, handed_back=self.handed_back)
        end_now(self.exit_code)


def end_now(exit_code: int) -> None:
    """End the process without another word to Kafka or Redis, as if it had been killed."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(exit_code)


async def drain(apps: Sequence[NearlineApp], hints: HintsAgent | None, deadline: Deadline) -> None:
    """Stop all apps. Returns in time, or not at all: then the deadline ends the process."""
    for app in apps:
        stop_taking(app)
    until_s = SHARE_FOR_WORK * deadline.left_s()
    done = await asyncio.gather(*(_finished(app, until_s) for app in apps), _hints_done(hints, until_s))
    deadline.handed_back = _told(apps, hints)
    if not all(done):
        log.error("stopped_late", handed_back=deadline.handed_back)
        end_now(deadline.exit_code)
    log.info("handed_back", what=deadline.handed_back)
    await asyncio.gather(*(_stop(app) for app in apps))


def stop_taking(app: NearlineApp) -> None:
    """No event reaches an agent any more; those that wait in the app are dropped, unacknowledged."""
    consumer: Any = app._consumer
    if consumer is None or not app.ready:
        return
    consumer.stop_flow()
    app.flow_control.suspend()
    consumer.pause_partitions(consumer.assignment())
    app.flow_control.clear()


def in_hand(app: NearlineApp) -> int:
    """Batches that agents are at work on, and events that Faust would acknowledge if it cancelled them."""
    agents: Any = app.agents
    events = sum(
        bool(actor.stream.enable_acks and actor.stream.current_event is not None)
        for agent in agents.values()
        for actor in agent._actors
    )
    return len(app.in_hand) + events


async def _finished(app: NearlineApp, within_s: float) -> bool:
    until_s = time.monotonic() + within_s
    while in_hand(app):
        if time.monotonic() > until_s:
            return False
        await asyncio.sleep(POLL_S)
    return True


async def _hints_done(hints: HintsAgent | None, within_s: float) -> bool:
    """A list that Redis does not take must not keep the process: its request stays unacknowledged."""
    if hints is not None:
        await hints.drain(within_s)
    return True


async def _stop(app: NearlineApp) -> None:
    try:
        await app.stop()
    except Exception as error:
        log.warning("stop_failed", app=app.conf.id, error=repr(error))


def _told(apps: Sequence[NearlineApp], hints: HintsAgent | None) -> str:
    events, requests = sum(in_hand(app) for app in apps), len(hints.acks) if hints is not None else 0
    return f"{events} events, {requests} hint requests"
