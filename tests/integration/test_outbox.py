"""The outbox on a real Kafka: order, batches that are full, and what a commit is told."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer

from streams.outbox import Outbox
from tests.shop import Shop

BATCH_BYTES = 4_096


async def sent(shop: Shop, fill: Any, topic: str) -> tuple[list[asyncio.Future[int]], list[tuple[int, int]]]:
    """What was tracked and what was told as delivered, after `fill` put its records and all were sent."""
    tracked: list[asyncio.Future[int]] = []
    delivered: list[tuple[int, int]] = []
    producer = AIOKafkaProducer(
        bootstrap_servers=shop.settings.kafka_bootstrap, acks="all", max_batch_size=BATCH_BYTES
    )
    await producer.start()
    try:
        outbox = Outbox(lambda: producer, tracked.append, {topic: lambda *place: delivered.append(place)})
        fill(outbox)
        await outbox.send()
        await asyncio.wait(tracked)
    finally:
        await producer.stop()
    return tracked, delivered


def test_records_of_a_partition_keep_their_order_over_many_batches(shop: Shop) -> None:
    topic = shop.topics.requests
    values = [(number % 2, str(number).encode() + b"x" * (number % 700)) for number in range(500)]

    def fill(outbox: Outbox) -> None:
        for partition, value in values:
            outbox.put(topic, partition, b"k", value, [("traceparent", b"t")])

    tracked, delivered = asyncio.run(sent(shop, fill, topic))
    found = shop.records(topic)
    for partition in (0, 1):
        assert [r.value for r in found if r.partition == partition] == [
            v for p, v in values if p == partition
        ]
    assert dict(found[0].headers) == {"traceparent": b"t"}
    assert len(tracked) > 10
    assert {p: max(o for q, o in delivered if q == p) for p in (0, 1)} == {0: 249, 1: 249}


def test_what_kafka_refuses_is_what_a_commit_is_told_and_the_rest_goes_on(shop: Shop) -> None:
    topic = shop.topics.requests  # takes a megabyte a record

    def fill(outbox: Outbox) -> None:
        outbox.put(topic, 0, b"k", b"x" * 1_200_000)
        outbox.put(topic, 1, b"k", b"fits")

    tracked, delivered = asyncio.run(sent(shop, fill, topic))
    assert [one.exception() is None for one in tracked] == [False, True]
    assert delivered == [(1, 0)]


def test_a_compressed_topics_records_are_the_same_in_fewer_bytes(shop: Shop) -> None:
    """Also for a reader that is not of our client's family."""
    topics = shop.topics.requests, shop.topics.handovers
    values = [b"a state of somebody, much like the others: %d" % number for number in range(2_000)]
    sizes: dict[str, int] = dict.fromkeys(topics, 0)

    async def send() -> None:
        async with AIOKafkaProducer(bootstrap_servers=shop.settings.kafka_bootstrap, acks="all") as producer:
            hand_over = producer.send_batch

            async def measured(builder: Any, topic: str, **place: Any) -> Any:
                sizes[topic] += len(builder._build())
                return await hand_over(builder, topic, **place)

            producer.send_batch = measured
            outbox = Outbox(lambda: producer, list[asyncio.Future[int]]().append, compressed={topics[0]})
            for topic in topics:
                for value in values:
                    outbox.put(topic, 0, b"k", value)
            assert await outbox.deliver()

    asyncio.run(send())
    for topic in topics:
        assert [record.value for record in shop.records(topic)] == values
    assert 0 < sizes[topics[0]] < 0.2 * sizes[topics[1]]


def test_a_tombstone_is_a_record(shop: Shop) -> None:
    asyncio.run(sent(shop, lambda outbox: outbox.put(shop.topics.requests, 0, b"k", None), "none"))
    (record,) = shop.records(shop.topics.requests)
    assert (record.key, record.value) == (b"k", None)


def test_a_send_that_is_cancelled_is_not_taken_for_delivered(shop: Shop) -> None:
    async def cancelled() -> list[asyncio.Future[int]]:
        tracked: list[asyncio.Future[int]] = []
        producer = AIOKafkaProducer(bootstrap_servers=shop.settings.kafka_bootstrap)
        await producer.start()
        outbox = Outbox(lambda: producer, tracked.append)
        outbox.put(shop.topics.requests, 0, b"k", b"v")
        outbox.put(shop.topics.requests, 1, b"k", b"v")
        await producer.stop()  # a stopped client waits for ever
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(outbox.send(), 0.5)
        return tracked

    assert [one.cancelled() for one in asyncio.run(cancelled())] == [True, True]


pytestmark = pytest.mark.timeout(60)
