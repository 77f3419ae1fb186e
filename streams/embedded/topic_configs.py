"""Topic configs: Kafka's names and defaults, and which values are valid.

Every name of Kafka's topic configs is accepted, kept and described. The broker acts on `ACTED_ON`; the others
have no meaning on a single node without an fsync policy.
"""

from __future__ import annotations

from collections.abc import Mapping

from streams.embedded.codes import Code
from streams.embedded.log import LogRules
from streams.embedded.refusals import RefusedError

ACTED_ON = frozenset(
    {
        "cleanup.policy",
        "delete.retention.ms",
        "max.message.bytes",
        "message.timestamp.type",
        "min.cleanable.dirty.ratio",
        "retention.bytes",
        "retention.ms",
        "segment.bytes",
    }
)

DEFAULTS: Mapping[str, str] = {
    "cleanup.policy": "delete",
    "compression.type": "producer",
    "delete.retention.ms": "86400000",
    "file.delete.delay.ms": "60000",
    "flush.messages": "9223372036854775807",
    "flush.ms": "9223372036854775807",
    "follower.replication.throttled.replicas": "",
    "index.interval.bytes": "4096",
    "leader.replication.throttled.replicas": "",
    "max.compaction.lag.ms": "9223372036854775807",
    "max.message.bytes": "1048588",
    "message.downconversion.enable": "true",
    "message.format.version": "2.4-IV1",
    "message.timestamp.difference.max.ms": "9223372036854775807",
    "message.timestamp.type": "CreateTime",
    "min.cleanable.dirty.ratio": "0.5",
    "min.compaction.lag.ms": "0",
    "min.insync.replicas": "1",
    "preallocate": "false",
    "retention.bytes": "-1",
    "retention.ms": "604800000",
    # Kafka's default is 1 GiB. Retention removes whole segments, so a small disk wants small ones.
    "segment.bytes": "16777216",
    "segment.index.bytes": "10485760",
    "segment.jitter.ms": "0",
    "segment.ms": "604800000",
    "unclean.leader.election.enable": "false",
}

_CHOICES: Mapping[str, frozenset[str]] = {
    "cleanup.policy": frozenset({"delete", "compact"}),
    "message.timestamp.type": frozenset({"CreateTime", "LogAppendTime"}),
    "compression.type": frozenset({"producer", "uncompressed", "gzip", "snappy", "lz4", "zstd"}),
}
_LISTS = frozenset(
    {
        "cleanup.policy",
        "follower.replication.throttled.replicas",
        "leader.replication.throttled.replicas",
    }
)
_LEAST = {"retention.ms": -1, "retention.bytes": -1, "segment.bytes": 14}
_SET, _DELETE, _APPEND, _SUBTRACT = range(4)  # operations of IncrementalAlterConfigs


def check(name: str, value: str | None) -> None:
    """Raise `RefusedError` (INVALID_CONFIG) unless it is a config of Kafka's with a valid value."""
    if name not in DEFAULTS:
        raise RefusedError(Code.INVALID_CONFIG, f"Unknown topic config name: {name}")
    if value is None or not _is_valid(name, value):
        raise RefusedError(Code.INVALID_CONFIG, f"Invalid value {value} for configuration {name}")


def _is_valid(name: str, value: str) -> bool:
    choices = _CHOICES.get(name)
    if choices is not None:
        parts = value.split(",") if name in _LISTS else [value]
        return all(part.strip() in choices for part in parts)
    if DEFAULTS[name] in ("true", "false"):
        return value.lower() in ("true", "false")
    if name == "min.cleanable.dirty.ratio":
        return _is_ratio(value)
    return not _is_number(DEFAULTS[name]) or (_is_number(value) and int(value) >= _LEAST.get(name, 0))


def _is_ratio(value: str) -> bool:
    try:
        return 0.0 <= float(value) <= 1.0
    except ValueError:
        return False


def _is_number(value: str) -> bool:
    try:
        int(value)
    except ValueError:
        return False
    return True


def altered(configs: Mapping[str, str], name: str, operation: int, value: str | None) -> dict[str, str]:
    """The overrides after one operation of IncrementalAlterConfigs; raises `RefusedError`."""
    result = dict(configs)
    if operation == _DELETE:
        check(name, DEFAULTS.get(name))
        result.pop(name, None)
        return result
    if operation in (_APPEND, _SUBTRACT):
        if name not in _LISTS:
            raise RefusedError(Code.INVALID_CONFIG, f"{name} is no list")
        value = _edited_list(result.get(name, DEFAULTS[name]), operation, value or "")
    elif operation != _SET:
        raise RefusedError(Code.INVALID_REQUEST, f"unknown operation {operation}")
    check(name, value)
    result[name] = value or ""
    return result


def _edited_list(present: str, operation: int, change: str) -> str:
    items = [item.strip() for item in present.split(",") if item.strip()]
    changed = [item.strip() for item in change.split(",") if item.strip()]
    if operation == _APPEND:
        return ",".join([*items, *(item for item in changed if item not in items)])
    return ",".join(item for item in items if item not in changed)


def rules_of(configs: Mapping[str, str]) -> LogRules:
    """What the overrides mean for an append."""
    return LogRules(
        max_message_bytes=int(value_of(configs, "max.message.bytes")),
        segment_bytes=int(value_of(configs, "segment.bytes")),
        needs_keys="compact" in value_of(configs, "cleanup.policy"),
        stamps_append_time=value_of(configs, "message.timestamp.type") == "LogAppendTime",
    )


def value_of(configs: Mapping[str, str], name: str) -> str:
    """The override, or Kafka's default."""
    return configs.get(name, DEFAULTS[name])
