"""Findings of lint, by kind: each with the place of its first case and how often there is such a case."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

Level = Literal["problem", "warning"]


@dataclass(frozen=True, slots=True)
class Finding:
    """Something wrong: a `problem` must not be served, a `warning` is for somebody to look at.

    name: of its kind; where, what: of its first case; count: cases.
    """

    level: Level
    name: str
    where: str
    what: str
    count: int = 1


class Findings:
    """Findings by kind, in the order in which they came up."""

    def __init__(self) -> None:
        self._found: dict[str, Finding] = {}

    def add(self, level: Level, name: str, where: str, what: str) -> None:
        """One case."""
        known = self._found.get(name)
        self._found[name] = (
            replace(known, count=known.count + 1) if known else Finding(level, name, where, what)
        )

    def all(self) -> list[Finding]:
        """Problems first."""
        return sorted(self._found.values(), key=lambda one: one.level != "problem")
