"""Carry out deletions in every store, look again, and write down what was found. No Faust; for a thread.

State and lists are erased before (the session and hints agents do, in the order of the person's events); here
their being gone is checked. Dead letters and outcomes are overwritten by tombstones. What stands in topics
without compaction cannot be removed one by one: it is counted, and the receipt says until when it stays.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from kafka import KafkaProducer
from kafka.errors import KafkaError

from agents.erasure.receipt import Receipt, StoreReceipt, subject_of
from agents.erasure.traces import (
    DEAD_LETTERS,
    EVENTS,
    OUTCOMES,
    STATE,
    Found,
    Store,
    find_people,
    stores_of,
)
from agents.session.state import decode_state
from streams.erase_request import EraseRequest
from streams.errors import BrokerError, CodecError
from streams.hint_request import HABIT_BYTES
from streams.hint_store import HintReader
from streams.kafka_auth import client_options
from streams.redis_client import connect_redis_sync
from streams.settings import Settings
from streams.topic_scan import TopicRecord, topic_config

ERASABLE: Final = frozenset({DEAD_LETTERS, OUTCOMES})
NO_BOUND: Final = "no bound: set max.compaction.lag.ms, or retention.ms, on the topic"
NOT_COMPACTED: Final = "the topic is not compacted: set cleanup.policy=compact,delete on it"
SHOPS_OWN: Final = "the shop's own topic; not counted, and not removed one by one"
LISTS: Final = "hint lists"
STATE_UNIT: Final = "behaviours and habits"
NEVER_MS: Final = 2**62


def erase_people(settings: Settings, requests: Sequence[EraseRequest]) -> list[Receipt]:
    """Erase, check, and give a receipt (not signed yet) for each request. Raises BrokerError, StoreError."""
    stores = [store for store in stores_of(settings) if store.name != EVENTS]
    people = {request.user for request in requests}
    before = find_people(settings, people, [store for store in stores if store.name != STATE])
    _overwrite(settings, [record for one in before.values() for name in ERASABLE for record in one.of(name)])
    after = find_people(settings, people, [store for store in stores if store.compacted])
    configs = topic_config(settings, [store.topic for store in stores_of(settings)])
    with HintReader(connect_redis_sync(settings)) as reader:
        views = [
            _View(request, before[request.user], after[request.user], configs, _lists_left(reader, request))
            for request in requests
        ]
    return [view.receipt(settings) for view in views]


def _overwrite(settings: Settings, records: Sequence[TopicRecord]) -> None:
    """A tombstone for each record, confirmed by Kafka."""
    if not records:
        return
    try:
        producer: Any = KafkaProducer(**client_options(settings), acks="all")
        try:
            sent = [
                producer.send(r.topic, key=r.key, value=None, partition=r.partition)
                for r in records
                if r.key is not None
            ]
            producer.flush()
            for one in sent:
                one.get(timeout=30)
        finally:
            producer.close()
    except KafkaError as error:
        raise BrokerError(
            f"Records could not be erased: {error!r}.",
            action="Give the user WRITE on dead-letter-events and hint-outcomes.",
        ) from error


def _lists_left(reader: HintReader, request: EraseRequest) -> int:
    return sum(one.version <= str(request.version) and bool(one.hints) for one in reader.lists(request.user))


@dataclass(frozen=True, slots=True)
class _View:
    """One person's deletion as it was found. configs: of the topics."""

    request: EraseRequest
    before: Found
    after: Found
    configs: Mapping[str, Mapping[str, str]]
    lists_left: int

    def receipt(self, settings: Settings) -> Receipt:
        now_ms = time.time_ns() // 1_000_000
        entries = [self._entry(store, now_ms) for store in stores_of(settings)]
        found = self.request.found.get("lists", 0)
        lists = StoreReceipt(
            store=LISTS, unit="lists", found=found, removed=found - self.lists_left, left=self.lists_left
        )
        return Receipt(
            subject=subject_of(self.request.user),
            deleted_ms=self.request.at_ms,
            version=str(self.request.version),
            completed_ms=now_ms,
            topic_prefix=settings.topic_prefix,
            stores=(*entries, lists),
        )

    def _entry(self, store: Store, now_ms: int) -> StoreReceipt:
        disk_ms, note = _gone_by(self.configs.get(store.topic, {}), now_ms, compacted=store.compacted)
        if store.name == EVENTS:
            return StoreReceipt(
                store=store.name, unit="records", found=None, removed=None, left=None,
                gone_by_ms=disk_ms, note=note or SHOPS_OWN,
            )  # fmt: skip
        found, left = self._counts(store)
        return StoreReceipt(
            store=store.name,
            unit=STATE_UNIT if store.name == STATE else "records",
            found=found,
            removed=found - left,
            left=left,
            gone_by_ms=disk_ms if found else None,
            note=note if found else "",
        )

    def _counts(self, store: Store) -> tuple[int, int]:
        """Found before, and readable still."""
        if store.name == STATE:
            known = self.request.found.get("behaviours", 0) + self.request.found.get("habit_texts", 0)
            return known, sum(map(_known, self.after.of(STATE)))
        found = len(self.before.of(store.name))
        return found, len(self.after.of(store.name)) if store.compacted else found


def _known(record: TopicRecord) -> int:
    """Behaviours and habits in a stored state."""
    try:
        state = decode_state(record.value or b"")
    except CodecError:
        return 1  # nobody can say that there is nothing
    return len(state.window) + len(state.habit) // HABIT_BYTES


def _gone_by(config: Mapping[str, str], now_ms: int, *, compacted: bool) -> tuple[int | None, str]:
    """When nothing of it is left on Kafka's disks, and a note where that has no bound."""
    if compacted and "compact" not in config.get("cleanup.policy", ""):
        return None, NOT_COMPACTED
    # Then the tombstone's own key, or the rest of the segment, has its time.
    first, then = (
        ("max.compaction.lag.ms", "delete.retention.ms") if compacted else ("retention.ms", "segment.ms")
    )
    within_ms = int(config.get(first, -1))
    within_ms += int(config.get(then, 0)) if within_ms >= 0 else 0
    if not 0 <= within_ms < NEVER_MS:
        return None, NO_BOUND
    return now_ms + within_ms, ""
