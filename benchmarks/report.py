"""Reporting: what every benchmark takes on its command line, prints, and saves.

    given = command_line(__doc__).parse_args()
    finish(Report("reader", __doc__, figures, ratios, notes), given)

`--json` prints one object, `--save` writes it to benchmarks/results/NAME.json, from which
`python -m benchmarks.page` makes benchmarks/README.md. A report of `--quick` says so and bears no weight.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import orjson
from rich import box
from rich.table import Table
from rich.text import Text

from aigq.console import err, out, print_json
from benchmarks.harness import QUICK_ROUNDS, ROUNDS, Bar, Figure, Measured, Ratio
from benchmarks.machine import ROOT, Machine

RESULTS: Final = ROOT / "benchmarks" / "results"
DOCS: Final = ROOT / "docs"


@dataclass(frozen=True, slots=True)
class Report:
    """Of one run of one benchmark.

    measured: its docstring, of which the first line is kept. notes: sentences that a reader of the figures
    must know. more: whatever else the JSON should hold. pictures: names of files in docs/.
    """

    name: str
    measured: str
    figures: Sequence[Figure]
    ratios: Sequence[Ratio] = ()
    notes: Sequence[str] = ()
    more: dict[str, Any] = field(default_factory=dict)
    pictures: Sequence[str] = ()
    machine: Machine = field(default_factory=Machine.here)

    def as_dict(self, *, quick: bool) -> dict[str, Any]:
        """For --json and --save."""
        return {
            "name": self.name,
            "measured": self.measured.strip().splitlines()[0],
            "quick": quick,
            "figures": [_as_dict(one) | {"unit": one.unit} for one in self.figures],
            "ratios": [_as_dict(one) | {"of": one.of, "to": one.to} for one in self.ratios],
            "notes": list(self.notes),
            "more": self.more,
            "pictures": list(self.pictures),
            "machine": asdict(self.machine),
        }


def command_line(doc: str | None) -> argparse.ArgumentParser:
    """A parser with what all benchmarks take; doc: the module's docstring."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few and short rounds: does it run?")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--save", action="store_true", help="write benchmarks/results/NAME.json and pictures")
    return parser


def rounds_of(given: argparse.Namespace, rounds: int = ROUNDS) -> int:
    """How many rounds count."""
    return min(rounds, QUICK_ROUNDS) if given.quick else rounds


def finish(report: Report, given: argparse.Namespace) -> None:
    """Print the report, and save it when that was asked for."""
    content = report.as_dict(quick=given.quick)
    if given.save:
        path = RESULTS / f"{report.name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(orjson.dumps(content, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
        err.print(f"Written: {path.relative_to(ROOT)}", highlight=False, markup=False)
    if given.json:
        print_json(content)
    else:
        show(report, quick=given.quick)


def show(report: Report, *, quick: bool) -> None:
    """Tables for people."""
    title = f"{report.name}: {report.measured.strip().splitlines()[0]}"
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("")
    for name in ("median", "low", "high", "", "bar"):
        table.add_column(name, justify="left" if not name else "right", no_wrap=True)
    for one in (*report.figures, *report.ratios):
        unit = one.unit if isinstance(one, Figure) else "times"
        numbers = (number(value) for value in (one.median, one.low, one.high))
        table.add_row(Text(one.name), *numbers, unit, _judged(one))
    out.print(table)
    for note in report.notes:
        out.print(Text(note))
    kind = "A quick run, which bears no weight. " if quick else ""
    out.print(Text(f"{kind}{report.machine.line}", style="dim"))


def number(value: float) -> str:
    """Three significant digits or whole numbers, with commas."""
    size = abs(value)
    if size >= 100 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.1f}" if size >= 10 else f"{value:.2f}" if size >= 1 else f"{value:.3g}"


def bar_text(bar: Bar) -> str:
    """ "≥ 10" or "≤ 50"."""
    return f"{'≥' if bar.side == 'least' else '≤'} {number(bar.value)}"


def saved(name: str, folder: Path = RESULTS) -> dict[str, Any] | None:
    """A saved report; None when there is none."""
    path = folder / f"{name}.json"
    if not path.exists():
        return None
    found: dict[str, Any] = orjson.loads(path.read_bytes())
    return found


def _as_dict(one: Measured) -> dict[str, Any]:
    bar = None if one.bar is None else asdict(one.bar) | {"met": one.is_met}
    spread = {"median": one.median, "low": one.low, "high": one.high}
    return {"name": one.name, **spread, "bar": bar, "values": list(one.values)}


def _judged(one: Measured) -> Text:
    if one.bar is None:
        return Text("")
    met = one.bar.is_met(one.median)
    return Text(f"{bar_text(one.bar)} {'met' if met else 'missed'}", "green" if met else "bold red")
