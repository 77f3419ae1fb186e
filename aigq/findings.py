"""What `aigq doctor` looks at. Each look gives findings; none raises, none changes anything that stays."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Literal, NamedTuple

import redis
from kafka import KafkaAdminClient, KafkaConsumer
from kafka.admin import ConfigResource, ConfigResourceType
from kafka.errors import KafkaError

from agents.serving import open_bundle
from streams.errors import AigqError
from streams.kafka_auth import client_options
from streams.redis_client import connect_redis_sync
from streams.redis_errors import store_errors
from streams.redis_keys import PREFIX as KEY_PREFIX
from streams.settings import Settings
from streams.topics import Topics, broker_away, partition_counts, topic_configs

CLOCK_TOLERANCE_S = 2.0
SLOW_REDIS_S = 0.05
OLDEST_REDIS = (6, 0)


class Finding(NamedTuple):
    """One finding: `level` ok, warning or problem; `action` is empty when all is well."""

    part: str
    level: Literal["ok", "warning", "problem"]
    found: str
    action: str = ""


def examine(settings: Settings) -> list[Finding]:
    """All findings, in the order in which a worker needs the parts."""
    looks: tuple[tuple[str, Callable[[Settings], list[Finding]]], ...] = (
        ("kafka", _kafka),
        ("redis", _redis),
        ("bundle", _bundle),
    )
    findings: list[Finding] = []
    for part, look in looks:
        try:
            findings += look(settings)
        except AigqError as error:
            findings.append(Finding(part, "problem", error.message, error.action))
    return findings


def _kafka(settings: Settings) -> list[Finding]:
    options = client_options(settings)
    try:
        admin = KafkaAdminClient(**options, client_id=f"{settings.worker_name}-doctor")
    except KafkaError as error:
        raise broker_away(settings, error) from error
    try:
        looks = (_cluster(admin, settings), *_topics(admin, settings), *_append_time(admin, settings))
        return [*looks, *_reading(settings)]
    except KafkaError as error:
        action = "Give the user DESCRIBE and READ on the topics and on the groups aigq-*."
        return [Finding("kafka", "problem", f"Kafka refused: {error!r}", action)]
    finally:
        admin.close()


def _cluster(admin: KafkaAdminClient, settings: Settings) -> Finding:
    ids = [int(broker["broker_id"]) for broker in admin.describe_cluster()["brokers"]]
    brokers = len(ids)
    if brokers < settings.replication:
        action = "Lower AIGQ_REPLICATION, or add brokers."
        found = f"{brokers} brokers, but AIGQ_REPLICATION is {settings.replication}"
        return Finding("kafka", "problem", found, action)
    version = str(admin.get_broker_version_data(ids[0])).strip("<>").removeprefix("BrokerVersionData ")
    return Finding(
        "kafka", "ok", f"{settings.kafka_url} answers, {brokers} broker(s), speaks Kafka {version}"
    )


def _topics(admin: KafkaAdminClient, settings: Settings) -> list[Finding]:
    counts = partition_counts(admin, list(topic_configs(settings)))
    findings = []
    for name in topic_configs(settings):
        count = counts.get(name)
        if count is not None and name == Topics.of(settings).outcomes:
            findings.append(Finding("topic", "ok", f"{name}, {count} partitions"))
        elif count is None:
            action = "A worker makes it when it starts, if it may; or create it as docs/operations.md says."
            findings.append(Finding("topic", "warning", f"{name} is missing", action))
        elif count != settings.partitions:
            action = "Set AIGQ_PARTITIONS to the count that all topics have."
            found = f"{name} has {count} partitions, AIGQ_PARTITIONS is {settings.partitions}"
            findings.append(Finding("topic", "problem", found, action))
        else:
            findings.append(Finding("topic", "ok", f"{name}, {count} partitions"))
    return findings


def _append_time(admin: KafkaAdminClient, settings: Settings) -> list[Finding]:
    name = Topics.of(settings).events
    if name not in partition_counts(admin, [name]):
        return []
    resource = ConfigResource(ConfigResourceType.TOPIC, name)
    configs = admin.describe_configs([resource])["topic"][name]
    if configs.get("message.timestamp.type", {}).get("value") == "LogAppendTime":
        return [Finding("topic", "ok", f"{name} carries the broker's append time")]
    action = f"Set message.timestamp.type=LogAppendTime on {name}: freshness is measured from it."
    return [Finding("topic", "warning", f"{name} carries its producers' times", action)]


def _reading(settings: Settings) -> list[Finding]:
    consumer = KafkaConsumer(**client_options(settings), group_id=None)
    try:
        topics = consumer.topics()
    finally:
        consumer.close()
    return [Finding("rights", "ok", f"{len(topics)} topics can be seen by this user")]


def _redis(settings: Settings) -> list[Finding]:
    client = connect_redis_sync(settings)
    try:
        with store_errors("Redis was looked at"):
            return [_answer_time(client), _version(client), _clock(client), _may_write(client)]
    finally:
        client.close()


def _answer_time(client: redis.Redis) -> Finding:
    started = time.perf_counter()
    client.ping()
    client.ping()
    seconds = (time.perf_counter() - started) / 2
    level: Literal["ok", "warning"] = "ok" if seconds < SLOW_REDIS_S else "warning"
    action = "" if level == "ok" else "Put Redis nearer to the workers."
    return Finding("redis", level, f"answers in {seconds * 1000:.1f} ms", action)


def _version(client: redis.Redis) -> Finding:
    text = str(client.info("server").get("redis_version", "0"))
    version = tuple(int(part) for part in text.split(".")[:2])
    if version < OLDEST_REDIS:
        return Finding("redis", "problem", f"version {text}", "Upgrade to 6.0 or newer.")
    return Finding("redis", "ok", f"version {text}")


def _clock(client: redis.Redis) -> Finding:
    seconds, micros = client.time()
    apart = abs(time.time() - (seconds + micros / 1e6))
    if apart > CLOCK_TOLERANCE_S:
        action = "Let NTP set both clocks: freshness and expiry are measured by them."
        return Finding("clock", "warning", f"{apart:.1f} s apart from Redis", action)
    return Finding("clock", "ok", f"{apart * 1000:.0f} ms apart from Redis")


def _may_write(client: redis.Redis) -> Finding:
    key = f"{KEY_PREFIX}doctor"
    client.eval("redis.call('SET', KEYS[1], '1', 'PX', 1000) redis.call('DEL', KEYS[1])", 1, key)
    return Finding("redis", "ok", "may write keys and run scripts")


def _bundle(settings: Settings) -> list[Finding]:
    bundle = open_bundle(settings)
    return [Finding("bundle", "ok", f"{bundle.name} in {settings.bundle_dir}")]
