"""Records that could not be used: kept with their bytes and the reason, never dropped.

Header names are Kafka Streams' own (``__streams.errors.*``, Kafka 4.2), so its tools can read them; ours
adds ``aigq.reason``, the short name that the metric counts, and ``aigq.key``, the record's key. The dead
letter's own key is where the record stood: one a record, so that a single one can be erased, and one that a
crash made us send twice is kept once.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import structlog

from streams.errors import AigqError, CodecError, EventError
from streams.metrics import Metrics
from streams.received import Received
from streams.records import Source
from streams.unexpected import without_values

log = structlog.get_logger("dead_letters")
CUT_BYTES: Final = 64 * 1024
KEY_HEADER: Final = "aigq.key"

INTERNAL_ERROR = "internal_error"
UNREADABLE = "unreadable"  # bytes of another version on a topic of ours


async def set_aside(topic: Any, record: Received, error: Exception, metrics: Metrics) -> None:
    """Send a record that could not be used to the dead letters, count it, and log what is our fault."""
    source = record.source
    if not isinstance(error, AigqError):
        log.error("record_failed", error=without_values(error), topic=source.topic, offset=source.offset)
    kept = [] if record.key is None else [(KEY_HEADER, record.key)]
    headers = [*dead_letter_headers(record.headers, source, error), *kept]
    key, value = source.name.encode(), record.value or b""
    try:
        await topic.send(key=key, value=value, headers=headers, partition=source.partition)
    except Exception as refused:  # too large for the topic, say; the reason and the beginning are kept
        log.error(
            "dead_letter_refused", error=without_values(refused), topic=source.topic, offset=source.offset
        )
        cut = [
            ("aigq.cut_from_bytes", str(len(value)).encode()),
            (KEY_HEADER, (record.key or b"")[:CUT_BYTES]),
        ]
        headers = [*dead_letter_headers({}, source, error), *cut]
        await topic.send(key=key, value=value[:CUT_BYTES], headers=headers, partition=source.partition)
    metrics.dead_letters.labels(reason_of(error)).inc()


def reason_of(error: Exception) -> str:
    """The short name an error is counted by."""
    if isinstance(error, EventError):
        return error.reason
    return UNREADABLE if isinstance(error, CodecError) else INTERNAL_ERROR


def dead_letter_headers(
    headers: Mapping[str, bytes], source: Source, error: Exception
) -> list[tuple[str, bytes]]:
    """The record's own headers and, after them, what happened to it."""
    message = error.message if isinstance(error, AigqError) else str(error)
    added = {
        "__streams.errors.exception": f"{type(error).__module__}.{type(error).__qualname__}",
        "__streams.errors.message": message[:1000],
        "__streams.errors.topic": source.topic,
        "__streams.errors.partition": str(source.partition),
        "__streams.errors.offset": str(source.offset),
        "aigq.reason": reason_of(error),
    }
    return [*headers.items(), *((name, text.encode("utf-8", "replace")) for name, text in added.items())]
