"""`/ready` of a real worker names what is away, within seconds, and is quiet again when it is back."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
import redis

from agents.worker import STOOD_STILL_S
from aigq.services import WorkerProcess
from streams.embedded.servers import EmbeddedKafka, EmbeddedRedis
from tests.shop import Shop, get, wait_until
from tests.support import NOON_MS, event_json

pytestmark = [
    pytest.mark.embedded_only,
    pytest.mark.timeout(240),
    # kafka-python leaves the sockets of failed connects to the garbage collector.
    pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning"),
]
STUCK_AFTER_S = "3600"  # so that nothing here is said by the watchdog of commits


@pytest.fixture
def own_shop(kafka: EmbeddedKafka, redis_server: EmbeddedRedis, tmp_path: Path) -> Iterator[Shop]:
    """A shop whose servers may be broken; nothing but a part's own check can say so."""
    opened = Shop(kafka.url, redis_server.url, tmp_path, options={"AIGQ_STUCK_AFTER_S": STUCK_AFTER_S})
    try:
        yield opened
    finally:
        opened.close()


def ready(worker: WorkerProcess) -> dict[str, Any]:
    status, body = get(f"{worker.health_url}/ready")
    answer: dict[str, Any] = orjson.loads(body)
    assert (status == 200) is answer["ready"] is (not answer["problems"])
    return answer


def wait_for_problem(worker: WorkerProcess, part: str, why: str) -> None:
    wait_until(lambda: why in ready(worker)["problems"].get(part, ""), f"{part} to say {why!r}")


def wait_until_ready(worker: WorkerProcess) -> None:
    wait_until(lambda: ready(worker)["ready"], "the worker to be ready again", 90)


def test_a_ready_worker_has_written_to_redis_and_says_what_it_runs(own_shop: Shop) -> None:
    worker = own_shop.worker("session", "hints", "feedback")
    wait_until_ready(worker)
    answer = ready(worker)
    assert answer["bundle"] == {"name": "complete-journey-1", "refused": ""}
    assert answer["breakers"] == {"publish": "closed", "model": "closed", "feedback": "closed"}
    assert answer["overload"] == ""
    with redis.Redis.from_url(own_shop.redis_url) as client:
        assert 0 < client.ttl("aigq:1:alive:worker-0") <= 30


def test_a_broker_that_is_away_is_named_though_no_event_comes(own_shop: Shop, kafka: EmbeddedKafka) -> None:
    worker = own_shop.worker("session", "hints")
    wait_until_ready(worker)
    kafka.kill()
    wait_until(
        lambda: "kafka" in ready(worker)["problems"] or not_assigned(worker), "the broker to be missed"
    )
    assert get(f"{worker.health_url}/live")[0] == 200
    kafka.restart()
    wait_until_ready(worker)


def not_assigned(worker: WorkerProcess) -> bool:
    return any("not assigned" in why for why in ready(worker)["problems"].values())


BROKEN = {
    "full": (("maxmemory", "1"), ("maxmemory", "0"), "maxmemory"),
    "read-only": (("replicaof", "127.0.0.1 1"), ("replicaof", "no one"), "replica"),
}


@pytest.mark.parametrize("how", BROKEN)
def test_a_redis_that_answers_but_takes_nothing_is_named(own_shop: Shop, how: str) -> None:
    worker = own_shop.worker("session", "hints")
    wait_until_ready(worker)
    spoil, mend, why = BROKEN[how]
    with redis.Redis.from_url(own_shop.redis_url) as client:
        change(client, *spoil)
        wait_for_problem(worker, "redis", why)
        change(client, *mend)
    wait_until_ready(worker)


def change(client: Any, name: str, value: str) -> None:
    if name == "replicaof":
        client.execute_command("REPLICAOF", *value.split())
    else:
        client.config_set(name, value)


def test_a_redis_that_is_gone_is_named_though_nothing_is_to_be_published(
    own_shop: Shop, redis_server: EmbeddedRedis
) -> None:
    worker = own_shop.worker("session", "hints")
    wait_until_ready(worker)
    redis_server.kill()
    wait_for_problem(worker, "redis", "")
    wait_until(lambda: "redis" in ready(worker)["problems"], "Redis to be missed")
    redis_server.restart()
    wait_until_ready(worker)


def test_a_worker_that_stood_still_says_so_when_it_wakes(own_shop: Shop) -> None:
    worker = own_shop.worker("session", "hints", AIGQ_SESSION_TIMEOUT_S="60")
    wait_until_ready(worker)
    os.kill(worker.pid, signal.SIGSTOP)
    time.sleep(STOOD_STILL_S + 1)
    os.kill(worker.pid, signal.SIGCONT)
    assert "stood still" in ready(worker)["problems"]["worker"]
    wait_until_ready(worker)


def test_one_that_stood_still_beyond_its_session_is_replaced_and_ends_or_joins_anew(own_shop: Shop) -> None:
    """It ends if it has something in hand that it may not write any more; with empty hands it joins again."""
    worker = own_shop.worker("session", "hints")
    other = own_shop.worker("session", "hints")
    wait_until_ready(worker)
    os.kill(worker.pid, signal.SIGSTOP)
    try:
        own_shop.produce(event_json(text="milk", user=own_shop.user(n), at_ms=NOON_MS) for n in range(20))
        wait_until(
            lambda: all(own_shop.newest(own_shop.user(n)) for n in range(20)), "the other to take over", 90
        )
    finally:
        os.kill(worker.pid, signal.SIGCONT)
    wait_until(lambda: not worker.is_running or is_ready(worker), "the one that woke to end or join", 120)
    later_ms = NOON_MS + 60_000
    own_shop.produce(event_json(text="wine", user=own_shop.user(n), at_ms=later_ms) for n in range(20))
    users = [own_shop.user(n) for n in range(20)]
    wait_until(
        lambda: all((one := own_shop.newest(user)) and one.trigger == "wine" for user in users), "lists", 90
    )
    wait_until_ready(other)


def is_ready(worker: WorkerProcess) -> bool:
    """False also of one that ends at this moment."""
    try:
        return bool(ready(worker)["ready"])
    except OSError:
        return False
