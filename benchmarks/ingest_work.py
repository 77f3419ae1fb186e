"""What every contestant of `benchmarks.ingest` does with one event: all that a session worker does.

Decode, the user's state from bytes, interest and refresh decision, the state to bytes again, and the hint
requests: by the very functions of the worker. Where states are kept, and how they get to Kafka, is each
contestant's own.
"""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from agents.bundle_watch import open_served
from agents.serving import rules_of
from agents.session.rules import Rules
from agents.session.state import decode_state, encode_state
from agents.session.step import apply_event
from streams.hint_request import encode_request
from streams.records import Source, decode_event
from streams.settings import Settings, load_settings
from streams.topics import Topics

COUNT: Final = "BENCH_EVENTS"


@dataclass(slots=True)
class Applied:
    """What one event left: the person's key, their new state (None: unchanged), encoded requests."""

    key: bytes
    state: bytes | None
    requests: list[bytes]


@dataclass(slots=True)
class SessionWork:
    """One event at a time, as a framework without our batches does it."""

    rules: Rules
    topic: str

    @classmethod
    def of(cls, settings: Settings) -> SessionWork:
        """With the bundle and rules that the worker would have."""
        served = open_served(settings, generates=False)
        return cls(rules_of(settings, served.encoder, served.name), Topics.of(settings).events)

    def apply(
        self, value: bytes, place: tuple[int, int, int], stored: Callable[[bytes], bytes | None]
    ) -> Applied:
        """place: partition, offset, append time in ms. stored: the state's bytes of a key."""
        source = Source(self.topic, *place)
        event = decode_event(value, {}, source, source.appended_ms)
        key = event.person.encode()
        before = stored(key)
        step = apply_event(decode_state(before) if before else None, event, source, self.rules)
        state = encode_state(step.state) if step.state is not None else None
        return Applied(key, state, [encode_request(one) for one in step.requests])


@dataclass(slots=True)
class Stopwatch:
    """From the first event to the last one's confirmation, in wall and CPU seconds of this process."""

    wanted: int = field(default_factory=lambda: int(os.environ[COUNT]))
    done: int = 0
    _began: tuple[float, float] | None = None

    def count(self, events: int = 1) -> bool:
        """So many more were worked off; True: that was all. The first call starts the clock."""
        if self._began is None:
            self._began = (time.perf_counter(), _cpu_s())
        self.done += events
        return self.done >= self.wanted

    def tell(self, **more: Any) -> None:
        """Print the result and end the process at once: what a framework does at its end is not measured."""
        began_s, began_cpu_s = self._began or (0.0, 0.0)
        told = {
            "events": self.done,
            "seconds": time.perf_counter() - began_s,
            "cpu_s": _cpu_s() - began_cpu_s,
            "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        }
        os.write(1, orjson.dumps(told | more) + b"\n")  # Faust takes sys.stdout for its log
        os._exit(0)


def given() -> tuple[Settings, Topics, SessionWork]:
    """Settings, topics and work of this process, from its environment."""
    settings = load_settings()
    return settings, Topics.of(settings), SessionWork.of(settings)


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime
