"""Nothing is committed before it is delivered: the guard that streams/app.py puts around Faust's commit."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from kafka import KafkaAdminClient
from kafka.admin import NewTopic

from streams.kafka_auth import client_options
from tests.shop import Shop, wait_until

TAKES_BYTES = 200


def small_topic(shop: Shop) -> str:
    """A topic that takes no record of more than TAKES_BYTES."""
    name = f"{shop.name}.small"
    admin: Any = KafkaAdminClient(**client_options(shop.settings))
    try:
        admin.create_topics([NewTopic(name, 1, 1, topic_configs={"max.message.bytes": str(TAKES_BYTES)})])
    finally:
        admin.close()
    return name


def committed(shop: Shop) -> int:
    """Sum of the forwarding group's committed offsets."""
    group = f"{shop.name}.forward"
    admin: Any = KafkaAdminClient(**client_options(shop.settings))
    try:
        offsets = admin.list_group_offsets({group: None})[group]
    finally:
        admin.close()
    return sum(max(0, entry.offset) for place, entry in offsets.items() if place.topic == shop.topics.events)


@contextmanager
def forwarding(shop: Shop, size: int) -> Iterator[subprocess.Popen[str]]:
    """A process that sends `size` bytes to the small topic for each event."""
    arguments = [shop.kafka_url, f"{shop.name}.", shop.topics.events, small_topic(shop), str(size)]
    program = [sys.executable, "-m", "tests.forwarding", *arguments, str(shop.folder)]
    process = subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def test_what_was_delivered_is_committed(shop: Shop) -> None:
    shop.produce_raw([(b"k", b"1"), (b"k", b"2")])
    with forwarding(shop, size=TAKES_BYTES // 4):
        wait_until(lambda: committed(shop) == 2, "the commit", 30)


def test_a_send_that_kafka_refuses_stops_the_app_without_a_commit(shop: Shop) -> None:
    shop.produce_raw([(b"k", b"1"), (b"k", b"2")])
    with forwarding(shop, size=TAKES_BYTES * 25) as process:
        assert process.stdout is not None
        said = [process.stdout.readline().strip() for _ in range(3)]
    assert said == ["sent", "sent", "BrokerError"]
    assert committed(shop) == 0
