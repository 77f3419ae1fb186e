"""Any number of users with real states: a year of real households' events, each state under many ids.

The states are what the session agent would hold (`agents.offline_sessions`), without the offsets of events
applied, so that new events count, and without refreshes owed, so that the first event costs what the others
do. They are written to the session changelog as the agent writes them.
"""

from __future__ import annotations

import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import polars as pl

from agents.hints.bundle import Bundle
from agents.offline_sessions import OfflineSessions
from agents.serving import open_bundle, rules_of
from agents.session.state import decode_state, encode_state
from agents.session.state_parts import Owed
from benchmarks.running_shop import Sender
from streams.hint_request import HintRequest, decode_request
from streams.outbox import BATCH_BYTES
from streams.replay_order import ordered_records, scan_log
from streams.settings import Settings, load_settings
from streams.topics import Topics
from training.datasets.complete_journey import WHOLE_YEAR, load_purchases
from training.datasets.events import write_event_log

LENGTHS: Final = (1, 10, 32, 100, 300, 1000)  # events after which a history is measured


@dataclass(slots=True)
class Histories:
    """States by household key; sizes: a history's length → bytes of every state at that length."""

    states: dict[bytes, bytes]
    requests: list[HintRequest]
    bundle: Bundle
    events: int
    sizes: dict[int, list[int]] = field(default_factory=dict)

    def clones(self, users: int) -> Iterator[tuple[bytes, bytes]]:
        """(key, state) of so many users; user n has the state of household n modulo the households."""
        own = [(key, _settled(state)) for key, state in sorted(self.states.items())]
        for number in range(users):
            key, state = own[number % len(own)]
            yield clone_key(key, number), state


def clone_key(household: bytes, number: int) -> bytes:
    """The user id of a clone."""
    return household + b"-%d" % number


def histories(households: int, settings: Settings | None = None) -> Histories:
    """A year of so many households, spread evenly over all of them, applied in order of event time."""
    settings = settings or load_settings()
    bundle = open_bundle(settings)
    sessions = OfflineSessions(
        rules_of(settings, bundle.encoder, bundle.name), "behavior-events", settings.partitions, None
    )
    counts, sizes = Counter[bytes](), {length: list[int]() for length in LENGTHS}
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "events.jsonl"
        write_event_log(log, _of_some(households), seed=1)
        now_ms = time.time_ns() // 1_000_000
        for record in ordered_records(log, scan_log(log, now_ms), now_ms):
            sessions.apply(record)
            counts[record.key] += 1
            if counts[record.key] in sizes:
                sizes[counts[record.key]].append(len(sessions.states[record.key]))
    requests = [decode_request(sessions.requests[user][1]) for user in sorted(sessions.requests)]
    return Histories(sessions.states, requests, bundle, counts.total(), sizes)


def fill_changelog(settings: Settings, records: Iterator[tuple[bytes, bytes]]) -> None:
    """Write (key, state) to the session changelog, each to the partition of its key's events."""
    sender, topic = (
        Sender(settings, **{"linger.ms": 50, "batch.size": BATCH_BYTES, "compression.type": "zstd"}),
        Topics.of(settings).changelog,
    )
    for key, state in records:
        sender.send(topic, key, state)
    sender.flush()


def _of_some(households: int) -> pl.DataFrame:
    bought = load_purchases(WHOLE_YEAR)
    every = bought["household_id"].unique().sort()
    chosen = every.gather_every(max(1, len(every) // households)).head(households)
    return bought.filter(pl.col("household_id").is_in(chosen.to_list()))


def _settled(state: bytes) -> bytes:
    return encode_state(decode_state(state)._replace(offsets={}, owed=Owed()))
