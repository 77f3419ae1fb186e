"""Administration by kafka-python's and confluent's admin clients, and what real Kafka refuses."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from typing import Any

import confluent_kafka.admin
import kafka
import pytest
from kafka.admin import ConfigResource, ConfigResourceType, NewTopic
from kafka.errors import (
    InvalidConfigurationError,
    InvalidPartitionsError,
    InvalidReplicationFactorError,
    InvalidTopicError,
    TopicAlreadyExistsError,
    UnknownTopicOrPartitionError,
)

from tests.integration.embedded.kafka_clients import KafkaPython, Row


@pytest.fixture
def confluent_admin(bootstrap: str) -> Iterator[Any]:
    return confluent_kafka.admin.AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})


def partitions_of(admin: Any, topic: str) -> int:
    return len(admin.describe_topics([topic])[0]["partitions"])


def configs_of(confluent_admin: Any, topic: str) -> dict[str, Any]:
    wanted = confluent_kafka.admin.ConfigResource(confluent_kafka.admin.ResourceType.TOPIC, topic)
    return next(iter(confluent_admin.describe_configs([wanted]).values())).result(10)


def test_a_topic_lives_from_creation_to_deletion(admin: Any, new_topic: Callable[..., str]) -> None:
    topic = new_topic(3)
    assert topic in admin.list_topics()
    assert partitions_of(admin, topic) == 3
    admin.create_partitions({topic: 5})
    assert partitions_of(admin, topic) == 5
    admin.delete_topics([topic])
    assert topic not in admin.list_topics()


@pytest.mark.parametrize(
    ("topic", "refusal"),
    [
        (NewTopic("replicated", 1, 3), InvalidReplicationFactorError),
        (NewTopic("empty", 0, 1), InvalidPartitionsError),
        (NewTopic("no such name!", 1, 1), InvalidTopicError),
        (NewTopic("..", 1, 1), InvalidTopicError),
        (
            NewTopic("odd", 1, 1, topic_configs={"cleanup.policy": "sometimes"}),
            InvalidConfigurationError,
        ),
        (NewTopic("odd", 1, 1, topic_configs={"no.such.config": "1"}), InvalidConfigurationError),
    ],
)
def test_impossible_topics_are_refused_as_by_apache_kafka(
    admin: Any, topic: Any, refusal: type[Exception]
) -> None:
    with pytest.raises(refusal):
        admin.create_topics([topic])
    assert topic.name not in admin.list_topics()


def test_what_exists_is_not_created_again_and_what_does_not_is_not_deleted(
    admin: Any, new_topic: Callable[..., str]
) -> None:
    topic = new_topic(2)
    with pytest.raises(TopicAlreadyExistsError):
        admin.create_topics([NewTopic(topic, 1, 1)])
    with pytest.raises(InvalidPartitionsError):
        admin.create_partitions({topic: 1})
    with pytest.raises(UnknownTopicOrPartitionError):
        admin.delete_topics([f"{topic}-not"])


def test_validation_alone_creates_nothing(admin: Any) -> None:
    name = f"topic-{uuid.uuid4().hex[:8]}"
    admin.create_topics([NewTopic(name, 1, 1)], validate_only=True)
    assert name not in admin.list_topics()


def test_configs_are_described_with_defaults_and_altered(
    admin: Any, confluent_admin: Any, new_topic: Callable[..., str]
) -> None:
    topic = new_topic(cleanup_policy="compact")
    described = configs_of(confluent_admin, topic)
    assert described["cleanup.policy"].value == "compact"
    assert not described["cleanup.policy"].is_default
    assert described["retention.ms"].value == "604800000"
    assert described["retention.ms"].is_default
    admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, {"retention.ms": "1000"})])
    described = configs_of(confluent_admin, topic)
    assert described["retention.ms"].value == "1000"
    assert described["cleanup.policy"].value == "compact"


def test_a_list_config_is_appended_to_and_a_config_reset(
    confluent_admin: Any, new_topic: Callable[..., str]
) -> None:
    topic = new_topic(cleanup_policy="compact", retention_ms="5")
    operation = confluent_kafka.admin.AlterConfigOpType
    entries = [
        confluent_kafka.admin.ConfigEntry("cleanup.policy", "delete", incremental_operation=operation.APPEND),
        confluent_kafka.admin.ConfigEntry("retention.ms", None, incremental_operation=operation.DELETE),
    ]
    resource = confluent_kafka.admin.ConfigResource(
        confluent_kafka.admin.ResourceType.TOPIC, topic, incremental_configs=entries
    )
    next(iter(confluent_admin.incremental_alter_configs([resource]).values())).result(10)
    described = configs_of(confluent_admin, topic)
    assert described["cleanup.policy"].value == "compact,delete"
    assert described["retention.ms"].value == "604800000"


def test_records_before_an_offset_are_deleted(
    admin: Any, new_topic: Callable[..., str], bootstrap: str
) -> None:
    topic, client = new_topic(), KafkaPython(bootstrap)
    client.send(topic, [Row(b"k", b"%d" % i) for i in range(10)])
    admin.delete_records({kafka.TopicPartition(topic, 0): 4})
    assert [row.offset for row in client.read(topic)] == list(range(4, 10))
    admin.delete_records({kafka.TopicPartition(topic, 0): -1})
    assert client.read(topic) == []
    assert client.send(topic, [Row(b"k", b"next")]) == [10]


def test_a_group_is_listed_described_reset_and_deleted(
    admin: Any, new_topic: Callable[..., str], bootstrap: str
) -> None:
    topic, group = new_topic(), f"group-{uuid.uuid4().hex[:8]}"
    place = kafka.TopicPartition(topic, 0)
    KafkaPython(bootstrap).send(topic, [Row(b"k", b"%d" % i) for i in range(10)])
    admin.alter_group_offsets(group, {place: kafka.OffsetAndMetadata(7, "why", -1)})
    committed = admin.list_group_offsets(group)[group][place]
    assert (committed.offset, committed.metadata) == (7, "why")
    assert group in {listed["group_id"] for listed in admin.list_groups()}
    assert admin.describe_groups([group])[group]["group_state"] == "Empty"
    admin.delete_group_offsets(group, [place])
    assert admin.list_group_offsets(group)[group].get(place) is None
    admin.alter_group_offsets(group, {place: kafka.OffsetAndMetadata(7, "", -1)})
    admin.delete_groups([group])
    assert group not in {listed["group_id"] for listed in admin.list_groups()}


def test_a_group_with_members_is_not_deleted_until_they_are_removed(
    admin: Any, new_topic: Callable[..., str], bootstrap: str
) -> None:
    topic, group = new_topic(), f"group-{uuid.uuid4().hex[:8]}"
    member = KafkaPython(bootstrap).join(topic, group, instance="one")
    while not member.assigned():
        member.poll()
    described = admin.describe_groups([group])[group]
    assert described["group_state"] == "Stable"
    assert [each["group_instance_id"] for each in described["members"]] == ["one"]
    assert "NonEmptyGroup" in str(admin.delete_groups([group]))
    admin.remove_group_members(group, [kafka.admin.MemberToRemove(group_instance_id="one")])
    assert admin.describe_groups([group])[group]["group_state"] == "Empty"
    member.close()
