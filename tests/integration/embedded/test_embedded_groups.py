"""Consumer groups, with each client: who reads what, when members come, go, die and come back."""

from __future__ import annotations

import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from typing import Any

import aiokafka
import confluent_kafka
import kafka
import pytest
from kafka.errors import KafkaError

from streams.embedded.servers import EmbeddedKafka
from tests.integration.embedded.kafka_clients import (
    DEADLINE_S,
    AioKafka,
    Client,
    GroupMember,
    KafkaPython,
    Row,
)

REFUSALS = (KafkaError, aiokafka.errors.KafkaError, confluent_kafka.KafkaException)
DYING_MEMBER = """
import sys, time, kafka
consumer = kafka.KafkaConsumer(sys.argv[2], bootstrap_servers=sys.argv[1], group_id=sys.argv[3],
    session_timeout_ms=6000, heartbeat_interval_ms=300, auto_offset_reset="earliest")
while True:
    consumer.poll(timeout_ms=100)
    if consumer.assignment():
        sys.stdout.write("joined\\n"); sys.stdout.flush()
"""


def group_name() -> str:
    return f"group-{uuid.uuid4().hex[:8]}"


def poll_until(members: list[GroupMember], is_done: Callable[[], bool]) -> None:
    """Poll the members in turn until it is done."""
    deadline_s = time.monotonic() + DEADLINE_S
    while not is_done():
        assert time.monotonic() < deadline_s, "it never came to that"
        for member in members:
            member.poll()


def read_until(member: GroupMember, rows: list[Row], count: int) -> None:
    """Read on until `rows` are so many."""
    deadline_s = time.monotonic() + DEADLINE_S
    while len(rows) < count:
        assert time.monotonic() < deadline_s, f"only {len(rows)} of {count} records were read"
        rows += member.poll()


def test_two_members_share_the_partitions_and_one_takes_over(
    client: Client, new_topic: Callable[..., str]
) -> None:
    topic, group = new_topic(4), group_name()
    client.send(topic, [Row(b"k", b"%d" % i, partition=i % 4) for i in range(40)])
    first, second = client.join(topic, group), client.join(topic, group)
    poll_until(
        [first, second],
        lambda: len(first.assigned()) == 2 and len(second.assigned()) == 2,
    )
    assert first.assigned() | second.assigned() == {0, 1, 2, 3}
    second.close()
    poll_until([first], lambda: first.assigned() == {0, 1, 2, 3})
    first.close()


def test_a_member_goes_on_where_the_group_had_committed(
    client: Client, new_topic: Callable[..., str]
) -> None:
    topic, group = new_topic(), group_name()
    client.send(topic, [Row(b"k", b"%d" % i) for i in range(10)])
    member, rows = client.join(topic, group), []
    read_until(member, rows, 10)
    member.commit()
    member.close()
    client.send(topic, [Row(b"k", b"new")])
    member, rows = client.join(topic, group), []
    read_until(member, rows, 1)
    member.close()
    assert [row.value for row in rows] == [b"new"]


def test_a_static_member_comes_back_without_a_rebalance(
    client: Client, new_topic: Callable[..., str], admin: Any
) -> None:
    topic, group = new_topic(2), group_name()
    stays, leaves = client.join(topic, group, instance="a"), client.join(topic, group, instance="b")
    poll_until([stays, leaves], lambda: len(stays.assigned()) == 1 and len(leaves.assigned()) == 1)
    had = leaves.assigned()
    ids = member_ids(admin, group)
    leaves.close()
    back = client.join(topic, group, instance="b")
    poll_until([stays, back], lambda: bool(back.assigned()))
    assert back.assigned() == had
    assert stays.assigned() == {0, 1} - had
    now = member_ids(admin, group)
    assert now["a"] == ids["a"]
    assert now["b"] != ids["b"]
    stays.close()
    back.close()


def member_ids(admin: Any, group: str) -> dict[str, str]:
    described = admin.describe_groups([group])[group]
    return {member["group_instance_id"]: member["member_id"] for member in described["members"]}


def test_the_former_self_of_a_static_member_is_fenced(
    client: Client, new_topic: Callable[..., str], bootstrap: str
) -> None:
    if isinstance(client, AioKafka):
        pytest.skip("aiokafka 0.14 sends heartbeats without its instance id: it just joins again")
    topic, group = new_topic(), group_name()
    former = client.join(topic, group, instance="same")
    poll_until([former], lambda: bool(former.assigned()))
    newcomer = KafkaPython(bootstrap).join(topic, group, instance="same")
    poll_until([newcomer], lambda: bool(newcomer.assigned()))
    with pytest.raises(REFUSALS):
        for _ in range(100):
            former.poll()
            former.commit()
    newcomer.close()
    former.close()


def test_a_killed_member_loses_its_partitions_when_its_session_ends(
    new_topic: Callable[..., str], bootstrap: str
) -> None:
    topic, group = new_topic(2), group_name()
    dying = subprocess.Popen(
        [sys.executable, "-c", DYING_MEMBER, bootstrap, topic, group], stdout=subprocess.PIPE
    )
    try:
        assert dying.stdout is not None
        assert dying.stdout.readline() == b"joined\n"
        survivor = KafkaPython(bootstrap).join(topic, group)
        poll_until([survivor], lambda: len(survivor.assigned()) == 1)
    finally:
        dying.kill()
        dying.wait()
        dying.stdout.close()
    poll_until([survivor], lambda: survivor.assigned() == {0, 1})
    survivor.close()


def test_a_member_of_an_old_generation_cannot_commit(new_topic: Callable[..., str], bootstrap: str) -> None:
    topic, group = new_topic(2), group_name()
    client = KafkaPython(bootstrap)
    member = client.join(topic, group)
    poll_until([member], lambda: bool(member.assigned()))
    outsider = kafka.KafkaConsumer(bootstrap_servers=bootstrap, group_id=group, enable_auto_commit=False)
    place = kafka.TopicPartition(topic, 0)
    outsider.assign([place])
    with pytest.raises(KafkaError):
        outsider.commit({place: kafka.OffsetAndMetadata(1, "", -1)})
    assert outsider.committed(place) is None
    outsider.close()
    member.close()


@pytest.mark.embedded_only
def test_members_work_on_after_the_broker_was_killed(client: Client, own_kafka: EmbeddedKafka) -> None:
    own = type(client)(own_kafka.bootstrap)
    try:
        own.send("topic", [Row(b"k", b"before")])
        member, rows = own.join("topic", "group"), []
        read_until(member, rows, 1)
        own_kafka.kill()
        own_kafka.restart()
        member.commit()
        KafkaPython(own_kafka.bootstrap).send("topic", [Row(b"k", b"after")])
        read_until(member, rows, 2)
        assert [row.value for row in rows] == [b"before", b"after"]
        member.close()
    finally:
        getattr(own, "close", lambda: None)()
