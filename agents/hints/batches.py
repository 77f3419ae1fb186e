"""A batch that fails: is it one request, or the model?

A request that fails alone is held back, neither acknowledged nor set aside, until the model is seen to work:
a request that went well before goes well again, or another does. Then it gets a last try, and is set aside if
it fails once more. If it is the model, nothing is set aside: the circuit opens, and each trial begins with
the bundle opened anew from disk.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final

import structlog

from agents.hints.compose import Composed
from agents.hints.generation import Generation
from agents.hints.queue import Job
from streams.acks import Partition
from streams.backoff import BackOff, Breaker
from streams.errors import BundleError, EventError
from streams.hint_request import HintRequest
from streams.unexpected import without_values

log = structlog.get_logger("hints")
DIFFERENT_REQUESTS: Final = 5  # so many failed, and none went well: it is the model
MODEL_BACK_OFF: Final = BackOff(first_s=1.0, longest_s=30.0)


@dataclass(slots=True)
class Worked:
    """What became of jobs: lists to publish, requests to set aside, requests to queue again."""

    done: list[tuple[Job, Composed]] = field(default_factory=list)
    bad: list[tuple[Job, Exception]] = field(default_factory=list)
    back: list[Job] = field(default_factory=list)


@dataclass(slots=True)
class Held:
    """A request that failed alone. last_try: it gets one more when the model works."""

    job: Job
    error: Exception
    last_try: bool


@dataclass(slots=True)
class Batches:
    """Generation with its failures. known_good: the last request that went well, of this worker."""

    generation: Generation
    breaker: Breaker = field(default_factory=partial(Breaker, MODEL_BACK_OFF, 1))
    held: list[Held] = field(default_factory=list)
    known_good: HintRequest | None = None
    _trials: int = 0

    @property
    def problem(self) -> str:
        """Why lists wait for the model; empty: they do not."""
        if self.breaker.is_open:
            return f"the model fails: {self.breaker.problem}"
        return f"{len(self.held)} requests failed, and none went well yet" if self.held else ""

    async def work(self, jobs: Sequence[Job], now_s: float) -> Worked:
        """Lists for jobs. now_s: monotonic. Raises BundleError when the worker must be started anew."""
        worked = Worked()
        await self._work(list(jobs), worked, now_s)
        if self.held and not self.breaker.is_open and self.known_good is not None:
            await self._prove(self.known_good, worked, now_s)
        return worked

    async def trial(self, now_s: float) -> Worked:
        """Of an open circuit: the bundle anew from disk, and one request that should go well."""
        worked, self._trials = Worked(), self._trials + 1
        try:
            await self.generation.reopen()
        except BundleError as error:
            self._open(error, now_s)
            return worked
        # Without one that ever went well, any may be the one that cannot: each trial takes another.
        request = self.known_good or self._one_of_the_held()
        if request is not None:
            await self._prove(request, worked, now_s)
        else:  # their partitions are others' now: the next batch is the trial
            self.breaker.worked()
        return worked

    def drop(self, partitions: set[Partition]) -> None:
        """Partitions were revoked: their next owner reads these requests again."""
        self.held = [one for one in self.held if one.job.ticket.partition not in partitions]

    async def _work(self, jobs: list[Job], worked: Worked, now_s: float) -> None:
        try:
            composed = await self.generation.lists([job.request for job in jobs])
        except BundleError:
            raise
        except Exception as error:
            if len(jobs) == 1:
                self._hold(jobs[0], error, now_s)
            for place, job in enumerate(jobs if len(jobs) > 1 else ()):
                if self.breaker.is_open:
                    worked.back += jobs[place:]
                    break
                await self._work([job], worked, now_s)
        else:
            worked.done += zip(jobs, composed, strict=True)
            self.known_good = jobs[-1].request
            await self._judge_held(worked)

    def _hold(self, job: Job, error: Exception, now_s: float) -> None:
        timeout = isinstance(error, EventError)  # the batch waited for it already
        self.held.append(Held(job, error, last_try=not timeout))
        if self.known_good is None and len(self.held) >= DIFFERENT_REQUESTS:
            self._open(error, now_s)

    async def _prove(self, request: HintRequest, worked: Worked, now_s: float) -> None:
        try:
            await self.generation.lists([request])
        except BundleError:
            raise
        except Exception as error:
            self._open(error, now_s)
        else:
            if self.breaker.is_open:
                log.info("model_works_again", held=len(self.held))
            self.breaker.worked()
            await self._judge_held(worked)

    async def _judge_held(self, worked: Worked) -> None:
        """The model works: whoever fails now is at fault itself."""
        held, self.held = self.held, []
        for one in held:
            try:
                if not one.last_try:
                    raise one.error
                (composed,) = await self.generation.lists([one.job.request])
            except BundleError:
                raise
            except Exception as error:
                worked.bad.append((one.job, error))
            else:
                worked.done.append((one.job, composed))
                self.known_good = one.job.request

    def _open(self, error: Exception, now_s: float) -> None:
        problem = without_values(error)
        wait_s = self.breaker.failed(problem, now_s)
        log.error("model_fails", error=problem, held=len(self.held), retry_in_s=round(wait_s, 1))
        for one in self.held:
            one.last_try = True

    def _one_of_the_held(self) -> HintRequest | None:
        return self.held[self._trials % len(self.held)].job.request if self.held else None
