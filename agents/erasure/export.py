"""All that is kept of a person, as they may ask to see it: for people to read and for programs."""

from __future__ import annotations

import base64
from typing import Any

import orjson

from agents.erasure.traces import (
    DEAD_LETTERS,
    ERASURES,
    EVENTS,
    HANDOVERS,
    OUTCOMES,
    REQUESTS,
    STATE,
    Found,
    find_people,
    stores_of,
)
from agents.session.habit import Entries
from agents.session.state import SessionState, decode_state
from agents.session.state_changes import ACTION_BY_NAME
from streams.errors import CodecError
from streams.hint_store import HintReader
from streams.redis_client import connect_redis_sync
from streams.settings import Settings
from streams.topic_scan import TopicRecord

ACTION_NAMES = {code: name for name, code in ACTION_BY_NAME.items()}


def person_data(settings: Settings, person: str) -> dict[str, Any]:
    """What Kafka and Redis hold of the person, store by store. Raises BrokerError, StoreError."""
    found = find_people(settings, [person], stores_of(settings))[person]
    with HintReader(connect_redis_sync(settings)) as reader:
        lists = reader.lists(person)
    return {
        "user": person,
        "state": _state(found),
        "lists": [one.model_dump() for one in lists],
        "events": [_record(one) for one in found.of(EVENTS)],
        "outcomes": [_record(one) for one in found.of(OUTCOMES)],
        "dead_letters": [_record(one) | {"headers": _headers(one)} for one in found.of(DEAD_LETTERS)],
        "hint_requests": [_place(one) for one in found.of(REQUESTS)],
        "handovers": [_place(one) for one in found.of(HANDOVERS)],
        "erasures": [_place(one) for one in found.of(ERASURES)],
    }


def _state(found: Found) -> dict[str, Any] | None:
    records = found.of(STATE)
    if not records:
        return None
    try:
        return state_data(decode_state(records[-1].value or b""))
    except CodecError as error:
        return {"unreadable": error.message}


def state_data(state: SessionState) -> dict[str, Any]:
    """A state in words. habit: the texts themselves are not kept, only 32 bits of each."""
    habit = Entries.of(state.habit)
    return {
        "consent": state.consent,
        "deleted": state.bounds.is_deleted,
        "not_before_ms": state.bounds.not_before_ms,
        "joined_to": state.bounds.joined_to,
        "behaviours": [
            {"action": ACTION_NAMES[one.action], "at_ms": one.at_ms, "text": one.text} for one in state.window
        ],
        "habit": [
            {"text_digest": text, "last_s": last_s, "count": count}
            for text, last_s, count in zip(
                habit.texts.tolist(),
                habit.last_s.tolist(),
                habit.counts_at(state.interest.at_ms).tolist(),
                strict=True,
            )
        ],
        "interest_sums": state.interest.sums().tolist(),
        "application": state.application,
        "locale": state.locale,
    }


def _place(record: TopicRecord) -> dict[str, Any]:
    return {"partition": record.partition, "offset": record.offset, "at_ms": record.at_ms}


def _record(record: TopicRecord) -> dict[str, Any]:
    try:
        value: Any = orjson.loads(record.value or b"")
    except orjson.JSONDecodeError:
        value = {"base64": base64.b64encode(record.value or b"").decode()}
    return _place(record) | {"value": value}


def _headers(record: TopicRecord) -> dict[str, str]:
    return {name: raw.decode("utf-8", "replace") for name, raw in record.headers.items()}
