"""benchmarks/README.md: the latest figures of every benchmark, written from benchmarks/results.

    python -m benchmarks.page

What stands before the mark is written by hand and has no figures; what stands behind it is made here, so that
page and results agree (tests/docs/test_benchmark_pages.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from benchmarks.catalogue import Benchmark, known
from benchmarks.harness import Bar
from benchmarks.machine import Machine
from benchmarks.report import DOCS, RESULTS, bar_text, number, saved

PAGE: Final = RESULTS.parent / "README.md"
ELSEWHERE: Final = "capacity"  # has a page of its own: docs/capacity.md
BEGIN, END = "<!-- written: python -m benchmarks.page -->", "<!-- /written -->"


def between(page: str, begin: str, end: str, content: str) -> str:
    """The page with `content` between two marks, which it must have. Raises ValueError."""
    before, found, rest = page.partition(begin)
    _, ended, after = rest.partition(end)
    if not found or not ended:
        raise ValueError(f"the page has no marks {begin} … {end}")
    return f"{before}{begin}\n\n{content}\n{end}{after}"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)]) + "\n"


def written(page: str, folder: Path = RESULTS) -> str:
    """The page with the latest figures."""
    parts = [section(one, saved(one.name, folder)) for one in known() if one.name != ELSEWHERE]
    return between(page, BEGIN, END, "\n".join(parts))


def section(one: Benchmark, report: dict[str, Any] | None) -> str:
    """A benchmark's heading, what it measures, its figures, where they are from."""
    parts = [f"## {one.name}\n", f"{one.about} `python -m benchmarks.{one.name}`\n"]
    if report is None or report.get("quick") or "figures" not in report:
        return "\n".join([*parts, "Not measured yet.\n"])
    rows = list(_rows(report))
    parts += [
        table(["", "median", "low", "high", "", "bar"], rows),
        *(f"{note}\n" for note in report["notes"]),
    ]
    parts += [f"![{one.name}](../docs/{name})\n" for name in report["pictures"] if (DOCS / name).exists()]
    return "\n".join([*parts, f"*{Machine(**report['machine']).line}*\n"])


def _rows(report: dict[str, Any]) -> Iterator[list[str]]:
    for one in (*report["figures"], *report["ratios"]):
        numbers = [number(one[name]) for name in ("median", "low", "high")]
        yield [one["name"], *numbers, one.get("unit", "times"), _judged(one["bar"])]


def _judged(bar: dict[str, Any] | None) -> str:
    if bar is None:
        return ""
    return f"{bar_text(Bar(bar['side'], bar['value']))} {'met' if bar['met'] else '**missed**'}"


def write() -> None:
    """Bring the page up to date."""
    PAGE.write_text(written(PAGE.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    write()
