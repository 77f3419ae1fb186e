"""Milliseconds from an event's append in Kafka to its list being readable in Redis, below and above capacity.

    python -m benchmarks.freshness [--quick] [--json] [--save] [--capacity EVENTS_PER_S]

An embedded Kafka and Redis, one worker with all roles and the demo bundle; all share this machine's cores
with the load and the watch. First the capacity: slices of the same traffic are put into Kafka at once, the
next when the one before is worked off, and so are the lists that its cooldowns held back; all events divided
by the CPU seconds of the worker. Then one open-loop load (`benchmarks.traffic`: real purchases of
many shoppers, all send times fixed before, sent then whatever becomes of those before) at 30, 60, 90 and
150 % of it and 60 % again, 20 s on the way up and 25 s kept. Then capacity and the load up to 90 % once more
with the roles split over two workers, one that makes lists and one for the rest, as a shop runs them that
wants lists soon.

A list counts by the append time of the event that decided it. Lists that a cooldown's end decided have no
event; they count from that end, at 60 % and by themselves. `benchmarks.list_watch` sees each list when it can
be read. Figures are of the kept time, each third of it a round; p99.9 is of the whole. Above capacity lists
age; afterwards every shopper must have the list that their state in Kafka says was asked for last, and all
events must have been applied.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Final

import redis

from agents.session.state import decode_state
from benchmarks.harness import Bar, Figure, percentile
from benchmarks.list_watch import ListWatch, Seen
from benchmarks.plots import lines
from benchmarks.report import DOCS, Report, command_line, finish
from benchmarks.running_shop import RunningShop, Sender, read_topic, running_shop
from benchmarks.traffic import Level, Planned, baskets, planned
from benchmarks.worked_off import DRAIN_S, SLICE_EVENTS, Fresh, capacity_of, fresh
from streams.hint_list import HEAD
from streams.redis_keys import hints_key

PICTURE: Final = "freshness.png"
LEVELS: Final = (0.3, 0.6, 0.9, 1.5, 0.6)  # of the capacity
NAMES: Final = ("30 %", "60 %", "90 %", "150 %", "60 % after")
SPLIT: Final = (("session", "feedback", "erasure"), ("hints", "think"))
SPLIT_LEVELS: Final = LEVELS[:3]
RAMP_S, FLAT_S = 20.0, 25.0
QUICK_S, QUICK_RATE = 0.5, 60.0
THIRDS: Final = 3
OVERLOAD: Final = 3  # its place in LEVELS
USUAL_MS: Final = 250.0
BARS: Final = {("60 %", "p50"): Bar.at_most(50.0), ("60 %", "p99"): Bar.at_most(250.0)}


def run_load(shop: RunningShop, plan: Sequence[Planned], before: int) -> tuple[float, list[Seen], Sender]:
    """Send the plan and wait for all that follows from it; start (epoch s), lists, sender."""
    watch, sender = ListWatch(shop.services.settings["AIGQ_REDIS_URL"]), Sender(shop.settings)
    start_s = time.time() + 1.0 + len(plan) / 200_000  # until all is encoded
    records = [(start_s + one.due_s, one.user.encode(), one.encoded(start_s)) for one in plan]
    sender.send_on_time(shop.topics.events, iter(records))
    shop.wait_until_worked_off(before + len(plan), DRAIN_S)
    return start_s, watch.stop(), sender


def without_newest(shop: RunningShop) -> int:
    """Shoppers whose newest list in Redis is not the one that their state in Kafka asked for last."""
    asked = {}
    for one in read_topic(shop.settings, shop.topics.changelog):
        listed = decode_state(one.value).listed if one.value else None
        asked[one.key] = str(listed.version) if listed else ""
    with redis.Redis.from_url(shop.services.settings["AIGQ_REDIS_URL"]) as client:
        keys = [key for key, version in asked.items() if version]
        with client.pipeline(transaction=False) as pipe:
            for key in keys:
                pipe.lindex(hints_key(key.decode()), 0)
            heads = pipe.execute()
    return sum(
        head is None or head[len(HEAD) :][: len(asked[key])].decode() != asked[key]
        for key, head in zip(keys, heads, strict=True)
    )


def kept_times(levels: Sequence[Level]) -> list[tuple[float, float]]:
    """From when to when each level is kept."""
    ends = accumulate(level.seconds for level in levels)
    return [(end_s - level.flat_s, end_s) for level, end_s in zip(levels, ends, strict=True)]


def figures_of(found: Sequence[Fresh], levels: Sequence[Level], prefix: str = "") -> list[Figure]:
    """p50, p99 of each third of the kept time, p99.9 of the whole, for each level."""
    figures = []
    for name, (from_s, to_s) in zip(NAMES[: len(levels)], kept_times(levels), strict=True):
        step_s = (to_s - from_s) / THIRDS
        parts = [_between(found, from_s + n * step_s, from_s + (n + 1) * step_s) for n in range(THIRDS)]
        parts = [part for part in parts if part]
        for what, share in (("p50", 0.5), ("p99", 0.99)):
            values = [percentile(part, share) for part in parts]
            title = f"{prefix}{name} of capacity, {what}"
            figures.append(Figure.of(title, "ms", values, BARS.get((name, what))))
        whole = percentile(_between(found, from_s, to_s), 0.999)
        figures.append(Figure.of(f"{prefix}{name} of capacity, p99.9", "ms", [whole]))
    return figures


def by_second(found: Sequence[Fresh]) -> list[tuple[float, float]]:
    """(second of the append, median ms of its lists)."""
    seconds: dict[int, list[float]] = {}
    for one in found:
        seconds.setdefault(int(one.at_s), []).append(one.took_ms)
    return [(float(at_s), percentile(took, 0.5)) for at_s, took in sorted(seconds.items())]


def recovered_after_s(found: Sequence[Fresh], levels: Sequence[Level]) -> float:
    """From the overload's end until the median of a second's lists is below USUAL_MS, for good."""
    end_s = kept_times(levels)[OVERLOAD][1]
    late = [at_s - end_s for at_s, took_ms in by_second(found) if at_s >= end_s and took_ms > USUAL_MS]
    return max(late, default=-1.0) + 1.0


def _after_cooldown(shop: Loaded) -> list[Figure]:
    took = _between(shop.ended, *kept_times(shop.levels)[1])
    return [
        Figure.of(f"{NAMES[1]} of capacity, from a cooldown's end, {what}", "ms", [percentile(took, share)])
        for what, share in (("p50", 0.5), ("p99", 0.99))
        if took
    ]


@dataclass(frozen=True, slots=True)
class Loaded:
    """A shop after a load. share: lists an event; late_ms: 99 % were sent less late; overtaken: requests."""

    capacity: float
    rates: list[float]
    share: float
    levels: list[Level]
    plan: Sequence[Planned]
    seen: list[Seen]
    found: list[Fresh]
    ended: list[Fresh]
    late_ms: float
    lost: float
    stale: int
    overtaken: float


def loaded(
    folder: Path, roles: Sequence[tuple[str, ...]], of_capacity: Sequence[float], given: argparse.Namespace
) -> Loaded:
    """Capacity and load of workers with these roles, on servers of their own."""
    ramp_s, flat_s = (QUICK_S, 2 * QUICK_S) if given.quick else (RAMP_S, FLAT_S)
    with running_shop(folder, roles) as shop:
        began_s = shop.cpu_s()
        rates, share, before = capacity_of(shop, SLICE_EVENTS // 15 if given.quick else SLICE_EVENTS)
        measured = before / (shop.cpu_s() - began_s)
        capacity = given.capacity or measured
        capacity = min(capacity, QUICK_RATE) if given.quick else capacity
        levels = [Level(capacity * level, ramp_s, flat_s) for level in of_capacity]
        plan = planned(baskets(), levels, seed=12)
        start_s, seen, sender = run_load(shop, plan, before)
        found, ended = fresh(shop, start_s, seen)
        lost = before + len(plan) - shop.count("aigq_events_total", outcome="applied")
        stale, overtaken = without_newest(shop), shop.count("aigq_requests_superseded_total")
    late_ms = 1000 * percentile(sender.late_s, 0.99)
    return Loaded(measured, rates, share, levels, plan, seen, found, ended, late_ms, lost, stale, overtaken)


def measure(given: argparse.Namespace, folder: Path) -> Report:
    """All of it."""
    one = loaded(folder / "one", ((),), LEVELS, given)
    split = loaded(folder / "split", SPLIT, SPLIT_LEVELS, given)
    figures = [
        Figure.of("capacity", "events/CPU s", [one.capacity]),
        Figure.of("a backlog, until the last list of an event", "events/s", one.rates),
        *figures_of(one.found, one.levels),
        *_after_cooldown(one),
        Figure.of(
            "oldest list at 150 %", "ms", [max(_between(one.found, *kept_times(one.levels)[OVERLOAD]))]
        ),
        Figure.of("fresh again after the overload", "s", [recovered_after_s(one.found, one.levels)]),
        Figure.of("roles split: capacity", "events/CPU s", [split.capacity]),
        *figures_of(split.found, split.levels, "roles split: "),
        Figure.of("events lost", "", [one.lost + split.lost], Bar.at_most(0)),
        Figure.of("shoppers without their newest list", "", [one.stale + split.stale], Bar.at_most(0)),
    ]
    if given.save:
        _draw(one.found, one.levels)
    notes = [note for arrangement in (one, split) for note in _notes(arrangement)]
    return Report("freshness", __doc__ or "", figures, notes=notes, pictures=[PICTURE])


def _notes(shop: Loaded) -> list[str]:
    shoppers = len({one.shopper for one in shop.plan})
    by_event = len(shop.found) / len(shop.plan)
    by_cooldown = 1 - len(shop.found) / max(1, len(shop.seen))
    return [
        f"{len(shop.plan):,} events of {shoppers:,} shoppers; {by_event:.1%} of the events decided a list, "
        f"the end of a cooldown {by_cooldown:.1%} of the {len(shop.seen):,} lists; {shop.overtaken:,.0f} "
        f"requests were overtaken by newer ones. In the slices that tell the capacity: {shop.share:.2f} "
        f"lists an event. 99 % were sent less than {shop.late_ms:.1f} ms late; time runs from the append."
    ]


def _between(found: Sequence[Fresh], from_s: float, to_s: float) -> list[float]:
    first, last = (bisect_left(found, at_s, key=lambda one: one.at_s) for at_s in (from_s, to_s))
    return [one.took_ms for one in found[first:last]]


def _draw(found: Sequence[Fresh], levels: Sequence[Level]) -> None:
    shares = ", ".join(NAMES[: OVERLOAD + 1])
    lines(
        DOCS / PICTURE,
        f"Freshness at {shares} of capacity, and at 60 % again",
        ("seconds since the load began", "ms, median of a second"),
        {"append in Kafka to readable in Redis": by_second(found)},
        logarithmic="y",
        bar=50.0,
        ends=[to_s for _, to_s in kept_times(levels)[:-1]],
    )


def main() -> None:
    """Command line."""
    parser = command_line(__doc__)
    parser.add_argument(
        "--capacity", type=float, default=0.0, help="events/s to load by; default: as measured"
    )
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        finish(measure(given, Path(folder)), given)


if __name__ == "__main__":
    main()
