"""Microseconds of CPU an event in a worker that holds 1 k, 10 k, 100 k users: it should not grow with them.

    python -m benchmarks.event_cost [--quick] [--long] [--json] [--save]

Workers of the session role with so many real states (`benchmarks.cloned_states`) stand beside each other,
each with topics of its own. They take turns: real purchases, paced, go to one of them in waves, a wave one
event for each of a thousand users drawn anew; the CPU seconds that its process used until all are worked off
are divided by the events. Waves lie an hour of event time apart, so every event changes the state and asks
for a list, whoever is drawn. --long: 1 M users, too.
"""

from __future__ import annotations

import random
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, Final

import orjson

from aigq.services import embedded_servers
from benchmarks.cloned_states import Histories, clone_key, fill_changelog, histories
from benchmarks.harness import Bar, Figure, alternated, paired
from benchmarks.report import Report, command_line, finish, rounds_of
from benchmarks.running_shop import RunningShop, Sender, worker_of
from streams.settings import load_settings
from streams.topics import ensure_topics
from training.datasets.events import demo_purchases, events_of

SIZES: Final = (1_000, 10_000, 100_000)
LONG: Final = 1_000_000
ACTIVE: Final = 1_000  # users in a wave
WAVES: Final = 4  # in a turn
PER_S: Final = 2_000.0
HOUR_S: Final = 3600.0
MOST_WAVES: Final = 100  # the last of them is about now
FLAT: Final = 1.10
ROUNDS: Final = 7
HOUSEHOLDS: Final = 150


class Crowd:
    """A worker with so many users; `cost_us` sends a turn's events and measures."""

    def __init__(self, shop: RunningShop, users: int, known: Histories, bought: list[dict[str, Any]]) -> None:
        self._shop, self._users, self._bought = shop, users, bought
        self._households = sorted(known.states)
        self._chance, self._sent, self._waves = random.Random(3), 0, 0  # noqa: S311 - load, no secret

    def cost_us(self) -> float:
        """CPU µs of the worker an event, over one turn."""
        began_s, sender = self._shop.cpu_s(), Sender(self._shop.settings)
        records = [record for _ in range(WAVES) for record in self._wave()]
        started_s = time.time()
        timed = ((started_s + n / PER_S, *record) for n, record in enumerate(records))
        self._sent += sender.send_on_time(self._shop.topics.events, timed)
        self._shop.wait_until_worked_off(self._sent, 60.0)
        return 1e6 * (self._shop.cpu_s() - began_s) / len(records)

    def _wave(self) -> list[tuple[bytes, bytes]]:
        self._waves += 1
        at_ms = int(1000 * (time.time() - (MOST_WAVES - self._waves) * HOUR_S))
        return [self._record(number, at_ms) for number in self._chance.sample(range(self._users), ACTIVE)]

    def _record(self, number: int, at_ms: int) -> tuple[bytes, bytes]:
        household = self._households[number % len(self._households)]
        key, event = clone_key(household, number), self._chance.choice(self._bought)
        own = {"user_id": key.decode(), "event_id": f"{self._waves}-{number}", "timestamp": at_ms}
        return key, orjson.dumps(event | own)


def measure(folder: Path, sizes: tuple[int, ...], rounds: int, households: int) -> Report:
    """All crowds beside each other, in turns."""
    known = histories(households)
    bought = [
        one
        for one in events_of(demo_purchases(purchases_min=2_000), seed=1)
        if one["action_name"] == "purchase"
    ]
    with ExitStack() as stack:
        services = stack.enter_context(embedded_servers(folder))
        works: dict[str, Callable[[], float]] = {}
        for users in sizes:
            given = services.settings | {"AIGQ_TOPIC_PREFIX": f"u{users}."}
            settings = load_settings(given)
            ensure_topics(settings)
            fill_changelog(settings, known.clones(users))
            worker = stack.enter_context(worker_of(folder / f"u{users}", given, ("session",)))
            crowd = Crowd(RunningShop(services, settings, [worker]), users, known, bought)
            works[_name(users)] = partial(crowd.cost_us)
        took = alternated(works, rounds)
    figures = {users: Figure.of(_name(users), "µs of CPU", took[_name(users)]) for users in sizes}
    first = figures[sizes[0]]
    ratios = [
        paired(f"{users:,} users to {sizes[0]:,}", figures[users], first, Bar.at_most(FLAT))
        for users in sizes[1:]
    ]
    notes = [
        f"{WAVES * ACTIVE:,} events a turn at {PER_S:,.0f} events/s. At this pace batches are small, so an "
        "event costs more than in a backlog (benchmarks.ingest); what a worker does while idle is in it, too."
    ]
    return Report("event_cost", __doc__ or "", list(figures.values()), ratios, notes)


def _name(users: int) -> str:
    return f"an event among {users:,} users"


def main() -> None:
    """Command line."""
    parser = command_line(__doc__)
    parser.add_argument("--long", action="store_true", help="1 M users, too: minutes and 6 GB of memory more")
    given = parser.parse_args()
    sizes = SIZES[:2] if given.quick else (*SIZES, LONG) if given.long else SIZES
    rounds = 1 if given.quick else rounds_of(given, ROUNDS)
    with tempfile.TemporaryDirectory() as folder:
        finish(measure(Path(folder), sizes, rounds, HOUSEHOLDS // 10 if given.quick else HOUSEHOLDS), given)


if __name__ == "__main__":
    main()
