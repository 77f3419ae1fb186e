"""What travels on the topics: behaviour events in, hint lists and outcomes out.

The event is a UBI-shaped JSON object (OpenSearch User Behavior Insights names; our own JSON Schema,
since UBI 1.3.0's rejects its own actions). CloudEvents and W3C trace headers are read when present,
never required.

To change a record: new fields are optional with a default, types never change, names are never reused.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from streams.errors import EventDecodeError, EventRuleError
from streams.limits import Int64, first_problem

MAX_EVENT_BYTES = 256 * 1024
# Of a line of a log, twice what an event may have: a longer one is cut, and stays too large to be an event.
MAX_LINE_BYTES = 2 * MAX_EVENT_BYTES
MAX_ID_CHARS = 256
# A producer's clock may run ahead of the broker's by this much before an event counts as from the future.
FUTURE_TOLERANCE_MS = 10 * 60 * 1000
IDS = ("user_id", "client_id", "event_id")
NO_NUMBERS = frozenset({"NaN", "inf", "-inf"})  # how pydantic writes them as text
EARLIEST_MS = 946_684_800_000  # 2000-01-01: an older "timestamp" is seconds, microseconds or garbage


class Action(StrEnum):
    """The action names that AIGQ acts upon. Any other name is counted and kept out of state."""

    VIEW = "view"
    CLICK = "click"
    SEARCH = "search"
    ADD_TO_CART = "add_to_cart"
    PURCHASE = "purchase"
    HINT_IMPRESSION = "hint_impression"
    HINT_CLICK = "hint_click"
    HINT_DISMISS = "hint_dismiss"
    IDENTIFY = "identify"
    USER_DELETE = "user_delete"


BEHAVIOURS = (Action.VIEW, Action.CLICK, Action.SEARCH, Action.ADD_TO_CART, Action.PURCHASE)
FEEDBACK = (Action.HINT_IMPRESSION, Action.HINT_CLICK, Action.HINT_DISMISS)


def _epoch_ms(value: Any) -> int:
    """Epoch milliseconds from an integer, a string of digits, or RFC 3339 with a zone."""
    if isinstance(value, bool) or value is None:
        raise ValueError("must be RFC 3339 with a zone, or epoch milliseconds")
    if isinstance(value, int):
        return value
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if not isinstance(value, str):
        raise ValueError("must be RFC 3339 with a zone, or epoch milliseconds")
    text = value.strip()
    if text.isascii() and text.isdigit() and len(text) <= 16:
        return int(text)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:  # its message repeats the value, and ours goes into logs and reports
        raise ValueError("must be RFC 3339 with a zone, or epoch milliseconds") from None
    if moment.tzinfo is None:
        raise ValueError("has no time zone: add 'Z' or an offset")
    return round(moment.timestamp() * 1000)


EpochMs = Annotated[int, BeforeValidator(_epoch_ms)]
Id = Annotated[str, Field(min_length=1, max_length=MAX_ID_CHARS)]


class _Part(BaseModel):
    model_config = ConfigDict(
        frozen=True, extra="ignore", coerce_numbers_to_str=True, allow_inf_nan=False, strict=False
    )


class EventObject(_Part):
    """The thing an event is about, e.g. a product."""

    object_id: str | None = Field(None, max_length=MAX_ID_CHARS)
    title: str | None = None
    category: str | None = None
    brand: str | None = None
    price: float | None = None


class Position(_Part):
    """Where a hint or result stood; the first is 1."""

    ordinal: Int64 | None = None


class EventAttributes(_Part):
    """UBI's free-form part, as far as AIGQ reads it."""

    object: EventObject | None = None
    objects: tuple[EventObject, ...] = Field((), max_length=100)
    position: Position | None = None
    list_id: str | None = Field(None, max_length=MAX_ID_CHARS)
    result_count: Int64 | None = Field(None, ge=0, description="of a search: how many results it had; ours")


class BehaviorEvent(_Part):
    """One behaviour of one user, as it stands in ``behavior-events``."""

    action_name: Annotated[str, Field(min_length=1, max_length=64)]
    timestamp: EpochMs = Field(description="RFC 3339 with a zone, or epoch milliseconds")
    user_id: Id | None = None
    client_id: Id | None = None
    event_id: Id | None = None
    session_id: str | None = Field(None, max_length=MAX_ID_CHARS)
    application: str | None = Field(None, max_length=64)
    locale: str | None = Field(None, max_length=35)
    consent: bool | None = None
    user_query: str | None = None
    query_id: str | None = Field(None, max_length=MAX_ID_CHARS)
    event_attributes: EventAttributes = EventAttributes()

    @property
    def person(self) -> str:
        """Key of state, partition and hint list: the user, else the client."""
        return self.user_id or self.client_id or ""

    @property
    def text(self) -> str:
        """What the behaviour was about, in words; empty when the event has none."""
        if self.action_name == Action.SEARCH:
            return _one_line(self.user_query)
        item = self.event_attributes.object
        return _one_line(item.title or item.category) if item else ""


@dataclass(frozen=True, slots=True)
class Source:
    """Where a record stood, and when Kafka appended it (epoch ms; 0 where there is no broker)."""

    topic: str
    partition: int
    offset: int
    appended_ms: int = 0

    @property
    def name(self) -> str:
        """``topic-partition-offset``: the event id of last resort."""
        return f"{self.topic}-{self.partition}-{self.offset}"


def decode_event(
    value: bytes | None, headers: Mapping[str, bytes], source: Source, now_ms: int
) -> BehaviorEvent:
    """Bytes to event in one pass, with an ``event_id`` in any case.

    `now_ms` bounds the future: the record's append time where there is a broker.
    Raises EventDecodeError or EventRuleError, whose `reason` is what the dead letter is counted by.
    """
    if not value:
        raise EventDecodeError("The record is empty.", reason="empty", action="Send a JSON object.")
    if len(value) > MAX_EVENT_BYTES:
        raise EventDecodeError(
            f"The event has {len(value)} bytes; the limit is {MAX_EVENT_BYTES}.",
            reason="too_large",
            action="Send the event without its payload.",
        )
    try:
        event = BehaviorEvent.model_validate_json(value)
    except ValidationError as error:
        raise _decode_error(error) from error
    _check_ids(event, value)
    _check_rules(event, now_ms)
    if event.event_id is None:
        event = event.model_copy(update={"event_id": _header_id(headers) or source.name})
    return event


def _decode_error(error: ValidationError) -> EventDecodeError:
    first = error.errors(include_url=False, include_input=False)[0]
    reason = (
        "not_json"
        if first["type"] == "json_invalid"
        else f"bad_{first['loc'][0]}"
        if first["loc"]
        else "bad_event"
    )
    return EventDecodeError(
        f"{first_problem(error, 'event')}.", reason=reason, action="Compare with `aigq events schema`."
    )


def _check_ids(event: BehaviorEvent, value: bytes) -> None:
    """A missing id that a data frame wrote as NaN would make one person of everybody without an id."""
    for name in IDS:
        text = getattr(event, name)
        if text in NO_NUMBERS and f'"{text}"'.encode() not in value:
            raise EventDecodeError(
                f"{name}: it is the number {text}.", reason=f"bad_{name}", action="Leave out a missing id."
            )


def _check_rules(event: BehaviorEvent, now_ms: int) -> None:
    if not event.person:
        raise EventRuleError(
            "Neither user_id nor client_id is given.", reason="no_person", action="Send one of them."
        )
    if event.timestamp < EARLIEST_MS:
        raise EventRuleError(
            f"timestamp {event.timestamp} is before the year 2000.",
            reason="timestamp_too_old",
            action="Send epoch milliseconds, not seconds.",
        )
    if event.timestamp > now_ms + FUTURE_TOLERANCE_MS:
        raise EventRuleError(
            f"timestamp {event.timestamp} is more than 10 minutes after its arrival.",
            reason="timestamp_in_future",
            action="Check the producer's clock and unit (milliseconds).",
        )
    if event.action_name == Action.IDENTIFY and not (event.user_id and event.client_id):
        raise EventRuleError(
            "identify says which client_id a user_id is, and one of them is missing.",
            reason="identify_without_both",
            action="Send user_id and client_id.",
        )
    if event.action_name == Action.SEARCH and not event.text:
        raise EventRuleError(
            "A search without user_query.", reason="search_without_query", action="Send user_query."
        )


def _header_id(headers: Mapping[str, bytes]) -> str | None:
    raw = headers.get("ce_id")
    if raw is None or not 0 < len(raw) <= MAX_ID_CHARS:
        return None
    return raw.decode("utf-8", "replace")


def _one_line(text: str | None) -> str:
    return " ".join(text.split()) if text else ""
