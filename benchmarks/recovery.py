"""Seconds from a worker's start until it is ready, with so many users in its changelog, beside stock Faust.

    python -m benchmarks.recovery [--quick] [--long] [--json] [--save]

Real states (`benchmarks.cloned_states`) are written to the changelog; then a worker of the session role with
its state in memory is started, as a shop would start it, until it says that it is ready; in turns with stock
Faust (`benchmarks.stock_faust`) over the same changelog, and with changelogs of other sizes. Records per
second are the users divided by the seconds beyond those of an empty changelog (their median), so Python's
start, the bundle and the group's join are in the seconds and not in the rate; ours is that of the largest
changelog. Memory is the worker's resident memory when it is ready, beyond that of the empty one. --long: 1 M
users, too.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

from aigq.services import Services, embedded_servers
from benchmarks.cloned_states import Histories, fill_changelog, histories
from benchmarks.harness import Bar, Figure, Ratio, alternated, paired
from benchmarks.plots import lines
from benchmarks.report import DOCS, Report, command_line, finish, rounds_of
from benchmarks.running_shop import resident_mb, worker_of
from streams.embedded.child import GuardedChild
from streams.settings import load_settings
from streams.topics import Topics, ensure_topics

PICTURE: Final = "recovery.png"
SIZES: Final = (0, 1_000, 10_000, 100_000)
LONG: Final = 1_000_000
QUICK: Final = (0, 1_000, 20_000)
STOCK_MOST: Final = 100_000
ROUNDS: Final = 3
HOUSEHOLDS: Final = 150
STOCK_WITHIN_S: Final = 300.0
LEAST_S: Final = 0.05  # two starts differ by more
BARS: Final = {100_000: Bar.at_most(20.0)}


class Starts:
    """Starts workers over changelogs of so many users each; memory: MB when ready, by users."""

    def __init__(self, services: Services, folder: Path) -> None:
        self._services, self._folder, self._count = services, folder, 0
        self.memory: dict[int, list[float]] = {}

    def settings(self, users: int) -> dict[str, str]:
        """Of a shop with so many users: its topics have a prefix."""
        return self._services.settings | {"AIGQ_TOPIC_PREFIX": f"u{users}."}

    def fill(self, users: int, known: Histories) -> None:
        """Topics, and the changelog."""
        settings = load_settings(self.settings(users))
        ensure_topics(settings)
        fill_changelog(settings, known.clones(users))

    def ours(self, users: int) -> float:
        """Seconds until the worker is ready."""
        self._count += 1
        folder = self._folder / f"ours-{self._count}"
        began_s = time.monotonic()
        with worker_of(folder, self.settings(users), ("session",)) as worker:
            took_s = time.monotonic() - began_s
            self.memory.setdefault(users, []).append(resident_mb(worker.pid))
        return took_s

    def stock(self, users: int) -> float:
        """Seconds until stock Faust has the table."""
        self._count += 1
        settings = load_settings(self.settings(users))
        topics, folder = Topics.of(settings), self._folder / f"stock-{self._count}"
        words = [topics.events, topics.changelog, str(settings.partitions), str(folder)]
        program = [sys.executable, "-m", "benchmarks.stock_faust", *settings.kafka_bootstrap, *words]
        began_s = time.monotonic()
        child = GuardedChild("stock Faust", program, log_path=folder.with_suffix(".log"))
        try:
            found = child.read_message(STOCK_WITHIN_S)
            took_s = time.monotonic() - began_s
        finally:
            child.stop()
        if found is None or found["recovered"] != users:
            raise child.failure(f"has {found} of {users:,} users")
        return took_s


def measure(folder: Path, sizes: tuple[int, ...], rounds: int, households: int) -> Report:
    """All sizes, ours and stock, in turns."""
    known = histories(households)
    with embedded_servers(folder) as services:
        starts = Starts(services, folder)
        for users in sizes:
            starts.fill(users, known)
        works: dict[str, Callable[[], float]] = {}
        for users in sizes:
            works[_ours(users)] = partial(starts.ours, users)
            if users in (0, _compared(sizes)):
                works[_stock(users)] = partial(starts.stock, users)
        took = alternated(works, rounds, warm=0)
    seconds = {name: Figure.of(name, "s", values) for name, values in took.items()}
    for users, bar in BARS.items():
        if users in sizes:
            seconds[_ours(users)] = Figure.of(_ours(users), "s", took[_ours(users)], bar)
    rates, ratio = _rates(took, sizes)
    memory = _memory(starts.memory, max(sizes))
    figures = [*seconds.values(), *rates, memory]
    return Report("recovery", __doc__ or "", figures, [ratio], _notes(known), pictures=[PICTURE])


def _rates(took: dict[str, tuple[float, ...]], sizes: tuple[int, ...]) -> tuple[list[Figure], Ratio]:
    """Records per second of both beyond an empty changelog's start, and their ratio."""

    def rate(by: str, name: Callable[[int], str], users: int) -> Figure:
        empty_s = statistics.median(took[name(0)])
        per_s = [users / max(full_s - empty_s, LEAST_S) for full_s in took[name(users)]]
        return Figure.of(f"recovered by {by}, {users:,} users", "records/s", per_s)

    ours, stock = rate("aigq", _ours, max(sizes)), rate("stock Faust", _stock, _compared(sizes))
    return [ours, stock], paired("recovery, ours to stock Faust", ours, stock, Bar.at_least(10))


def _memory(memory: dict[int, list[float]], users: int) -> Figure:
    beyond = (full - empty for full, empty in zip(memory[users], memory[0], strict=True))
    return Figure.of(
        f"worker's memory at {users:,} users", "bytes/user", [1e6 * one / users for one in beyond]
    )


def _notes(known: Histories) -> list[str]:
    mean = sum(map(len, known.states.values())) / len(known.states)
    return [
        f"States of {len(known.states)} households after a year ({known.events:,} events), "
        f"{mean:,.0f} bytes on average; broker, Redis and worker share the machine's cores."
    ]


def _compared(sizes: tuple[int, ...]) -> int:
    return max(users for users in sizes if users <= STOCK_MOST)


def _ours(users: int) -> str:
    return f"ready with {users:,} users"


def _stock(users: int) -> str:
    return f"stock Faust with {users:,} users"


def main() -> None:
    """Command line."""
    parser = command_line(__doc__)
    parser.add_argument("--long", action="store_true", help="1 M users, too: minutes and 6 GB of memory more")
    given = parser.parse_args()
    sizes = QUICK if given.quick else (*SIZES, LONG) if given.long else SIZES
    rounds = 1 if given.quick else rounds_of(given, ROUNDS)
    with tempfile.TemporaryDirectory() as folder:
        report = measure(Path(folder), sizes, rounds, HOUSEHOLDS // 10 if given.quick else HOUSEHOLDS)
    if given.save:
        ready = [
            (float(users), next(f.median for f in report.figures if f.name == _ours(users)))
            for users in sizes
        ]
        lines(
            DOCS / PICTURE,
            "Recovery: from a worker's start until it is ready",
            ("users in the changelog", "seconds"),
            {"aigq worker, session role": ready},
        )
    finish(report, given)


if __name__ == "__main__":
    main()
