"""Records a fetch at a time: order, acknowledgement, the changelog, and recovery, on a real Kafka."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections import Counter as Counted
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from threading import Thread
from typing import Any

import orjson
import pytest
from kafka import KafkaAdminClient, KafkaProducer

from streams.kafka_auth import client_options
from streams.record_batches import FEW, MAX_RECORDS, WAITING
from tests.shop import Shop, wait_until

STORES = ("memory", "rocksdb")
KEYS = [f"k{number}".encode() for number in range(40)]


@dataclass
class Counter:
    """The process of tests/batching.py, and what it said so far."""

    shop: Shop
    store: str
    folder: Path
    environ: dict[str, str] = field(default_factory=dict)
    said: list[dict[str, Any]] = field(default_factory=list)

    def __enter__(self) -> Counter:
        prefix = f"{self.shop.name}."
        place = [self.shop.kafka_url, prefix, self.shop.topics.events, self.store, str(self.folder)]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.batching", *place],
            env=os.environ | self.environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self._reader = Thread(target=self._read)
        self._reader.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.wait(30)
        self._reader.join(10)
        assert self.process.stdout is not None
        self.process.stdout.close()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.said.append(orjson.loads(line))

    @property
    def batches(self) -> list[dict[str, Any]]:
        return [one for one in self.said if "place" in one]

    @property
    def records(self) -> int:
        return sum(one["records"] for one in self.batches)

    def ready(self) -> int:
        """Waits; returns how many keys it knew when it was ready."""
        wait_until(lambda: any("ready" in one for one in self.said), "the app to be ready", 60)
        return int(next(one["ready"] for one in self.said if "ready" in one))


@pytest.fixture
def counter(shop: Shop, tmp_path: Path) -> Iterator[Callable[..., Counter]]:
    yield lambda store="memory", **environ: Counter(shop, store, tmp_path / store, environ)


def states(shop: Shop) -> dict[bytes, bytes]:
    """Newest value per key of the changelog."""
    return {r.key: r.value for r in shop.records(f"{shop.name}.batching-seen-changelog")}


def committed(shop: Shop) -> int:
    admin: Any = KafkaAdminClient(**client_options(shop.settings))
    try:
        offsets = admin.list_group_offsets({f"{shop.name}.batching": None})[f"{shop.name}.batching"]
    finally:
        admin.close()
    return sum(max(0, one.offset) for place, one in offsets.items() if place.topic == shop.topics.events)


def numbered(first: int, last: int) -> list[tuple[bytes, bytes]]:
    return [(KEYS[number % len(KEYS)], str(number).encode()) for number in range(first, last)]


def as_sent(records: list[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    found: dict[bytes, bytes] = {}
    for key, value in records:
        found[key] = found.get(key, b"") + value + b","
    return found


@pytest.mark.parametrize("store", STORES)
def test_every_record_comes_once_in_order_and_one_state_a_key_and_batch_is_written(
    shop: Shop, counter: Callable[..., Counter], store: str
) -> None:
    sent = numbered(0, 5_000)
    shop.produce_raw(sent)
    with counter(store) as run:
        wait_until(lambda: run.records == len(sent), "all records", 60)
        wait_until(lambda: committed(shop) == len(sent), "their commit", 30)
    assert states(shop) == as_sent(sent)
    assert max(one["records"] for one in run.batches) <= MAX_RECORDS
    changes = len(shop.records(f"{shop.name}.batching-seen-changelog"))
    assert changes <= len(run.batches) * len(KEYS) < len(sent)


@pytest.mark.parametrize("store", STORES)
def test_a_restart_finds_every_state_and_goes_on(
    shop: Shop, counter: Callable[..., Counter], store: str
) -> None:
    first, second = numbered(0, 3_000), numbered(3_000, 3_500)
    shop.produce_raw(first)
    with counter(store) as run:
        wait_until(lambda: run.records == len(first), "all records", 60)
        wait_until(lambda: committed(shop) == len(first), "their commit", 30)
    with counter(store) as run:
        assert run.ready() == len(KEYS)
        shop.produce_raw(second)
        wait_until(lambda: run.records == len(second), "the new records alone", 60)
    assert states(shop) == as_sent([*first, *second])


def test_a_batch_whose_agent_raised_is_not_acknowledged_and_is_read_again(
    shop: Shop, counter: Callable[..., Counter]
) -> None:
    sent = numbered(0, 300)
    sent.insert(150, (KEYS[0], b"fail"))
    shop.produce_raw(sent)
    with counter() as run:
        wait_until(lambda: any("failed" in one for one in run.said), "the failure", 30)
    assert committed(shop) < len(sent)
    read = run.records
    with counter(FAIL="0") as run:
        wait_until(lambda: read + run.records >= len(sent), "the rest", 30)
        wait_until(lambda: committed(shop) == len(sent), "the commit", 30)
    assert states(shop)[KEYS[0]] == as_sent(sent)[KEYS[0]]


def test_a_process_killed_in_the_middle_of_a_batch_has_acknowledged_none_of_it(
    shop: Shop, counter: Callable[..., Counter]
) -> None:
    sent = [(KEYS[0], b"slow"), *((KEYS[0], str(number).encode()) for number in range(50))]
    shop.produce_raw(sent)
    with counter() as run:
        run.ready()
        run.process.kill()
    assert committed(shop) == 0
    with counter() as run:
        wait_until(lambda: run.records == len(sent), "all of it again", 30)
    assert states(shop) == as_sent(sent)


def test_a_slow_agent_finds_bigger_batches_of_every_partition_in_turn(
    shop: Shop, counter: Callable[..., Counter]
) -> None:
    """What it cannot take stays in Kafka, and comes in one fetch; not in a thousand of a record each."""
    sent = numbered(0, 4_000)
    with counter(PACE="0.2") as run:
        run.ready()
        send_one_by_one(shop, sent)
        wait_until(lambda: run.records == len(sent), "all records", 60)
    assert len(run.batches) < len(sent) / 10
    turns = [one["place"][0] for one in run.batches]
    for partition in range(shop.settings.partitions):
        places = [place for place, turn in enumerate(turns) if turn == partition]
        assert max(after - before for before, after in pairwise(places)) <= 4 * WAITING
    assert states(shop) == as_sent(sent)


@pytest.mark.parametrize("store", STORES)
def test_what_waits_of_several_partitions_is_taken_at_once_and_each_state_is_its_partitions(
    shop: Shop, counter: Callable[..., Counter], store: str
) -> None:
    sent = numbered(0, 2_000)
    with counter(store, PACE="0.2") as run:
        run.ready()
        send_one_by_one(shop, sent)
        wait_until(lambda: run.records == len(sent), "all records", 60)
    together = Counted(one["turn"] for one in run.batches)
    assert max(together.values()) > 1
    assert states(shop) == as_sent(sent)


def test_a_fetch_that_brought_little_is_followed_by_a_pause(
    shop: Shop, counter: Callable[..., Counter]
) -> None:
    sent, pause_s = numbered(0, 2_000), 0.2
    with counter(PAUSE=str(pause_s)) as run:
        run.ready()
        began_s = time.monotonic()
        send_one_by_one(shop, sent)
        wait_until(lambda: run.records == len(sent), "all records", 60)
        fetches = 1 + (time.monotonic() - began_s) / pause_s + len(sent) / FEW
    assert len(run.batches) <= shop.settings.partitions * fetches
    assert states(shop) == as_sent(sent)


def send_one_by_one(shop: Shop, records: list[tuple[bytes, bytes]]) -> None:
    """Each in a produce request of its own, about a thousand a second."""
    producer: Any = KafkaProducer(**client_options(shop.settings), linger_ms=0)
    try:
        for key, value in records:
            producer.send(shop.topics.events, key=key, value=value)
            time.sleep(0.001)
        producer.flush()
    finally:
        producer.close()
