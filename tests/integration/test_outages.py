"""Kafka or Redis away for a while: the worker waits, says so, and goes on; nothing is lost."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest

from streams.embedded.servers import EmbeddedKafka, EmbeddedRedis
from tests.shop import Shop, get, wait_until
from tests.support import NOON_MS, event_json

pytestmark = [
    pytest.mark.embedded_only,
    pytest.mark.timeout(240),
    # kafka-python leaves the sockets of failed connects to the garbage collector.
    pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning"),
]


@pytest.fixture
def own_shop(kafka: EmbeddedKafka, redis_server: EmbeddedRedis, tmp_path: Path) -> Iterator[Shop]:
    """A shop whose servers may be killed."""
    opened = Shop(kafka.url, redis_server.url, tmp_path)
    try:
        yield opened
    finally:
        opened.close()


def buy(shop: Shop, users: range, text: str, start_ms: int) -> None:
    shop.produce(
        event_json(text=text, user=shop.user(n), at_ms=start_ms + n, event_id=f"{text}-{n}") for n in users
    )


def test_lists_wait_for_redis_and_come_when_it_is_back(own_shop: Shop, redis_server: EmbeddedRedis) -> None:
    worker = own_shop.worker("session", "hints")
    buy(own_shop, range(5), "milk", NOON_MS)
    wait_until(lambda: all(own_shop.newest(own_shop.user(n)) for n in range(5)), "the first lists")
    redis_server.kill()
    buy(own_shop, range(20), "wine", NOON_MS + 60_000)
    wait_until(lambda: own_shop.count("aigq_store_retries_total") > 0, "the worker to notice")
    status, body = get(f"{worker.health_url}/ready")
    assert status == 503
    assert "redis" in orjson.loads(body)["problems"]
    redis_server.restart()
    wait_until(
        lambda: all((one := own_shop.newest(own_shop.user(n))) and one.trigger == "wine" for n in range(20)),
        "all lists after Redis is back",
    )
    own_shop.wait_until_quiet()
    wait_until(lambda: get(f"{worker.health_url}/ready")[0] == 200, "the worker to be ready again")
    assert own_shop.count("aigq_dead_letters_total") == 0


def test_a_broker_that_is_killed_and_comes_back_loses_nothing(own_shop: Shop, kafka: EmbeddedKafka) -> None:
    worker = own_shop.worker("session", "hints")
    buy(own_shop, range(10), "milk", NOON_MS)
    wait_until(lambda: all(own_shop.newest(own_shop.user(n)) for n in range(10)), "the first lists")
    kafka.kill()
    kafka.restart()
    buy(own_shop, range(30), "wine", NOON_MS + 60_000)
    wait_until(
        lambda: all((one := own_shop.newest(own_shop.user(n))) and one.trigger == "wine" for n in range(30)),
        "all lists after the broker is back",
        120,
    )
    assert worker.is_running
