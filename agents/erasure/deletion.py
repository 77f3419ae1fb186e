"""Ask for a person's deletion as any producer would, and find its receipt."""

from __future__ import annotations

import time
from typing import Any, Final

import orjson
from kafka import KafkaProducer
from kafka.errors import KafkaError
from pydantic import ValidationError

from agents.erasure.receipt import Receipt, subject_of
from streams.errors import BrokerError
from streams.kafka_auth import client_options
from streams.records import Action
from streams.replay_order import partition_of
from streams.settings import Settings
from streams.topic_scan import scan_topic
from streams.topics import Topics, broker_away

POLL_S: Final = 0.5


def request_deletion(settings: Settings, user: str, *, event_id: str, at_ms: int) -> None:
    """Send a `user_delete` event. Raises BrokerError."""
    event = {"action_name": Action.USER_DELETE, "timestamp": at_ms, "user_id": user, "event_id": event_id}
    key = user.encode()
    try:
        producer: Any = KafkaProducer(**client_options(settings), acks="all")
        try:
            place = partition_of(key, settings.partitions)
            sent = producer.send(
                Topics.of(settings).events, key=key, value=orjson.dumps(event), partition=place
            )
            producer.flush()
            sent.get(timeout=30)
        finally:
            producer.close()
    except KafkaError as error:
        raise broker_away(settings, error) from error


def find_receipts(settings: Settings, subject: str | None = None) -> list[Receipt]:
    """Receipts, oldest first; of one subject, or of all. Raises BrokerError."""
    found: dict[bytes, Receipt] = {}
    for record in scan_topic(settings, Topics.of(settings).receipts):
        try:
            receipt = Receipt.model_validate_json(record.value or b"")
        except ValidationError:
            continue  # of another version
        if subject in (None, receipt.subject):
            found[record.key or b""] = receipt
    return sorted(found.values(), key=lambda one: one.completed_ms)


def wait_for_receipt(settings: Settings, user: str, wait_s: float, *, since_ms: int = 0) -> Receipt:
    """The newest receipt of `user`, not older than `since_ms`. Raises BrokerError: none came in time."""
    deadline_s = time.monotonic() + wait_s
    while time.monotonic() < deadline_s:
        done = [one for one in find_receipts(settings, subject_of(user)) if one.deleted_ms >= since_ms]
        if done:
            return done[-1]
        time.sleep(POLL_S)
    raise BrokerError(
        f"The deletion was asked for, but no receipt came within {wait_s:.0f} s; it is not lost.",
        action="Do workers with the roles session, hints and erasure run? See `aigq user receipts` later.",
    )
