"""A language model as the reasoner: histories in, checked interest points out, within limits.

    history ──prompt──► cache? ──► endpoint ──► cache ──validate──► Reasoned

A question that the cache knows costs nothing; so a run that was stopped, or killed, goes on where it was.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from threading import Event, Lock
from typing import Final, Literal

from streams.errors import TrainingError
from training.think.language_model.cache import AnswerCache, Completion, key_of
from training.think.language_model.chat import ChatEndpoint
from training.think.language_model.endpoint import Endpoint
from training.think.language_model.prompt import Message, messages
from training.think.language_model.retry import AskError
from training.think.language_model.spending import NO_LIMITS, LimitReachedError, Limits, Spending
from training.think.language_model.validate import checked
from training.think.points import History, Reasoned

FAILURES_IN_A_ROW: Final = 20  # so many questions without an answer end the run: the endpoint is away

Source = Literal["asked", "cached", "failed", "left"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """asked, cached: answered now, or before. failed: the endpoint gave no answer. left: not asked, since a
    limit was reached or the endpoint is away. Only the first two are final."""

    reasoned: Reasoned
    source: Source


@dataclass(slots=True)
class Tally:
    """Counts of a run. empty: answers without points. dropped: parts of answers that were not kept, by
    reason. stopped: why some histories were left; gave_up: since the endpoint did not answer."""

    sources: Counter[str] = field(default_factory=Counter)
    points: int = 0
    empty: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    stopped: str = ""
    gave_up: bool = False


class LanguageModelReasoner:
    """A Reasoner (training.think.points). concurrency: questions at the same time."""

    def __init__(
        self, endpoint: Endpoint, cache: AnswerCache, limits: Limits = NO_LIMITS, concurrency: int = 4
    ) -> None:
        self.endpoint = endpoint
        self.spending = Spending(limits)
        self.tally = Tally()
        self.concurrency = concurrency
        self._cache = cache
        self._stopped = Event()
        self._chat = ChatEndpoint(endpoint, self.spending, self._stopped)
        self._lock = Lock()
        self._keys: dict[str, Lock] = {}
        self._failures = 0

    @property
    def name(self) -> str:
        """`llm-` and the model."""
        return self.endpoint.maker

    def points(self, histories: Sequence[History]) -> Iterator[Reasoned]:
        """One answer per history, as they come; a history without an answer has a problem. Raises
        TrainingError."""
        return (outcome.reasoned for outcome in self.outcomes(histories))

    def outcomes(self, histories: Iterable[History]) -> Iterator[Outcome]:
        """As `points`, with where each answer comes from; reads a little ahead. Raises TrainingError."""
        pool = ThreadPoolExecutor(self.concurrency, thread_name_prefix="language-model")
        waiting: set[Future[Outcome]] = set()
        try:
            for history in histories:
                waiting.add(pool.submit(self._outcome, history))
                if len(waiting) >= 2 * self.concurrency:
                    done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                    yield from map(self._counted, done)
            while waiting:
                done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                yield from map(self._counted, done)
        except BaseException:
            self._stopped.set()
            raise
        finally:
            pool.shutdown(cancel_futures=True)

    def close(self) -> None:
        """End connections."""
        self._chat.close()

    def _outcome(self, history: History) -> Outcome:
        asked = messages(history)
        key = key_of(asked, self.endpoint.settings)
        with self._lock:
            alone = self._keys.setdefault(key, Lock())
        with alone:  # histories may be equal: their question is asked once
            return self._answered(history, asked, key)

    def _answered(self, history: History, asked: list[Message], key: str) -> Outcome:
        known = self._cache.get(key)
        if known is not None:
            return self._checked(history, known, "cached")
        if self.tally.stopped:
            return _without(history, "left", self.tally.stopped)
        try:
            answer = self._chat.ask(asked)
        except LimitReachedError as limit:
            self.tally.stopped = f"the limit of {limit} is reached"
            return _without(history, "left", self.tally.stopped)
        except AskError as error:
            self._count_failure(error)
            return _without(history, "failed", str(error))
        except TrainingError:
            self._stopped.set()
            raise
        self._failures = 0
        self._cache.put(key, answer)
        return self._checked(history, answer, "asked")

    def _checked(self, history: History, answer: Completion, source: Source) -> Outcome:
        found = checked(history, answer.text, answer.finish)
        with self._lock:
            self.tally.dropped.update(found.dropped)
        return Outcome(found.reasoned, source)

    def _count_failure(self, error: AskError) -> None:
        with self._lock:
            self._failures += 1
            if self._failures >= FAILURES_IN_A_ROW:
                self.tally.gave_up = True
                self.tally.stopped = f"{self._failures} questions in a row got no answer; the last: {error}"

    def _counted(self, future: Future[Outcome]) -> Outcome:
        outcome = future.result()
        self.tally.sources[outcome.source] += 1
        self.tally.points += len(outcome.reasoned.points)
        self.tally.empty += not outcome.reasoned.points
        return outcome


def _without(history: History, source: Source, why: str) -> Outcome:
    verb = "Not asked" if source == "left" else "No answer"
    return Outcome(Reasoned(history=history.name, problem=f"{verb}: {why}."), source)
