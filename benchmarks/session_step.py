"""CPU µs an event of the session functions alone, one core: what a worker's time is made of, without Kafka.

    python -m benchmarks.session_step [--quick] [--json] [--save]

Each function runs over all of the demo's events (real purchases, simulated searches before them): what it is
given was kept from one pass over them, so the functions are measured apart, in turns. The whole does all of
it event by event, each event decoding and encoding its user's state: a worker gains on it by a batch's users
who come more than once. Then the whole once more for the second half of the events, spread over 1,000 and
100,000 users with real states and a minute apart, so that every event asks for a list, whoever it comes from:
it should cost the same.
"""

from __future__ import annotations

import gc
import random
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

import orjson

from agents.serving import open_bundle, rules_of
from agents.session.rules import Rules, Step
from agents.session.state import decode_state, due_of, encode_state
from agents.session.step import apply_event
from benchmarks.harness import Bar, Figure, alternated, paired
from benchmarks.report import Report, command_line, finish, rounds_of
from streams.hint_request import encode_request
from streams.records import BehaviorEvent, Source, decode_event
from streams.settings import load_settings
from training.datasets.events import demo_purchases, events_of

CROWDS: Final = (1_000, 100_000)
FLAT: Final = 1.10
LATER_MS: Final = 1_900_000_000_000
MINUTE_MS: Final = 60_000  # longer than the cooldown
WHOLE: Final = "whole"


@dataclass(slots=True)
class Kept:
    """One pass over the events: what came in and out of each function, event by event."""

    rules: Rules
    values: list[bytes]
    events: list[BehaviorEvent] = field(default_factory=list)
    sources: list[Source] = field(default_factory=list)
    before: list[bytes | None] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)

    @classmethod
    def of(cls, rules: Rules, events: Iterable[dict[str, Any]]) -> Kept:
        """The pass itself."""
        kept, states = cls(rules, [orjson.dumps(event) for event in events]), dict[bytes, bytes]()
        for offset, value in enumerate(kept.values):
            source = Source("events", 0, offset, LATER_MS)
            event = decode_event(value, {}, source, LATER_MS)
            data = states.get(event.person.encode())
            step = apply_event(decode_state(data) if data else None, event, source, rules)
            if step.state is not None:
                states[event.person.encode()] = encode_state(step.state)
            kept.events.append(event)
            kept.sources.append(source)
            kept.before.append(data)
            kept.steps.append(step)
        return kept

    def works(self) -> dict[str, Callable[[], object]]:
        """By the function's name, what runs it for all events."""
        stored = [data for data in self.before if data is not None]
        states = [decode_state(data) if data else None for data in self.before]
        made = [step.state for step in self.steps if step.state is not None]
        requests = [request for step in self.steps for request in step.requests]
        placed = list(zip(self.values, self.sources, strict=True))
        known = list(zip(states, self.events, self.sources, strict=True))
        return {
            "decode_event": lambda: [decode_event(value, {}, at, LATER_MS) and None for value, at in placed],
            "decode_state": lambda: [decode_state(data) and None for data in stored],
            "apply_event": lambda: [apply_event(*one, self.rules) and None for one in known],
            "encode_state": lambda: [encode_state(state) and None for state in made],
            "encode_request": lambda: [encode_request(request) and None for request in requests],
            "due_of": lambda: [due_of(data) and None for data in stored],
            WHOLE: lambda: self.applied(placed, {}),
        }

    def applied(self, placed: Iterable[tuple[bytes, Source]], states: dict[bytes, bytes]) -> None:
        """All that a worker does with each event, but for Kafka and its store."""
        for value, source in placed:
            event = decode_event(value, {}, source, LATER_MS)
            key = event.person.encode()
            data = states.get(key)
            step = apply_event(decode_state(data) if data else None, event, source, self.rules)
            if step.state is not None:
                states[key] = encode_state(step.state)
            for request in step.requests:
                encode_request(request)

    def crowd(self, users: int) -> Callable[[], float]:
        """µs an event of the second half, each event for one of so many users."""
        homes = {event.person: state for event, state in zip(self.events, self.before, strict=True) if state}
        stored = list(homes.values())
        states = {b"u%d" % number: stored[number % len(stored)] for number in range(users)}
        half, chance = len(self.values) // 2, random.Random(3)  # noqa: S311 - load, no secret
        ended_ms = self.events[-1].timestamp
        placed = []
        for number, value in enumerate(self.values[half:], 1):
            event = orjson.loads(value) | {
                "user_id": f"u{chance.randrange(users)}",
                "event_id": f"later {number}",
                "timestamp": ended_ms + number * MINUTE_MS,
            }
            placed.append((orjson.dumps(event), Source("events", 1, number, LATER_MS)))
        return partial(self._in_crowd, placed, states)

    def _in_crowd(self, placed: list[tuple[bytes, Source]], states: dict[bytes, bytes]) -> float:
        before = dict(states)
        cost_us = measured(lambda: self.applied(placed, states), len(placed))
        states.update(before)
        return cost_us


def measured(work: Callable[[], object], events: int) -> float:
    """CPU µs an event."""
    started_s = time.process_time()
    work()
    return (time.process_time() - started_s) / events * 1e6


def main() -> None:
    """Command line."""
    given = command_line(__doc__).parse_args()
    settings = load_settings()
    bundle = open_bundle(settings)
    events = events_of(demo_purchases(), seed=1)
    kept = Kept.of(rules_of(settings, bundle.encoder, bundle.name), events)
    works: dict[str, Callable[[], float]] = {}
    for name, work in kept.works().items():
        works[name] = partial(measured, work, len(kept.values))
    for users in CROWDS:
        works[f"{WHOLE}, {users:,} users"] = kept.crowd(users)
    gc.collect()
    gc.freeze()  # what was kept for the measuring is no worker's garbage to look through
    found = alternated(works, rounds_of(given))
    figures = [Figure.of(name, "µs", values) for name, values in found.items()]
    few, many = figures[-2:]
    flat = paired(f"{CROWDS[1]:,} to {CROWDS[0]:,} users", many, few, Bar.at_most(FLAT))
    asked = sum(len(step.decided) for step in kept.steps) / len(kept.steps)
    note = f"{len(kept.values):,} events, {asked:.2f} hint requests an event."
    finish(Report("session_step", __doc__ or "", figures, [flat], [note]), given)


if __name__ == "__main__":
    main()
