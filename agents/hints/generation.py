"""From a batch of hint requests to their lists: generation, filters, and Think's help for short lists.

A run that takes too long is stopped. Should its thread not even come back then, it is left behind with its
graphs, and the bundle is opened anew; after a few of those the worker must be started anew.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

import structlog

from agents.deny.gate import DenyGate
from agents.hints.bundle import Bundle
from agents.hints.compose import Composed, compose
from agents.hints.fill import filled, missing
from agents.hints.think_source import ThinkSource
from streams.deny_rules import NO_RULES, DenyRules
from streams.errors import BundleError, EventError
from streams.hint_request import HintRequest
from streams.metrics import Metrics

log = structlog.get_logger("hints")
RETURNS_WITHIN_S: Final = 2.0  # after it was told to stop
MOST_LEFT_BEHIND: Final = 3


@dataclass(slots=True)
class Generation:
    """The running bundle, and what it is fed with. think: None: short lists stay short.

    open_again: opens the bundle anew from disk. within_s: of one batch. left_behind: threads that never
    came back.
    """

    bundle: Bundle
    metrics: Metrics
    think: ThinkSource | None = None
    gate: DenyGate | None = None
    open_again: Callable[[], Bundle] | None = None
    within_s: float = 10.0
    left_behind: int = 0
    _reembedded: int = 0
    _executor: ThreadPoolExecutor = field(default_factory=partial(ThreadPoolExecutor, 1, "generate"))

    async def lists(self, requests: Sequence[HintRequest]) -> list[Composed]:
        """One list a request, in their order.

        Raises EventError `generation_timeout`, BundleError when the worker must be started anew, and whatever
        a failing model raises.
        """
        denied = NO_RULES if self.gate is None else await self.gate.known()
        bundle, started = self.bundle, time.perf_counter()
        work = partial(compose, requests, bundle, generated_at_ms=now_ms(), denied=denied)
        composed = await self._run(bundle, work)
        self.metrics.generation_s.observe(time.perf_counter() - started)
        self.metrics.batch_size.observe(len(requests))
        if bundle is self.bundle:
            self.metrics.reembedded.inc(bundle.generator.reembedded - self._reembedded)
            self._reembedded = bundle.generator.reembedded
        return await self._filled_up(requests, composed, bundle, denied)

    def swap(self, bundle: Bundle) -> None:
        """Generate with another bundle from the next batch on; one that is under way keeps its own."""
        self.bundle, self._reembedded = bundle, bundle.generator.reembedded

    async def reopen(self) -> None:
        """The bundle anew from disk. Raises BundleError; the one at hand stays."""
        if self.open_again is not None:
            self.swap(await asyncio.to_thread(self.open_again))

    async def _run(self, bundle: Bundle, work: Callable[[], list[Composed]]) -> list[Composed]:
        running = asyncio.get_running_loop().run_in_executor(self._executor, work)
        running.add_done_callback(_look_at)
        await asyncio.wait({running}, timeout=self.within_s)
        if running.done():
            return running.result()
        for session in bundle.sessions:
            session.stop()
        await asyncio.wait({running}, timeout=RETURNS_WITHIN_S)
        if not running.done():
            await self._leave_behind()
        for session in bundle.sessions if running.done() else ():
            session.go_on()
        raise EventError(
            f"No list after {self.within_s:g} s; the run was stopped.",
            reason="generation_timeout",
            action="Keep the dead letter: with the bundle's graph it shows what does not end.",
        )

    async def _leave_behind(self) -> None:
        self.left_behind += 1
        log.error("generation_left_behind", threads=self.left_behind)
        self._executor.shutdown(wait=False)
        self._executor = ThreadPoolExecutor(1, "generate")
        if self.left_behind >= MOST_LEFT_BEHIND:
            raise BundleError(
                f"{self.left_behind} runs of the graph did not end, not even when told to. "
                "Nothing was acknowledged.",
                action="Restart the worker; serve another bundle if it comes again.",
            )
        await self.reopen()

    async def _filled_up(
        self, requests: Sequence[HintRequest], composed: list[Composed], bundle: Bundle, denied: DenyRules
    ) -> list[Composed]:
        """Lists that the filters left short, filled up from Think; the others as they are."""
        short = [place for place, one in enumerate(composed) if missing(one, bundle)]
        if self.think is None or not short:
            return composed
        entries = await self.think.entries([requests[place] for place in short])
        whole = list(composed)
        for place, found in zip(short, entries, strict=True):
            whole[place] = filled(composed[place], found, bundle, denied)
        return whole


def _look_at(running: asyncio.Future[Any]) -> None:
    """What a run that was left behind raises in the end interests nobody."""
    if not running.cancelled():
        running.exception()


def now_ms() -> int:
    """The wall clock."""
    return time.time_ns() // 1_000_000
