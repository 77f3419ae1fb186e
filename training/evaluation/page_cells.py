"""Cells and tables of a Markdown page."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

NONE: Final = "–"

Entry = Mapping[str, Any]  # value, low, high; each may be None


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """A Markdown table and an empty line."""
    lines = [head, ["---"] * len(head), *rows]
    return [*("| " + " | ".join(cells) + " |" for cells in lines), ""]


def interval_cell(found: Entry | None) -> str:
    """0.3512 (0.3470 to 0.3554); two digits from 2 on; one number where the interval has no width.

    >>> interval_cell({"value": 7.25, "low": 7.0, "high": 7.5}), interval_cell(None)
    ('7.25 (7.00 to 7.50)', '–')
    """
    if found is None or found["value"] is None:
        return NONE
    digits = 2 if abs(found["value"]) >= 2 else 4
    numbers = [found[name] for name in ("value", "low", "high")]
    value, low, high = (NONE if one is None else f"{one:.{digits}f}" for one in numbers)
    return value if value == low == high else f"{value} ({low} to {high})"


def ratio_cell(lift: Entry | None) -> str:
    """A lift as a ratio: 0.09 is 1.090."""
    if lift is None or lift["value"] is None:
        return NONE
    value, low, high = (1 + lift[name] for name in ("value", "low", "high"))
    return f"{value:.3f} ({low:.3f} to {high:.3f})"


def percent_cell(lift: Entry | None) -> str:
    """A lift in per cent: 0.061 is +6.1%."""
    if lift is None or lift["value"] is None:
        return NONE
    return f"{lift['value']:+.1%} ({lift['low']:+.1%} to {lift['high']:+.1%})"


def words(task: str) -> str:
    """A task's name as it is read."""
    return task.replace("_", " ")
