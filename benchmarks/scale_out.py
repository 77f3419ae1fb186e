"""Events per second, lists and all, of one worker, of two, and of the session and hints roles split.

    python -m benchmarks.scale_out [--quick] [--json] [--save]

The traffic and the slices of benchmarks.freshness: real purchases of many shoppers, put into Kafka at once
and worked off until the last list can be read, a slice after the other. Each arrangement has servers of its
own and gets the same slices; a ratio is of the same slice. Kafka, Redis, the load and the watch share this
machine's cores with the workers: with two cores the second worker cannot add a whole one.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Final

from benchmarks.harness import Figure, paired
from benchmarks.plots import bars
from benchmarks.report import DOCS, Report, command_line, finish
from benchmarks.running_shop import RunningShop, cpu_s, running_shop
from benchmarks.worked_off import SLICE_EVENTS, capacity_of

PICTURE: Final = "scale-out.png"
ONE: Final = "one worker, all roles"
SPLIT: Final = (("session",), ("hints",))
ARRANGEMENTS: Final[dict[str, tuple[tuple[str, ...], ...]]] = {
    ONE: ((),),
    "two workers, all roles each": ((), ()),
    "session here, hints there": SPLIT,
}


def measure(folder: Path, slice_events: int) -> Report:
    """Each arrangement on the same slices."""
    figures, costs, notes = [], list[Figure](), []
    for place, (name, roles) in enumerate(ARRANGEMENTS.items()):
        with running_shop(folder / str(place), roles) as shop:
            began_s = _cpu_by_process(shop)
            rates, share, events = capacity_of(shop, slice_events)
            used_s = {process: now_s - began_s[process] for process, now_s in _cpu_by_process(shop).items()}
            lists = shop.count("aigq_lists_total")
        figures.append(Figure.of(name, "events/s", rates))
        each = ", ".join(f"{process} {1e6 * one_s / events:,.0f} µs" for process, one_s in used_s.items())
        notes.append(f"{name}: {share:.2f} lists an event; CPU an event: {each}.")
        if roles == SPLIT:
            costs = _costs(used_s, events, lists)
    ratios = [paired(f"{one.name}, to one worker", one, figures[0]) for one in figures[1:]]
    notes.append(f"{len(os.sched_getaffinity(0))} cores for workers, Kafka, Redis, load and watch together.")
    return Report("scale_out", __doc__ or "", [*figures, *costs], ratios, notes, pictures=[PICTURE])


def _costs(used_s: dict[str, float], events: int, lists: float) -> list[Figure]:
    """What each role and server spends; in a backlog, so in full batches. capacity.py reads them by name."""
    counts = {"session role, an event": events, "hints role, a list": lists}
    counts |= {"Kafka, an event": events, "Redis, a list": lists}
    pairs = zip(counts.items(), used_s.values(), strict=True)
    return [Figure.of(name, "µs of CPU", [1e6 * one_s / count]) for (name, count), one_s in pairs]


def _cpu_by_process(shop: RunningShop) -> dict[str, float]:
    workers = {f"worker {place}": cpu_s(worker.pid) for place, worker in enumerate(shop.workers, 1)}
    return workers | {"Kafka": cpu_s(shop.services.kafka.pid), "Redis": cpu_s(shop.services.redis.pid)}


def main() -> None:
    """Command line."""
    given = command_line(__doc__).parse_args()
    with tempfile.TemporaryDirectory() as folder:
        report = measure(Path(folder), SLICE_EVENTS // 15 if given.quick else SLICE_EVENTS)
    if given.save:
        bars(
            DOCS / PICTURE,
            "Events worked off, lists and all",
            "events/s",
            report.figures[: len(ARRANGEMENTS)],
        )
    finish(report, given)


if __name__ == "__main__":
    main()
