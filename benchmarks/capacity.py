"""Machines for 1 M, 100 M and 1 B users, from the measured cost of an event, a list and a user.

    python -m benchmarks.capacity [--users 1e8 ...] [--ASSUMPTION VALUE ...] [--json] [--save]

Costs are read from benchmarks/results (scale_out, memory, recovery), which `make bench` writes; nothing is
typed by hand. Assumptions are options, see --help. Skew is simulated (`benchmarks.shards`). --save writes the
tables into docs/capacity.md, which explains the model.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Final

from rich import box
from rich.table import Table

from aigq.console import explained, out, print_json
from benchmarks.capacity_model import PLACES, SIMULATED, Assumptions, Costs, Need, figure_of, need
from benchmarks.page import between, table
from benchmarks.report import DOCS, RESULTS, command_line, number
from benchmarks.shards import most_to_mean
from streams.errors import SettingsError

USERS: Final = (1e6, 1e8, 1e9)
PAGE: Final = DOCS / "capacity.md"
BEGIN, END = "<!-- computed: python -m benchmarks.capacity --save -->", "<!-- /computed -->"
SKEWS: Final = ((0.0, "all alike"), (0.5, "assumed"), (0.8, "very uneven"))
LAYOUTS: Final = ((4, 4), (4, 16), (30, 32), (30, 64), (30, 256), (30, 300), (300, 512), (300, 3000))


def skew_rows() -> list[list[str]]:
    """Workers, partitions, and the busiest worker for each exponent."""
    return [
        [f"{workers:,}", f"{partitions:,}"]
        + [f"{most_to_mean(SIMULATED, exponent, partitions, workers):.2f}" for exponent, _ in SKEWS]
        for workers, partitions in LAYOUTS
    ]


def need_rows(needs: Sequence[Need]) -> list[list[str]]:
    """A row a quantity, a column a shop."""
    return [
        ["users", *(f"{one.users:,.0f}" for one in needs)],
        ["events/s at peak", *(f"{one.events_s:,.0f}" for one in needs)],
        ["lists/s at peak", *(f"{one.lists_s:,.0f}" for one in needs)],
        ["busiest session worker, in times of the mean", *(f"{one.skew:.2f}" for one in needs)],
        [
            "session workers, and what asks for so many",
            *(f"{one.session_workers:,} ({one.bound_by})" for one in needs),
        ],
        ["hints workers", *(f"{one.hints_workers:,}" for one in needs)],
        ["memory of all session workers", *(_size(one.worker_gb) for one in needs)],
        ["Redis, with its copy", *(_size(one.redis_gb) for one in needs)],
        ["changelog in Kafka, all copies", *(_size(one.kafka_gb) for one in needs)],
        ["partitions", *(f"{one.partitions:,}" for one in needs)],
        ["machines", *(f"{one.machines:,}" for one in needs)],
    ]


def cost_rows(folder: Path) -> list[list[str]]:
    """Each cost as its benchmark has it."""
    found = [(bench, figure_of(folder, bench, figure)) for bench, figure in PLACES.values()]
    return [[one["name"], number(one["median"]), one["unit"], f"`{bench}`"] for bench, one in found]


def assumption_rows(given: Assumptions) -> list[list[str]]:
    """Each assumption with its option and value."""
    return [
        [one.metadata["about"], f"`--{_option(one.name)}`", f"{getattr(given, one.name):g}"]
        for one in fields(given)
    ]


def computed(folder: Path = RESULTS) -> str:
    """What stands between the marks of the page."""
    parts = ["### Assumptions\n", table(["assumption", "option", "value"], assumption_rows(Assumptions()))]
    try:
        costs = Costs.read(folder)
    except SettingsError as error:
        parts += ["\n### Costs and machines\n", f"{error.message}\n"]
    else:
        needs = [need(users, costs, Assumptions()) for users in USERS]
        parts += ["\n### Costs\n", table(["figure", "value", "", "benchmark"], cost_rows(folder))]
        head, *rows = need_rows(needs)
        parts += ["\n### Machines\n", table(head, rows)]
    heads = ["workers", "partitions", *(f"s = {exponent:g}, {about}" for exponent, about in SKEWS)]
    parts += ["\n### Skew\n", "Busiest worker's load in times of the mean, one million users simulated.\n"]
    return "\n".join([*parts, table(heads, skew_rows())])


def written(page: str, folder: Path = RESULTS) -> str:
    """The page with what is computed between its marks."""
    return between(page, BEGIN, END, computed(folder))


def main() -> None:
    """Command line."""
    parser = command_line(__doc__)
    parser.add_argument("--users", type=float, nargs="+", default=USERS)
    for one in fields(Assumptions):
        parser.add_argument(
            f"--{_option(one.name)}", type=float, default=one.default, help=one.metadata["about"]
        )
    given = parser.parse_args()
    if given.save:
        PAGE.write_text(written(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    assumed = Assumptions(**{one.name: getattr(given, one.name) for one in fields(Assumptions)})
    needs = [need(users, Costs.read(), assumed) for users in given.users]
    _print(needs, as_json=given.json)


def _print(needs: Sequence[Need], *, as_json: bool) -> None:
    if as_json:
        print_json({"name": "capacity", "needs": [asdict(one) for one in needs]})
        return
    head, *rows = need_rows(needs)
    shown = Table(title="What so many users need", title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for place, name in enumerate(head):
        shown.add_column(name, justify="right" if place else "left")
    for row in rows:
        shown.add_row(*row)
    out.print(shown)


def _size(gigabytes: float) -> str:
    return f"{number(gigabytes / 1000)} TB" if gigabytes >= 1000 else f"{number(gigabytes)} GB"


def _option(name: str) -> str:
    return name.replace("_", "-")


if __name__ == "__main__":
    sys.exit(explained(main))
