"""SIGTERM to a real worker: it finishes or hands back, leaves at once, and never outstays its time."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest

from streams.embedded.servers import EmbeddedKafka, EmbeddedRedis
from tests.shop import Shop, wait_until
from tests.support import NOON_MS, event_json

pytestmark = [
    pytest.mark.embedded_only,
    pytest.mark.timeout(240),
    # kafka-python leaves the sockets of failed connects to the garbage collector.
    pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning"),
]
ENDS_WITHIN_S = 60.0  # of a deadline of five: a stop that hangs would take for ever


@pytest.fixture
def own_shop(kafka: EmbeddedKafka, redis_server: EmbeddedRedis, tmp_path: Path) -> Iterator[Shop]:
    """A shop whose servers may be killed; a worker has five seconds to stop."""
    opened = Shop(kafka.url, redis_server.url, tmp_path, options={"AIGQ_STOP_WITHIN_S": "5"})
    try:
        yield opened
    finally:
        opened.close()


class Process:
    """A worker that is ours alone to signal: no guard between."""

    def __init__(self, shop: Shop, *roles: str, **settings: str) -> None:
        self.log = shop.folder / f"own-{len(roles)}.log"
        environ = {name: value for name, value in os.environ.items() if not name.startswith("AIGQ_")}
        environ |= shop.environ | {"AIGQ_WEB_PORT": "0", "AIGQ_DATA_DIR": str(shop.folder / "own")} | settings
        only = [part for role in roles for part in ("--only", role)]
        with self.log.open("wb") as log:
            self.child = subprocess.Popen(
                [sys.executable, "-m", "aigq.main", "worker", "--json", *only],
                env=environ,
                stdout=subprocess.PIPE,
                stderr=log,
            )
        assert self.child.stdout is not None
        self.health_url = str(orjson.loads(self.child.stdout.readline())["health"])

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Signal it and wait for its exit code."""
        self.child.send_signal(number)
        return self.child.wait(ENDS_WITHIN_S)

    def close(self) -> None:
        self.child.kill()
        self.child.communicate()


@pytest.fixture
def started() -> Iterator[list[Process]]:
    """Processes that are gone after the test."""
    processes: list[Process] = []
    yield processes
    for process in processes:
        process.close()


def buy(shop: Shop, users: range, text: str = "milk", minute: int = 0) -> None:
    at_ms = NOON_MS + minute * 60_000
    shop.produce(event_json(text=text, user=shop.user(n), at_ms=at_ms + n) for n in users)


def trigger_of(shop: Shop, number: int) -> str:
    newest = shop.newest(shop.user(number))
    return newest.trigger if newest else ""


def all_have_lists(shop: Shop, users: range) -> bool:
    return all(shop.newest(shop.user(n)) for n in users)


def test_a_worker_that_is_stopped_in_the_middle_hands_over_what_it_did_not_finish(
    own_shop: Shop, started: list[Process]
) -> None:
    own_shop.worker("session", "hints")
    started.append(first := Process(own_shop, "session", "hints", AIGQ_WORKER_NAME="first"))
    buy(own_shop, range(400))
    wait_until(lambda: own_shop.records(own_shop.topics.requests), "the work to be in full swing")
    assert first.stop() == 0
    wait_until(lambda: all_have_lists(own_shop, range(400)), "everybody's list")
    own_shop.wait_until_quiet()
    assert own_shop.count("aigq_dead_letters_total") == 0
    assert "handed_back" in first.log.read_text()


def test_others_take_over_at_once_not_after_the_session_timeout(
    own_shop: Shop, started: list[Process]
) -> None:
    """Within the session timeout only a group that was left on purpose goes on."""
    slow = {"AIGQ_SESSION_TIMEOUT_S": "80"}
    started.append(first := Process(own_shop, "session", "hints", AIGQ_WORKER_NAME="first", **slow))
    buy(own_shop, range(5))
    wait_until(lambda: all_have_lists(own_shop, range(5)), "the first lists")
    assert first.stop() == 0
    own_shop.worker("session", "hints", **slow)
    buy(own_shop, range(5, 10))
    wait_until(lambda: all_have_lists(own_shop, range(5, 10)), "the lists of the next worker", 60)


@pytest.mark.parametrize("away", ["redis", "kafka"])
def test_a_server_that_is_away_does_not_keep_a_worker(
    own_shop: Shop, kafka: EmbeddedKafka, redis_server: EmbeddedRedis, started: list[Process], away: str
) -> None:
    started.append(worker := Process(own_shop, "session", "hints", "feedback"))
    buy(own_shop, range(5))
    wait_until(lambda: all_have_lists(own_shop, range(5)), "the first lists")
    (redis_server if away == "redis" else kafka).kill()
    if away == "redis":
        buy(own_shop, range(20), "wine", 1)
        wait_until(lambda: b"publish_failed" in worker.log.read_bytes(), "the worker to notice")
    began_s = time.monotonic()
    code = worker.stop()
    assert time.monotonic() - began_s < ENDS_WITHIN_S
    log = worker.log.read_text()
    assert "handed_back" in log
    if away == "redis":
        assert code == 0, log[-2000:]
        redis_server.restart()
        own_shop.worker("session", "hints")
        wait_until(
            lambda: all(trigger_of(own_shop, n) == "wine" for n in range(20)),
            "what was handed back",
        )


def test_a_second_signal_ends_it_at_once(
    own_shop: Shop, redis_server: EmbeddedRedis, started: list[Process]
) -> None:
    started.append(worker := Process(own_shop, "session", "hints", AIGQ_STOP_WITHIN_S="600"))
    buy(own_shop, range(5))
    wait_until(lambda: all_have_lists(own_shop, range(5)), "the first lists")
    redis_server.kill()
    buy(own_shop, range(5), "wine", 1)
    wait_until(lambda: b"publish_failed" in worker.log.read_bytes(), "a list that cannot be finished")
    worker.child.send_signal(signal.SIGTERM)
    time.sleep(1.0)
    assert worker.stop() == 128 + signal.SIGTERM
    assert "ended_at_once" in worker.log.read_text()
