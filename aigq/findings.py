"""What `aigq doctor` looks at. Each look gives findings; none raises, none changes anything that stays."""

from __future__ import annotations

from collections.abc import Callable

from kafka import KafkaAdminClient, KafkaConsumer
from kafka.admin import ConfigResource, ConfigResourceType
from kafka.errors import KafkaError

from agents.health import is_loopback
from agents.serving import open_bundle
from aigq.finding import Finding
from aigq.redis_findings import look_at_redis
from streams.errors import AigqError
from streams.kafka_auth import client_options
from streams.settings import Settings
from streams.topics import Topics, broker_away, partition_counts, topic_configs

ERASES_BY = ("cleanup.policy", "max.compaction.lag.ms")


def examine(settings: Settings) -> list[Finding]:
    """All findings, in the order in which a worker needs the parts."""
    looks: tuple[tuple[str, Callable[[Settings], list[Finding]]], ...] = (
        ("kafka", _kafka),
        ("redis", look_at_redis),
        ("doors", _doors),
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
        looks = (_cluster(admin, settings), *_topics(admin, settings), *_configs(admin, settings))
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
        "kafka",
        "ok",
        f"{settings.kafka_url} answers, {brokers} broker(s), speaks Kafka {version}, {_way_in(settings)}",
    )


def _way_in(settings: Settings) -> str:
    login = settings.kafka_sasl_mechanism if settings.kafka_security.startswith("SASL") else "no login"
    tls = "TLS" if settings.kafka_security.endswith("SSL") else "no TLS"
    return f"{tls}, with a client certificate, {login}" if settings.kafka_cert_file else f"{tls}, {login}"


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


def _configs(admin: KafkaAdminClient, settings: Settings) -> list[Finding]:
    """Of the topics that are there: append times, and whether a person can be erased."""
    there = partition_counts(admin, list(topic_configs(settings)))
    if not there:
        return []
    resources = [ConfigResource(ConfigResourceType.TOPIC, name) for name in there]
    described = admin.describe_configs(resources)["topic"]
    found = {n: {k: str(v.get("value")) for k, v in one.items()} for n, one in described.items()}
    events = Topics.of(settings).events
    times = [_append_time(events, found[events])] if events in found else []
    return [*times, *_erasable(settings, found)]


def _append_time(name: str, config: dict[str, str]) -> Finding:
    if config.get("message.timestamp.type") == "LogAppendTime":
        return Finding("topic", "ok", f"{name} carries the broker's append time")
    action = f"Set message.timestamp.type=LogAppendTime on {name}: freshness is measured from it."
    return Finding("topic", "warning", f"{name} carries its producers' times", action)


def _erasable(settings: Settings, found: dict[str, dict[str, str]]) -> list[Finding]:
    """Topics of an earlier release keep what was erased for longer, or for good."""
    findings = []
    for name, wanted in topic_configs(settings).items():
        names = [one for one in ERASES_BY if one in wanted and "compact" in wanted["cleanup.policy"]]
        other = [one for one in names if found.get(name, wanted).get(one) != wanted[one]]
        if other:
            action = "Set " + " ".join(f"{one}={wanted[one]}" for one in other) + f" on {name}."
            said = f"{name} keeps what was erased of a person longer than it should"
            findings.append(Finding("topic", "warning", said, action))
    return findings


def _reading(settings: Settings) -> list[Finding]:
    consumer = KafkaConsumer(**client_options(settings), group_id=None)
    try:
        topics = consumer.topics()
    finally:
        consumer.close()
    return [Finding("rights", "ok", f"{len(topics)} topics can be seen by this user")]


def _doors(settings: Settings) -> list[Finding]:
    """What others on the network could read or ask; nothing where all is closed."""
    findings = []
    if settings.kafka_security == "SASL_PLAINTEXT":
        found = "the login to Kafka goes over a connection without TLS"
        if settings.kafka_sasl_mechanism == "PLAIN":
            found = "the password for Kafka goes over the network in the clear"
        findings.append(Finding("kafka", "warning", found, "Set AIGQ_KAFKA_SECURITY=SASL_SSL."))
    if not is_loopback(settings.web_host) and not settings.web_token.get_secret_value():
        action = "Let a firewall or network policy keep strangers out, or set AIGQ_WEB_TOKEN."
        found = f"/ready and /metrics can be read by whoever reaches {settings.web_host}"
        findings.append(Finding("web", "warning", found, action))
    return findings


def _bundle(settings: Settings) -> list[Finding]:
    bundle = open_bundle(settings)
    return [Finding("bundle", "ok", f"{bundle.name} in {settings.bundle_dir}")]
