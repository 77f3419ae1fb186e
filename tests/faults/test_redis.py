"""Redis killed, emptied, full, slow, or no primary any more, in the middle of a stream.

Workers wait and say so; states are not touched, every list comes when Redis takes it again. Killed: in
`make test`, too; the rest with `make faults`.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from typing import Any

import orjson
import pytest
import redis
from kafka import KafkaConsumer, TopicPartition
from kafka.structs import OffsetAndMetadata

from streams.kafka_auth import client_options
from tests.faults.case import Case
from tests.faults.known_stream import known, real_events
from tests.faults.ledger import assert_same_lists
from tests.shop import get, wait_until

pytestmark = pytest.mark.timeout(400)
RATE = 100.0
BROKEN_S = 6.0


def client(case: Case) -> Any:
    return redis.Redis.from_url(case.redis.url, socket_timeout=10)


def is_told(health_url: str) -> bool:
    status, body = get(f"{health_url}/ready")
    return status == 503 and "redis" in orjson.loads(body)["problems"]


def broken_in_the_middle(case: Case, breaks: Callable[[Any], None], mends: Callable[[Any], None]) -> None:
    """Redis breaks under load, the worker tells it, Redis is mended, and the books are balanced."""
    worker = case.shop.worker("session", "hints")
    case.feed(known(real_events(1000)), RATE)
    case.wait_until_sent(0.3)
    breaks(case)
    wait_until(lambda: is_told(worker.health_url), "the worker to tell that Redis refuses", 60)
    time.sleep(BROKEN_S)
    mends(case)
    case.balance()
    wait_until(lambda: get(f"{worker.health_url}/ready")[0] == 200, "the worker to be ready", 60)


def test_a_redis_that_was_killed_gets_every_list_when_it_is_back(case: Case) -> None:
    broken_in_the_middle(case, lambda case: case.redis.kill(), lambda case: case.redis.restart())


@pytest.mark.faults
def test_a_redis_that_is_full_under_noeviction_gets_every_list_when_it_has_room(case: Case) -> None:
    def fill(case: Case) -> None:
        with client(case) as it:
            it.config_set("maxmemory-policy", "noeviction")
            it.config_set("maxmemory", it.info("memory")["used_memory"])

    def make_room(case: Case) -> None:
        with client(case) as it:
            it.config_set("maxmemory", 0)

    broken_in_the_middle(case, fill, make_room)


@pytest.mark.faults
def test_a_replica_after_a_fail_over_gets_every_list_when_it_is_primary_again(case: Case) -> None:
    def fail_over(case: Case) -> None:
        with client(case) as it:
            it.replicaof("127.0.0.1", 1)  # nobody is there: it keeps its data and takes no writes

    def come_back(case: Case) -> None:
        with client(case) as it:
            it.replicaof("NO", "ONE")

    broken_in_the_middle(case, fail_over, come_back)


@pytest.mark.faults
def test_a_redis_that_is_two_seconds_slow_loses_no_list(case: Case) -> None:
    case.shop.worker("session", "hints")
    case.feed(known(real_events(1000)), RATE)
    with client(case) as it:
        while not case.sent.is_done:
            it.client_pause(2000)
            time.sleep(3.0)
    case.balance()


def read_requests_again(case: Case) -> None:
    """What an operator does after Redis lost its data: the hints group reads the last day's requests anew."""
    settings = case.shop.settings
    group = f"{settings.topic_prefix}aigq-hints"
    consumer: Any = KafkaConsumer(**client_options(settings), group_id=group, enable_auto_commit=False)
    try:
        places = [TopicPartition(case.shop.topics.requests, n) for n in range(settings.partitions)]
        consumer.assign(places)
        first = consumer.beginning_offsets(places)
        consumer.commit({place: OffsetAndMetadata(first[place], "", -1) for place in places})
    finally:
        consumer.close()


@pytest.mark.faults
def test_a_redis_that_comes_back_empty_has_every_list_once_the_requests_are_read_again(case: Case) -> None:
    worker = case.shop.worker("session", "hints")
    case.feed(known(real_events(1000)), RATE)
    case.wait_until_sent(0.5)
    case.redis.kill()
    shutil.rmtree(case.redis.data_dir)
    assert case.seen is not None
    case.seen.forget()
    case.redis.restart()
    case.sent.finish()
    case.shop.wait_until_quiet(150)
    lists = case.ledger.truth().lists
    lost = [one for one in lists if case.shop.newest(one.user) is None]
    there = tuple(one for one in lists if case.shop.newest(one.user) is not None)
    assert_same_lists(case.shop, there)  # none is wrong, but some are missing
    worker.stop()
    read_requests_again(case)
    worker.start()
    case.balance()
    case.tell(f"{len(lost)} of {len(lists)} lists lost with Redis, and written again")
