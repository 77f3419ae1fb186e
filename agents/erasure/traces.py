"""Where a person can be found in Kafka, apart from the shop's own events: records by store, for inspection,
export and erasure alike.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Final

import orjson

from streams.dead_letters import KEY_HEADER
from streams.errors import CodecError
from streams.handover import decode_handover
from streams.replay_order import partition_of
from streams.settings import Settings
from streams.topic_scan import TopicRecord, scan_topic
from streams.topics import Topics

People = Callable[[TopicRecord], set[str]]


@dataclass(frozen=True, slots=True)
class Store:
    """A topic that can hold something of a person. people: whom a record is about.

    by_person: the record's key is the person, so one partition is enough. compacted: a record can be
    overwritten, or erased by a tombstone; elsewhere it stays until its time has come.
    """

    name: str
    topic: str
    people: People
    by_person: bool = True
    compacted: bool = False


@dataclass(slots=True)
class Found:
    """A person's records, by the name of the store, oldest first; of compacted stores the living ones."""

    records: dict[str, list[TopicRecord]] = field(default_factory=dict)

    def of(self, store: str) -> list[TopicRecord]:
        """The records of one store."""
        return self.records.get(store, [])


EVENTS: Final = "behaviour events"
STATE: Final = "session state"
REQUESTS: Final = "hint requests"
DUE: Final = "due times"
HANDOVERS: Final = "hand-overs"
DEAD_LETTERS: Final = "dead letters"
OUTCOMES: Final = "hint outcomes"
ERASURES: Final = "erasures"


def stores_of(settings: Settings) -> tuple[Store, ...]:
    """All topics that AIGQ reads or writes, receipts excepted: these name nobody."""
    topics = Topics.of(settings)
    return (
        Store(EVENTS, topics.events, _by_key),
        Store(STATE, topics.changelog, _by_key, compacted=True),
        Store(REQUESTS, topics.requests, _by_key),
        Store(DUE, topics.due, _by_key),
        Store(HANDOVERS, topics.handovers, _by_handover, by_person=False),
        Store(DEAD_LETTERS, topics.dead_letters, _by_dead_letter, by_person=False, compacted=True),
        Store(OUTCOMES, topics.outcomes, _by_outcome, by_person=False, compacted=True),
        Store(ERASURES, topics.erasures, _by_key),
    )


def find_people(settings: Settings, people: Collection[str], stores: Collection[Store]) -> dict[str, Found]:
    """Person → what the stores hold of them; one pass over each topic for all. Raises BrokerError."""
    found = {person: Found() for person in people}
    for store in stores:
        for person, records in _in_store(settings, set(people), store).items():
            found[person].records[store.name] = records
    return found


def _in_store(settings: Settings, people: set[str], store: Store) -> dict[str, list[TopicRecord]]:
    wanted = {partition_of(one.encode(), settings.partitions) for one in people} if store.by_person else None
    records: dict[str, list[TopicRecord]] = {person: [] for person in people}
    whose: dict[tuple[int, bytes], set[str]] = {}  # of a compacted store's living records
    for record in scan_topic(settings, store.topic, wanted):
        place = (record.partition, record.key or b"")
        if store.compacted:
            for person in whose.pop(place, ()):
                records[person] = [one for one in records[person] if one.key != record.key]
        if record.value is None:
            continue
        about = store.people(record) & people
        if store.compacted and about:
            whose[place] = about
        for person in about:
            records[person].append(record)
    return records


def _by_key(record: TopicRecord) -> set[str]:
    return {_text(record.key)} if record.key else set()


def _by_handover(record: TopicRecord) -> set[str]:
    try:
        handover = decode_handover(record.value or b"")
    except CodecError:
        return _by_key(record)
    return {handover.client, handover.user}


def _by_dead_letter(record: TopicRecord) -> set[str]:
    people = {_text(record.headers[KEY_HEADER])} if record.headers.get(KEY_HEADER) else set()
    try:
        event = orjson.loads(record.value or b"")
    except orjson.JSONDecodeError:
        return people
    if not isinstance(event, dict):
        return people
    return people | {str(event[name]) for name in ("user_id", "client_id") if event.get(name)}


def _by_outcome(record: TopicRecord) -> set[str]:
    try:
        return {str(orjson.loads(record.key or b"")[0])}
    except (orjson.JSONDecodeError, IndexError, KeyError, TypeError):
        return set()


def _text(key: bytes | None) -> str:
    return (key or b"").decode("utf-8", "replace")
