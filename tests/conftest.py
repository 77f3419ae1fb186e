"""Servers for every test that needs one: embedded by default, any Kafka and Redis by URL.

    AIGQ_TEST_KAFKA_URL=kafka://host:port[,host:port] AIGQ_TEST_REDIS_URL=redis://host:port/0 make test

Tests marked `embedded_only` stop or kill a server; they are skipped when servers of others are used.
"""

from __future__ import annotations

import gc
import os
import signal
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

with warnings.catch_warnings():
    # kafka-python 3.0 reads its schema files with importlib.resources.read_text, deprecated in Python 3.11.
    warnings.filterwarnings("ignore", "(read|open)_text is deprecated", DeprecationWarning)
    import kafka.protocol.api_message  # noqa: F401  # imported for its side effect

from streams.embedded.servers import EmbeddedKafka, EmbeddedRedis
from tests.shop import Shop

KAFKA_URL_NAME = "AIGQ_TEST_KAFKA_URL"
REDIS_URL_NAME = "AIGQ_TEST_REDIS_URL"


def pytest_configure(config: pytest.Config) -> None:
    # A shell that runs us in the background lets us ignore Ctrl-C, and so would all that we start.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    config.addinivalue_line(
        "markers", "embedded_only: stops or kills a server; skipped when the servers are given by URL"
    )
    config.addinivalue_line("markers", "faults: a long case of tests/faults; runs with `make faults` only")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    given = [name for name in (KAFKA_URL_NAME, REDIS_URL_NAME) if os.environ.get(name)]
    if given:
        skip = pytest.mark.skip(reason=f"kills a server, and {' and '.join(given)} names one of others")
        for item in items:
            if item.get_closest_marker("embedded_only"):
                item.add_marker(skip)


@pytest.fixture(scope="session")
def kafka_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Kafka for the whole session, as `kafka://host:port[,host:port]`; tests use topics of their own."""
    given = os.environ.get(KAFKA_URL_NAME)
    if given:
        yield given
        return
    with EmbeddedKafka(tmp_path_factory.mktemp("kafka")) as kafka:
        yield kafka.url


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Redis for the whole session, as `redis://host:port/0`; tests use key prefixes of their own."""
    given = os.environ.get(REDIS_URL_NAME)
    if given:
        yield given
        return
    with EmbeddedRedis(tmp_path_factory.mktemp("redis")) as redis:
        yield redis.url


@pytest.fixture(name="kafka")
def breakable_kafka(tmp_path: Path) -> Iterator[EmbeddedKafka]:
    """A Kafka of one test's own, which it may break."""
    with EmbeddedKafka(tmp_path / "kafka") as server:
        yield server


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[EmbeddedRedis]:
    """A Redis of one test's own, which it may break."""
    with EmbeddedRedis(tmp_path / "redis") as server:
        yield server


@pytest.fixture(scope="module", autouse=True)
def collected_sockets() -> Iterator[None]:
    """kafka-python leaves the sockets of failed connects to the garbage collector: not in another module."""
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


@pytest.fixture(autouse=True)
def secrets_of_one_test(monkeypatch: pytest.MonkeyPatch) -> None:
    """What one test hides as a secret may be a plain word to the next."""
    monkeypatch.setattr("streams.redaction._known", set())


@pytest.fixture
def shop(kafka_url: str, redis_url: str, tmp_path: Path) -> Iterator[Shop]:
    """A shop with topics of its own; its workers are stopped at the end."""
    opened = Shop(kafka_url, redis_url, tmp_path)
    try:
        yield opened
    finally:
        opened.close()
