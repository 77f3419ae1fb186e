"""The topics, their configuration, and their creation before any worker starts.

Faust creates what it misses with races and with the broker's default partition count; agents then
crash on a mismatch. So every topic is made here first, all with the same number of partitions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from kafka import KafkaAdminClient
from kafka.admin import NewTopic
from kafka.errors import KafkaError, TopicAlreadyExistsError

from streams.errors import BrokerError
from streams.kafka_auth import client_options
from streams.kafka_door import why_shut
from streams.settings import Settings

DAY_MS: Final = 86_400_000
SESSION_APP: Final = "aigq-session"
SESSION_TABLE: Final = "sessions"


@dataclass(frozen=True, slots=True)
class Topics:
    """Topic names, with the shop's prefix."""

    events: str
    requests: str
    due: str
    handovers: str
    dead_letters: str
    outcomes: str
    erasures: str
    receipts: str
    changelog: str

    @classmethod
    def of(cls, settings: Settings) -> Topics:
        """The names for these settings."""
        prefix = settings.topic_prefix
        return cls(
            events=f"{prefix}behavior-events",
            requests=f"{prefix}hint-requests",
            due=f"{prefix}session-due",
            handovers=f"{prefix}session-handovers",
            dead_letters=f"{prefix}dead-letter-events",
            outcomes=f"{prefix}hint-outcomes",
            erasures=f"{prefix}erasures",
            receipts=f"{prefix}erasure-receipts",
            changelog=f"{prefix}{SESSION_APP}-{SESSION_TABLE}-changelog",
        )


def topic_configs(settings: Settings) -> dict[str, dict[str, str]]:
    """Topic name → Kafka configuration, for every topic AIGQ creates."""
    topics = Topics.of(settings)

    def deleted_after(days: int) -> dict[str, str]:
        # Kafka deletes whole segments: without an end of their own, records would stay a week longer.
        return {"cleanup.policy": "delete", "retention.ms": str(days * DAY_MS), "segment.ms": str(DAY_MS)}

    # What is overwritten or erased leaves the disk within a day.
    compacted = {"cleanup.policy": "compact", "max.compaction.lag.ms": str(DAY_MS)}

    return {
        # The append time is what freshness is measured from, so the broker sets it, not the producer.
        topics.events: {**deleted_after(7), "message.timestamp.type": "LogAppendTime"},
        topics.requests: deleted_after(1),
        topics.due: deleted_after(1),
        topics.handovers: deleted_after(1),
        # Each has a key of its own, so that one can be erased. Larger than the source topic allows: the
        # original record and the reasons must fit.
        topics.dead_letters: {
            **compacted,
            **deleted_after(30),
            "cleanup.policy": "compact,delete",
            "max.message.bytes": str(2 * 1024 * 1024),
        },
        topics.outcomes: compacted,
        topics.erasures: deleted_after(7),
        topics.receipts: {"cleanup.policy": "compact"},
        topics.changelog: compacted,
    }


def ensure_topics(settings: Settings) -> list[str]:
    """Create the missing topics; returns the names created.

    Raises BrokerError when Kafka is away, refuses, or has a topic with another number of partitions.
    """
    configs = topic_configs(settings)
    try:
        admin = KafkaAdminClient(**client_options(settings), client_id=f"{settings.worker_name}-admin")
    except KafkaError as error:
        raise broker_away(settings, error) from error
    try:
        existing = partition_counts(admin, list(configs))
        missing = {name: config for name, config in configs.items() if name not in existing}
        _create(admin, missing, settings)
    except KafkaError as error:
        raise BrokerError(
            f"Kafka refused to list or create topics: {error!r}.",
            action="Give the user CREATE and DESCRIBE on them, or create them as docs/operations.md says.",
        ) from error
    finally:
        admin.close()
    _same_partitions(existing, settings)
    return sorted(missing)


def broker_away(settings: Settings, error: Exception) -> BrokerError:
    """The one wording for a broker that does not answer, or does not let us in."""
    shut = why_shut(settings)
    if shut is not None:
        places = ",".join(settings.kafka_bootstrap)
        return BrokerError(f"Kafka at {places} {shut.what}. Nothing was changed.", action=shut.action)
    return BrokerError(
        f"Kafka does not answer at {settings.kafka_url}: {error!r}.",
        action="Check AIGQ_KAFKA_URL and that the broker runs; `aigq up` starts an embedded one.",
    )


def partition_counts(admin: KafkaAdminClient, names: list[str]) -> dict[str, int]:
    """Topic name → number of partitions, for those of `names` that exist."""
    described: list[dict[str, Any]] = admin.describe_topics(
        [name for name in admin.list_topics() if name in names]
    )
    return {_name(topic): len(topic["partitions"]) for topic in described}


def _name(topic: dict[str, Any]) -> str:
    return str(topic.get("name", topic.get("topic")))


def _create(admin: KafkaAdminClient, missing: dict[str, dict[str, str]], settings: Settings) -> None:
    for name, config in missing.items():
        topic = NewTopic(name, settings.partitions, settings.replication, topic_configs=config)
        try:
            admin.create_topics([topic])
        except TopicAlreadyExistsError:
            continue  # another worker was quicker


def _same_partitions(existing: dict[str, int], settings: Settings) -> None:
    outcomes = Topics.of(settings).outcomes
    other = {n: c for n, c in existing.items() if c != settings.partitions and n != outcomes}
    if other:
        found = ", ".join(f"{name} has {count}" for name, count in sorted(other.items()))
        raise BrokerError(
            f"All topics need {settings.partitions} partitions (AIGQ_PARTITIONS), but {found}.",
            action="Set AIGQ_PARTITIONS to the topics' count, or create the topics anew with equal counts.",
        )
