"""From a batch of hint requests to their lists: generation, filters, and Think's help for short lists."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial

from agents.hints.bundle import Bundle
from agents.hints.compose import Composed, compose
from agents.hints.fill import filled, missing
from agents.hints.think_source import ThinkSource
from streams.hint_request import HintRequest
from streams.metrics import Metrics


@dataclass(slots=True)
class Generation:
    """The running bundle, and what it is fed with. think: None: short lists stay short."""

    bundle: Bundle
    metrics: Metrics
    think: ThinkSource | None = None
    _reembedded: int = 0
    _executor: ThreadPoolExecutor = field(default_factory=partial(ThreadPoolExecutor, 1, "generate"))

    async def lists(self, requests: Sequence[HintRequest]) -> list[Composed]:
        """One list a request, in their order. Raises whatever a failing model raises."""
        started = time.perf_counter()
        work = partial(compose, requests, self.bundle, generated_at_ms=now_ms())
        composed = await asyncio.get_running_loop().run_in_executor(self._executor, work)
        self.metrics.generation_s.observe(time.perf_counter() - started)
        self.metrics.batch_size.observe(len(requests))
        self.metrics.reembedded.inc(self.bundle.generator.reembedded - self._reembedded)
        self._reembedded = self.bundle.generator.reembedded
        return await self._filled_up(requests, composed)

    async def _filled_up(self, requests: Sequence[HintRequest], composed: list[Composed]) -> list[Composed]:
        """Lists that the filters left short, filled up from Think; the others as they are."""
        short = [place for place, one in enumerate(composed) if missing(one, self.bundle)]
        if self.think is None or not short:
            return composed
        entries = await self.think.entries([requests[place] for place in short])
        whole = list(composed)
        for place, found in zip(short, entries, strict=True):
            whole[place] = filled(composed[place], found, self.bundle)
        return whole


def now_ms() -> int:
    """The wall clock."""
    return time.time_ns() // 1_000_000
