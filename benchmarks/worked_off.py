"""How much traffic a shop works off a second, and how old each list was when it could be read.

For benchmarks.freshness and benchmarks.scale_out.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import orjson

from benchmarks.list_watch import ListWatch, Seen
from benchmarks.running_shop import RunningShop, Sender, read_topic
from benchmarks.traffic import Level, baskets, planned
from streams.replay_order import partition_of

SLICES: Final = 4  # the first warms up
SLICE_S: Final = 25.0  # of event time: nobody is due a second list
SLICE_EVENTS: Final = 6_000
DRAIN_S: Final = 180.0


@dataclass(frozen=True, slots=True)
class Fresh:
    """A list: when its event was appended (seconds after the load's start), and how long it took (ms)."""

    at_s: float
    took_ms: float


def capacity_of(shop: RunningShop, slice_events: int) -> tuple[list[float], float, int]:
    """Events per second of each slice but the first, lists an event, and how many events were sent.

    A slice is put into Kafka at once when the one before is worked off, and ends with its last list.
    """
    plan = planned(baskets(), [Level(slice_events / SLICE_S, 0.0, SLICES * SLICE_S)], seed=11)
    watch, sender = ListWatch(shop.services.settings["AIGQ_REDIS_URL"]), Sender(shop.settings)
    start_s, sent, begun = time.time() - SLICES * SLICE_S, 0, []
    for number in range(SLICES):
        part = [one for one in plan if number <= one.due_s / SLICE_S < number + 1]
        records = [(one.user.encode(), one.encoded(start_s)) for one in part]
        begun.append((time.time(), len(part)))
        for key, value in records:
            sender.send(shop.topics.events, key, value)
        sender.flush()
        sent += len(part)
        shop.wait_until_worked_off(sent, DRAIN_S)
    seen = watch.stop()
    found, _ = fresh(shop, 0.0, seen)
    rates = []
    for (began_s, events), (to_s, _) in zip(begun[1:], [*begun[2:], (math.inf, 0)], strict=True):
        own = [one for one in found if began_s <= one.at_s < to_s]
        rates.append(events / (max(one.at_s + one.took_ms / 1000 for one in own) - began_s))
    return rates, len(seen) / sent, sent


def fresh(shop: RunningShop, start_s: float, seen: Sequence[Seen]) -> tuple[list[Fresh], list[Fresh]]:
    """Lists that an event decided, by append time; lists that a cooldown's end decided, by that end."""
    appended = {
        (one.partition, one.offset, orjson.loads(one.value or b"{}")["timestamp"]): one.at_ms
        for one in read_topic(shop.settings, shop.topics.events)
    }
    by_event, by_cooldown = list[Fresh](), list[Fresh]()
    for one in seen:
        partition = partition_of(one.user.encode(), shop.settings.partitions)
        at_ms = appended.get((partition, one.version.offset, one.version.as_of_ms))
        since_ms = one.version.as_of_ms if at_ms is None else at_ms
        (by_cooldown if at_ms is None else by_event).append(
            Fresh(since_ms / 1000 - start_s, one.at_ms - since_ms)
        )
    return sorted(by_event, key=lambda one: one.at_s), sorted(by_cooldown, key=lambda one: one.at_s)
