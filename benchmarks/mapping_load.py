"""What a reader feels while a mapping version of a million triggers is loaded next to it.

Three processes of their own: an embedded Redis, a loader (`load_mapping`, as in a worker), and a reader that
asks `HintReader` 500 times a second (`benchmarks.steady_reader`). In turns: the reader alone (quiet), then
beside a load until the new version is served and the one before the last is deleted, then alone again.
An answer is mixed if any of its hints is not of the version that it names. Every version holds the triggers
that are asked for. `others`: cores that processes of other people used meanwhile; times mean little when it
is not near 0, and their ratio more than they do. --realtime (root) lets Redis and reader go before all other
processes, and the loader before those of others (SCHED_RR 2 and 1), in all turns alike: on a shared machine
the times are else those of waiting for a core. What Redis forks (to rewrite its log) has no such right.

    python -m benchmarks.mapping_load [--quick] [--json] [--save] [--triggers 1000000] [--realtime]
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final

from agents.think.entries import Pace
from agents.think.mapping import LoadOptions, LoadOutcome, load_mapping
from agents.think.version_folder import MAPPING_FILE
from benchmarks.harness import Bar, Figure, paired
from benchmarks.report import Report, command_line, finish
from benchmarks.steady_reader import Moment, Phase, Reading, SteadyReader, phase
from benchmarks.synthetic_mapping import name_version, write_version
from streams.embedded.servers import EmbeddedRedis
from streams.redis_client import connect_redis
from streams.settings import load_settings

TRIGGERS: Final = 1_000_000
ASKED: Final = 20_000  # triggers that are asked for; the first version has these alone
RATE: Final = 500.0
QUIET_S: Final = 30.0
ROUNDS: Final = 3
QUICK: Final = (20_000, 1, 2.0)  # triggers, rounds, quiet seconds
AT_ONCE: Final = Pace(batch=500, rest=0.0)


@dataclass(frozen=True, slots=True)
class Loaded:
    """What the loader did. peak_mb: its largest resident memory; started_mb: before it began."""

    outcome: str
    seconds: float
    cpu_s: float
    started_mb: float
    peak_mb: float


@dataclass(frozen=True, slots=True)
class Round:
    """A quiet time and a load beside the same reader."""

    quiet: Phase
    load: Phase
    loaded: Loaded
    redis_mb: float


@dataclass(frozen=True, slots=True)
class _Span:
    start: Moment
    middle: Moment
    end: Moment
    loaded: Loaded
    redis_mb: float


def measure(triggers: int, rate: float, pace: Pace, quiet_s: float, folder: Path, rounds: int = 1) -> Report:
    """All figures, in a folder of its own."""
    root, asked = folder / "think", min(ASKED, triggers)
    names = [f"v{number}" for number in range(rounds + 1)]
    for name in names:
        write_version(root, name, asked if name == "v0" else triggers)
    with EmbeddedRedis(folder / "redis") as server:
        name_version(root, "v0")
        load_here(server.url, root, AT_ONCE)
        with _reading(server.url, rate, asked) as (reader, readings):
            if os.sched_getscheduler(0) == os.SCHED_RR:
                for pid in (server.pid, reader.pid):
                    os.sched_setscheduler(pid, os.SCHED_RR | os.SCHED_RESET_ON_FORK, os.sched_param(2))
            spans = [_round(server, reader, root, name, pace, quiet_s) for name in names[1:]]
    file_mb = round((root / names[-1] / MAPPING_FILE).stat().st_size / 1e6, 1)
    notes = [
        f"{triggers:,} triggers ({file_mb} MB) beside {rate:.0f} requests/s, {asdict(pace)}"
        f"{', before the processes of others' if os.sched_getscheduler(0) == os.SCHED_RR else ''}."
    ]
    return _report([_figures(readings, span) for span in spans], notes)


def _report(found: list[Round], notes: list[str]) -> Report:
    """A figure's rounds are the loads; wrong answers are of all times together."""

    def figure(name: str, unit: str, of: Callable[[Round], float], bar: Bar | None = None) -> Figure:
        return Figure.of(name, unit, [of(one) for one in found], bar)

    quiet = figure("quiet, p99", "ms", lambda one: one.quiet.p99_ms)
    load = figure("load, p99", "ms", lambda one: one.load.p99_ms)
    figures = [
        figure("quiet, p50", "ms", lambda one: one.quiet.p50_ms),
        quiet,
        figure("load, p50", "ms", lambda one: one.load.p50_ms),
        load,
        figure("load, longest", "ms", lambda one: one.load.max_ms),
        figure("errors and mixed answers", "", _wrong, Bar.at_most(0)),
        figure("a load", "s", lambda one: one.loaded.seconds),
        figure("a load, CPU of the loader", "s", lambda one: one.loaded.cpu_s),
        figure(
            "loader's memory beyond its start", "MB", lambda one: one.loaded.peak_mb - one.loaded.started_mb
        ),
        figure("Redis afterwards", "MB", lambda one: one.redis_mb),
        figure("cores used by others", "", lambda one: max(one.quiet.others, one.load.others)),
    ]
    more = {"rounds": [asdict(one) for one in found]}
    ratio = paired("p99, load to quiet", load, quiet, Bar.at_most(2))
    return Report("mapping_load", __doc__ or "", figures, [ratio], notes, more)


def _wrong(one: Round) -> float:
    return one.quiet.errors + one.quiet.mixed + one.load.errors + one.load.mixed


@contextmanager
def _reading(url: str, rate: float, asked: int) -> Iterator[tuple[SteadyReader, list[Reading]]]:
    """A reader beside the block; its list is filled when the block ends."""
    reader, readings = SteadyReader(url, rate, asked), list[Reading]()
    try:
        yield reader, readings
    finally:
        readings += reader.stop()


def _round(
    server: EmbeddedRedis, reader: SteadyReader, root: Path, version: str, pace: Pace, quiet_s: float
) -> _Span:
    name_version(root, version)
    pids = (server.pid, reader.pid)
    start = Moment.now(pids)
    time.sleep(quiet_s)
    middle = Moment.now(pids)
    loaded: Loaded = _in_child(_load_in_child, server.url, root, pace)
    end = Moment.now(pids, ended_s=loaded.cpu_s)
    return _Span(start, middle, end, loaded, _resident_mb(server.pid))


def _figures(readings: list[Reading], span: _Span) -> Round:
    quiet, load = phase(readings, span.start, span.middle), phase(readings, span.middle, span.end)
    return Round(quiet, load, span.loaded, span.redis_mb)


def _in_child(work: Callable[..., None], *args: Any) -> Any:
    """What `work` sends, in a process of its own, to the pipe that is its first argument."""
    start_anew = multiprocessing.get_context("spawn")
    ours, theirs = start_anew.Pipe()
    child = start_anew.Process(target=work, args=(theirs, *args))
    child.start()
    result = ours.recv()
    child.join()
    return result


def _load_in_child(parent: Connection, url: str, root: Path, pace: Pace) -> None:
    started_mb = _peak_mb()
    started_s = time.monotonic()
    outcome = load_here(url, root, pace)
    seconds = round(time.monotonic() - started_s, 1)
    parent.send(Loaded(outcome, seconds, round(time.process_time(), 1), started_mb, _peak_mb()))


def load_here(url: str, root: Path, pace: Pace) -> LoadOutcome:
    """Load what current.json names."""

    async def load() -> LoadOutcome:
        async with connect_redis(load_settings({}, redis_url=url)) as client:
            return (await load_mapping(client, root, LoadOptions(pace))).outcome

    return asyncio.run(load())


def _peak_mb() -> float:
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)


def _resident_mb(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return round(pages * resource.getpagesize() / 1e6, 1)


def main() -> None:
    """Command line."""
    parser = command_line(__doc__)
    parser.add_argument("--triggers", type=int, default=TRIGGERS)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--rate", type=float, default=RATE)
    parser.add_argument("--batch", type=int, default=Pace().batch)
    parser.add_argument("--rest", type=float, default=Pace().rest)
    parser.add_argument("--quiet", type=float, default=QUIET_S, help="seconds")
    parser.add_argument("--realtime", action="store_true", help="before the processes of others")
    given = parser.parse_args()
    if given.realtime:  # the loader inherits it
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
    pace, size = Pace(given.batch, given.rest), (given.triggers, given.rounds, given.quiet)
    triggers, rounds, quiet_s = QUICK if given.quick else size
    with tempfile.TemporaryDirectory() as folder:
        finish(measure(triggers, given.rate, pace, quiet_s, Path(folder), rounds), given)


if __name__ == "__main__":
    main()
