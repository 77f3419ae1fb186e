"""What asking may cost, and what it has cost. Nothing is asked that could pass a limit.

Before each request its worst case is set aside (the question's estimated tokens and the longest answer);
afterwards what the server counted takes its place. A request that fails counts as one, with no tokens: what
a server charges for it is not known here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from threading import Condition
from typing import Final

from streams.errors import SettingsError

MILLION: Final = 1_000_000


class LimitReachedError(Exception):
    """One more request could pass a limit, which it names."""


@dataclass(frozen=True, slots=True)
class Limits:
    """None: no limit. price_in, price_out: money for a million tokens of questions, of answers; the money's
    unit is that of the prices."""

    requests: int | None = None
    tokens: int | None = None
    money: float | None = None
    price_in: float = 0.0
    price_out: float = 0.0

    def __post_init__(self) -> None:
        if self.money is not None and not (self.price_in or self.price_out):
            raise SettingsError(
                "A limit of money needs prices.", action="Give --price-in and --price-out per million tokens."
            )

    def cost(self, prompt_tokens: int, answer_tokens: int) -> float:
        """Money for so many tokens."""
        return (self.price_in * prompt_tokens + self.price_out * answer_tokens) / MILLION


NO_LIMITS: Final = Limits()


@dataclass(slots=True)
class Spending:
    """Counts of one run, for several threads. The first three are of what was asked, aside what may come."""

    limits: Limits = field(default=NO_LIMITS)
    requests: int = 0
    prompt_tokens: int = 0
    answer_tokens: int = 0
    _aside: list[tuple[int, int]] = field(default_factory=list)
    _changed: Condition = field(default_factory=Condition)

    @property
    def money(self) -> float:
        """Spent so far."""
        return self.limits.cost(self.prompt_tokens, self.answer_tokens)

    def begin(self, prompt_tokens: int, answer_tokens: int) -> None:
        """Set a request's worst case aside; waits while only what others set aside is in the way.

        Raises LimitReachedError.
        """
        with self._changed:
            while passed := self._passed(prompt_tokens, answer_tokens):
                if not self._aside or passed == "requests":
                    raise LimitReachedError(passed)
                self._changed.wait()
            self.requests += 1
            self._aside.append((prompt_tokens, answer_tokens))

    def end(self, aside: tuple[int, int], spent: tuple[int, int]) -> None:
        """What was set aside becomes what was spent; both (question, answer) tokens."""
        with self._changed:
            self._aside.remove(aside)
            self.prompt_tokens += spent[0]
            self.answer_tokens += spent[1]
            self._changed.notify_all()

    def _passed(self, prompt_tokens: int, answer_tokens: int) -> str:
        limits = self.limits
        asked = self.prompt_tokens + prompt_tokens + sum(one for one, _ in self._aside)
        answered = self.answer_tokens + answer_tokens + sum(one for _, one in self._aside)
        if limits.requests is not None and self.requests + 1 > limits.requests:
            return "requests"
        if limits.tokens is not None and asked + answered > limits.tokens:
            return "tokens"
        if limits.money is not None and limits.cost(asked, answered) > limits.money:
            return "money"
        return ""
