"""The contestants of `benchmarks.ingest`, each a process of its own: python -m benchmarks.ingest_runs NAME.

All read the same topic from its beginning, with settings that are the best found for each
(`aigq`: the shipped ones), and send with acks=all. The bare loops have no recovery, no tables and no
rebalance: they are the floor, not an alternative.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

import faust
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from agents.parts import Role
from agents.worker import Worker
from benchmarks.ingest_work import Stopwatch, given
from streams.settings import load_settings

POLL_S: Final = 0.01
WORK_ALONE: Final = "work alone"
FROM_THE_BEGINNING: Final[dict[str, Any]] = {"auto.offset.reset": "earliest", "enable.auto.commit": False}


def aigq() -> None:
    """The session worker itself."""
    asyncio.run(_aigq())


async def _aigq() -> None:
    worker, watch = Worker(load_settings(), [Role.SESSION]), Stopwatch()
    running = asyncio.create_task(worker.run())
    while True:
        await asyncio.sleep(POLL_S)
        if running.done():
            running.result()
        new = _events_of(worker) - watch.done
        if new and watch.count(new):
            break
    for app in worker.apps:
        await app.consumer.commit()  # waits for every record's confirmation
    watch.tell()


def _events_of(worker: Worker) -> int:
    return int(sum(one.value for one in _samples(worker) if one.name == "aigq_events_total"))


def _samples(worker: Worker) -> list[Any]:
    return [sample for metric in worker.metrics.events.collect() for sample in metric.samples]


def stock_faust() -> None:
    """Faust as it comes, tuned: linger and batch size of its producer, large buffers."""
    settings, topics, work = given()
    app = faust.App(
        f"{settings.topic_prefix}stock",
        broker=f"kafka://{settings.kafka_bootstrap[0]}",
        store="memory://",
        datadir=tempfile.mkdtemp(),
        topic_partitions=settings.partitions,
        topic_replication_factor=1,
        topic_disable_leader=True,
        producer_linger=0.02,
        producer_max_batch_size=131_072,
        stream_buffer_maxsize=65_536,
        stream_wait_empty=False,
        web_enabled=False,
        consumer_auto_offset_reset="earliest",
    )
    raw: dict[str, Any] = {
        "key_type": bytes,
        "value_type": bytes,
        "key_serializer": "raw",
        "value_serializer": "raw",
    }
    events = app.topic(topics.events, partitions=settings.partitions, **raw)
    requests = app.topic(topics.requests, partitions=settings.partitions, **raw)
    table: Any = app.Table("states", partitions=settings.partitions, key_type=bytes, value_type=bytes)
    watch = Stopwatch()

    async def on_events(stream: Any) -> None:
        async for event in stream.events():
            message = event.message
            place = (message.partition, message.offset, round(message.timestamp * 1000))
            applied = work.apply(event.value, place, table.get)
            if applied.state is not None:
                table[applied.key] = applied.state
            for request in applied.requests:
                await requests.send(key=applied.key, value=request, partition=message.partition)
            if watch.count():
                await app.producer.flush()
                watch.tell()

    app.agent(events)(on_events)
    sys.argv = ["stock", "worker", "--loglevel", "error", "--without-web"]
    app.main()


def bare_aiokafka(*, changelog: bool) -> None:
    """aiokafka's consumer and producer around a dict."""
    asyncio.run(_bare_aiokafka(changelog))


async def _bare_aiokafka(changelog: bool) -> None:
    settings, topics, work = given()
    address = settings.kafka_bootstrap[0]
    consumer = AIOKafkaConsumer(
        topics.events,
        bootstrap_servers=address,
        group_id=f"{settings.topic_prefix}bare",
        auto_offset_reset="earliest",
        enable_auto_commit=False,
    )
    producer = AIOKafkaProducer(bootstrap_servers=address, acks="all", linger_ms=20, max_batch_size=131_072)
    await consumer.start()
    await producer.start()
    watch, states = Stopwatch(), dict[bytes, bytes]()
    while True:
        for tp, records in (await consumer.getmany(timeout_ms=500)).items():
            for record in records:
                place = (tp.partition, record.offset, record.timestamp)
                applied = work.apply(record.value, place, states.get)
                if applied.state is not None:
                    states[applied.key] = applied.state
                    if changelog:
                        await producer.send(topics.changelog, applied.state, applied.key, tp.partition)
                for request in applied.requests if changelog else ():
                    await producer.send(topics.requests, request, applied.key, tp.partition)
                if watch.count():
                    await producer.flush()
                    await consumer.commit()
                    watch.tell()
            await consumer.commit()


def bare_confluent(*, changelog: bool) -> None:
    """librdkafka's consumer and producer around a dict."""
    from confluent_kafka import Consumer, KafkaException, Producer

    settings, topics, work = given()
    servers = {"bootstrap.servers": settings.kafka_bootstrap[0], "log_level": 0}
    consumer: Any = Consumer(servers | {"group.id": f"{settings.topic_prefix}bare"} | FROM_THE_BEGINNING)
    producer = Producer(servers | {"linger.ms": 20, "acks": "all", "queue.buffering.max.messages": 1_000_000})
    consumer.subscribe([topics.events])
    watch, states = Stopwatch(), dict[bytes, bytes]()
    while True:
        for message in consumer.consume(500, 0.5):
            partition = message.partition()
            place = (partition, message.offset(), message.timestamp()[1])
            applied = work.apply(message.value(), place, states.get)
            if applied.state is not None:
                states[applied.key] = applied.state
                if changelog:
                    producer.produce(topics.changelog, applied.state, applied.key, partition)
            for request in applied.requests if changelog else ():
                producer.produce(topics.requests, request, applied.key, partition)
            if watch.count():
                producer.flush()
                with suppress(KafkaException):  # there may be nothing left to commit
                    consumer.commit(asynchronous=False)
                watch.tell()
        producer.poll(0)
        consumer.commit(asynchronous=True)


def work_alone() -> None:
    """The work without a framework: all events are in memory before the clock starts. No contestant."""
    from confluent_kafka import Consumer

    settings, topics, work = given()
    servers = {"bootstrap.servers": settings.kafka_bootstrap[0], "log_level": 0}
    consumer: Any = Consumer(servers | {"group.id": f"{settings.topic_prefix}alone"} | FROM_THE_BEGINNING)
    consumer.subscribe([topics.events])
    watch, states, read = Stopwatch(), dict[bytes, bytes](), list[tuple[bytes, tuple[int, int, int]]]()
    while len(read) < watch.wanted:
        for message in consumer.consume(500, 0.5):
            place = (message.partition(), message.offset(), message.timestamp()[1])
            read.append((message.value(), place))
    consumer.close()
    for value, place in read:
        applied = work.apply(value, place, states.get)
        if applied.state is not None:
            states[applied.key] = applied.state
        if watch.count():
            watch.tell()


def quix() -> None:
    """Quix Streams with state in RocksDB and its changelog, in an environment of its own."""
    from quixstreams import Application, message_context

    settings, topics, work = given()
    app = Application(
        settings.kafka_bootstrap[0],
        consumer_group=f"{settings.topic_prefix}quix",
        auto_offset_reset="earliest",
        state_dir=tempfile.mkdtemp(),
        producer_extra_config={"linger.ms": 20},
        commit_interval=1.0,
        loglevel="ERROR",
    )
    frame = app.dataframe(app.topic(topics.events, value_deserializer="bytes", key_deserializer="bytes"))
    requests = app.topic(topics.requests, value_serializer="bytes", key_serializer="bytes")
    watch = Stopwatch()

    def on_event(value: bytes, _key: bytes, at_ms: int, _headers: Any, state: Any) -> list[bytes]:
        here = message_context()
        applied = work.apply(value, (here.partition, here.offset, at_ms), lambda _: state.get_bytes("state"))
        if applied.state is not None:
            state.set_bytes("state", applied.state)
        if watch.count():
            app.stop()  # commits, and returns when all is confirmed
        return applied.requests

    frame.apply(on_event, stateful=True, metadata=True, expand=True).to_topic(requests)
    app.run()
    watch.tell()


CONTESTANTS: Final[dict[str, Callable[[], None]]] = {
    "aigq": aigq,
    "faust": stock_faust,
    "quix": quix,
    "aiokafka": lambda: bare_aiokafka(changelog=True),
    "aiokafka, nothing durable": lambda: bare_aiokafka(changelog=False),
    "confluent": lambda: bare_confluent(changelog=True),
    "confluent, nothing durable": lambda: bare_confluent(changelog=False),
    WORK_ALONE: work_alone,
}

if __name__ == "__main__":
    CONTESTANTS[sys.argv[1]]()
