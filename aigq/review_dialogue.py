"""The questions of `aigq think review`: one entry at a time, one line for an answer.

    a [reason]   accept        e [query]   edit: another query in its place
    r [reason]   reject        s           skip: asked again last
    q            quit          ?           these keys

Works on a terminal and on a pipe; the end of the input quits. Each answer is kept before "kept" is shown.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from rich.console import Console
from rich.text import Text

from aigq.review_screen import render_entry
from streams.harmless_text import harmless

if TYPE_CHECKING:
    from training.think.review.corrections import Correction, Second
    from training.think.review.decisions import Decision

KEYS: Final = "a accept · e edit · r reject with a reason · s skip · q quit"
SECOND: Final[dict[str, Second]] = {"a": "approve", "e": "reject", "r": "reject", "s": "skip"}


class Quit(Exception):  # noqa: N818 - no error: the person is done
    """No more answers."""


@dataclass(frozen=True, slots=True)
class Dialogue:
    """correct: makes a correction of (decision, second, reason, edited query); raises ValueError with the
    obstacle. edit_problem: why a query may not stand in, or "". keep: returns when it is on the disk."""

    console: Console
    correct: Callable[[Decision, Second, str, str | None], Correction]
    edit_problem: Callable[[Decision, str], str]
    keep: Callable[[Correction], None]

    def ask(self, decisions: Sequence[Decision]) -> int:
        """Ask them all, or until the person quits; returns how many were answered, skips included."""
        done = 0
        try:
            for place, decision in enumerate(decisions, 1):
                self.console.print(render_entry(decision, place, len(decisions)))
                self._one(decision)
                done += 1
        except Quit:
            self._say(f"{len(decisions) - done:,} left for later.")
        return done

    def _one(self, decision: Decision) -> None:
        """Until there is an answer that can be kept."""
        while True:
            key, _, rest = self._line(KEYS).partition(" ")
            if key == "q":
                raise Quit
            if key not in SECOND:
                self._say("Type one of these letters, then Enter.")
                continue
            answer = self._answer(decision, key, rest.strip())
            if answer is not None:
                self.keep(answer)
                self._say(f"kept {answer.id}")
                return

    def _answer(self, decision: Decision, key: str, rest: str) -> Correction | None:
        """None, with the obstacle said, when it cannot be."""
        try:
            if key == "e":
                return self._edit(decision, rest or self._line("the query instead"))
            if key == "r":
                rest = rest or self._line("the reason")
                if not rest:
                    self._say("A rejection needs a reason: similar cases are judged by it.")
                    return None
            return self.correct(decision, SECOND[key], rest, None)
        except ValueError as error:
            self._say(f"Not possible: {error}.")
            return None

    def _edit(self, decision: Decision, query: str) -> Correction | None:
        problem = self.edit_problem(decision, query)
        if problem:
            self._say(f"Not possible: {problem}")
            return None
        return self.correct(decision, "reject", "", query)

    def _line(self, prompt: str) -> str:
        self.console.print(Text(f"  {prompt} > ", style="bold"), end="")
        line = sys.stdin.readline()
        if not line:
            self.console.print()
            raise Quit
        return line.strip()

    def _say(self, text: str) -> None:
        self.console.print(Text(f"  {harmless(text)}"))
