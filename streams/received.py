"""A record as it came from Kafka, whichever way it was delivered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from faust.types import EventT

from streams.records import Source

NO_HEADERS: Final[Mapping[str, bytes]] = {}


@dataclass(slots=True)
class Received:
    """Place, bytes and headers; of a repeated header the last counts."""

    source: Source
    key: bytes | None
    value: bytes | None
    headers: Mapping[str, bytes]

    @classmethod
    def of_event(cls, event: EventT[Any]) -> Received:
        """A record that Faust delivered alone."""
        message = event.message
        appended_ms = round(message.timestamp * 1000)
        source = Source(message.topic, message.partition, message.offset, appended_ms)
        return cls(source, event.key, event.value, _mapping(message.headers))

    @classmethod
    def of_record(cls, record: Any) -> Received:
        """One of a `RecordBatch`."""
        source = Source(record.topic, record.partition, record.offset, record.timestamp)
        return cls(source, record.key, record.value, _mapping(record.headers))


def _mapping(headers: Any) -> Mapping[str, bytes]:
    return dict(headers) if headers else NO_HEADERS
