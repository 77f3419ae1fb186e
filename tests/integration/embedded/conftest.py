"""Each Kafka client in turn, and topics of a test's own."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import kafka
import pytest
from kafka.admin import NewTopic

from streams.embedded.servers import EmbeddedKafka
from tests.integration.embedded.kafka_clients import AioKafka, Client, Confluent, KafkaPython

# kafka-python 3.0 leaves the sockets of failed connection attempts to the garbage collector.
LEFT_SOCKETS = "ignore:unclosed <socket:ResourceWarning"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.parent == Path(__file__).parent:
            item.add_marker(pytest.mark.filterwarnings(LEFT_SOCKETS))


@pytest.fixture(scope="session")
def bootstrap(kafka_url: str) -> str:
    return kafka_url.removeprefix("kafka://")


@pytest.fixture(params=[KafkaPython, AioKafka, Confluent], ids=["kafka-python", "aiokafka", "confluent"])
def client(request: pytest.FixtureRequest, bootstrap: str) -> Iterator[Client]:
    made = request.param(bootstrap)
    yield made
    if isinstance(made, AioKafka):
        made.close()


@pytest.fixture(scope="session")
def admin(bootstrap: str) -> Iterator[Any]:
    made = kafka.KafkaAdminClient(bootstrap_servers=bootstrap)
    yield made
    made.close()


@pytest.fixture
def new_topic(admin: Any) -> Callable[..., str]:
    """Create a topic with a name of its own; `configs` are given with `_` for `.`."""

    def create(partitions: int = 1, **configs: str) -> str:
        name = f"topic-{uuid.uuid4().hex[:8]}"
        named = {key.replace("_", "."): value for key, value in configs.items()}
        admin.create_topics([NewTopic(name, partitions, 1, topic_configs=named)])
        return name

    return create


@pytest.fixture
def own_kafka(tmp_path: Path) -> Iterator[EmbeddedKafka]:
    """A broker that the test may kill; one partition a topic, no wait before the first rebalance."""
    options = ("--rebalance-delay-ms", "0")
    with EmbeddedKafka(tmp_path / "kafka", partitions=1, options=options) as made:
        yield made
