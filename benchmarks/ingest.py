"""Events per CPU second of one session worker, complete and durable, beside others that do the same work.

Real purchases (and the searches before them) wait in a topic of an embedded Kafka; each contestant of
`benchmarks.ingest_runs` reads so many of them in a process of its own, does with each what our worker does
(decode, state, interest, refresh decision, hint requests), and its time runs from the first event until the
last state and request are confirmed by Kafka and the offsets committed. CPU seconds are of the contestant's
process with all its threads, so that a neighbour on the machine changes little; wall seconds are told beside.

    python -m benchmarks.ingest [--quick] [--json] [--save] [--year] [--only NAME …]

`--year`: besides, our worker over all 1.47 million purchases of the year, once.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Final

import orjson

from aigq.services import Services, embedded_servers
from benchmarks.harness import Bar, Figure, Ratio, alternated, paired
from benchmarks.ingest_runs import CONTESTANTS, WORK_ALONE
from benchmarks.ingest_work import COUNT
from benchmarks.quix_environment import PYTHON as QUIX
from benchmarks.report import Report, command_line, finish, rounds_of
from benchmarks.running_shop import Sender
from streams.settings import load_settings
from streams.topics import Topics, ensure_topics
from training.datasets.complete_journey import load_purchases
from training.datasets.events import SimulatedInterface, demo_purchases, events_of

EVENTS: Final = 30_000
QUICK_EVENTS: Final = 4_000
ROUNDS: Final = 5
WITHIN_S: Final = 600
PURCHASES_ALONE: Final = SimulatedInterface(search_share=0.0)
OURS: Final = "aigq"
BARS: Final = {
    "faust": Bar.at_least(10),
    "quix": Bar.at_least(1),
    "aiokafka": Bar.at_least(1 / 3),
}

Record = tuple[bytes, bytes]


@dataclass(slots=True)
class Course:
    """A running Kafka, and the events that each contestant finds in a topic of its own."""

    services: Services
    records: Sequence[Record]
    runs: list[dict[str, Any]]
    _turn: int = 0

    def run(self, name: str, records: Iterator[Record] | None = None) -> float:
        """One contestant once; returns its events per CPU second."""
        self._turn += 1
        given = self.services.settings | {"AIGQ_TOPIC_PREFIX": f"run{self._turn}."}
        count = self._fill(given, iter(self.records) if records is None else records)
        python = str(QUIX) if name == "quix" else sys.executable
        done = subprocess.run(  # noqa: S603 - our own module
            [python, "-m", "benchmarks.ingest_runs", name],
            env=_environment(given | {COUNT: str(count)}),
            capture_output=True,
            timeout=WITHIN_S,
            check=False,
        )
        if done.returncode or not done.stdout:
            raise SystemExit(f"{name} failed:\n{done.stderr.decode()[-2000:]}")
        told: dict[str, Any] = orjson.loads(done.stdout.splitlines()[-1])
        self.runs.append({"name": name, **told})
        return float(told["events"]) / float(told["cpu_s"])

    def _fill(self, given: dict[str, str], records: Iterator[Record]) -> int:
        settings = load_settings(given)
        ensure_topics(settings)
        sender, topic, count = Sender(settings, **{"linger.ms": 50}), Topics.of(settings).events, 0
        for key, value in records:
            sender.send(topic, key, value)
            count += 1
        sender.flush()
        return count


def main() -> None:
    """Measure and print."""
    parser = command_line(__doc__)
    parser.add_argument("--year", action="store_true", help="our worker over the whole year, once")
    parser.add_argument("--only", nargs="+", choices=[*CONTESTANTS], default=[*CONTESTANTS])
    given = parser.parse_args()
    records = [*islice(_demo_records(), QUICK_EVENTS if given.quick else EVENTS)]
    with tempfile.TemporaryDirectory() as folder, embedded_servers(Path(folder)) as services:
        course = Course(services, records, [])
        found = alternated(
            {name: _work(course, name) for name in given.only}, rounds_of(given, ROUNDS), warm=0
        )
        year = _year(course) if given.year else None
    finish(_report(found, course.runs, year, len(records)), given)


def _work(course: Course, name: str) -> Any:
    return lambda: course.run(name)


def _year(course: Course) -> Figure:
    rate = course.run(OURS, _records(load_purchases(), PURCHASES_ALONE))
    return Figure.of("aigq, all purchases of the year", "events/CPU s", [rate])


def _report(
    found: dict[str, tuple[float, ...]], runs: list[dict[str, Any]], year: Figure | None, count: int
) -> Report:
    figures = {name: Figure.of(name, "events/CPU s", values) for name, values in found.items()}
    wall = [
        Figure.of(
            f"{name}, wall", "events/s", [r["events"] / r["seconds"] for r in runs if r["name"] == name]
        )
        for name in found
    ]
    ratios: list[Ratio] = [
        paired(f"aigq to {name}", figures[OURS], figure, BARS.get(name))
        for name, figure in figures.items()
        if name not in (OURS, WORK_ALONE) and OURS in figures
    ]
    notes = [
        f"{count:,} events a run; Kafka is embedded, on the same machine, and not counted.",
        "All do the same work per event with the same functions; aigq keeps one state a user and batch, and "
        "makes one request, the newest. So it can be less beyond the work than none.",
        "The bare loops have no recovery, no tables, no rebalance, no dead letters: a floor.",
    ]
    return Report(
        "ingest",
        __doc__ or "",
        [*figures.values(), *([year] if year else []), *wall, *_beyond(found)],
        ratios,
        notes,
        {"runs": runs},
    )


def _beyond(found: dict[str, tuple[float, ...]]) -> list[Figure]:
    """What each spends an event beyond the work itself, one event at a time, in µs of CPU."""
    alone = found.get(WORK_ALONE, ())
    return [
        Figure.of(
            f"{name}, beyond the work",
            "µs/event",
            [1e6 / a - 1e6 / b for a, b in zip(rates, alone, strict=True)],
        )
        for name, rates in found.items()
        if alone and name != WORK_ALONE
    ]


def _demo_records() -> Iterator[Record]:
    return _records(demo_purchases(purchases_min=EVENTS), None)


def _records(purchases: Any, interface: SimulatedInterface | None) -> Iterator[Record]:
    options = {"interface": interface} if interface is not None else {}
    for event in events_of(purchases, seed=1, **options):
        yield event["user_id"].encode(), orjson.dumps(event)


def _environment(given: dict[str, str]) -> dict[str, str]:
    return {**os.environ, **given, "ORT_DISABLE_TELEMETRY": "1"}


if __name__ == "__main__":
    main()
