from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.errors import EventDecodeError, EventError, EventRuleError
from streams.records import FUTURE_TOLERANCE_MS, MAX_EVENT_BYTES, BehaviorEvent, Source, decode_event
from tests.support import LATER_MS, NOON_MS, event_json

SOURCE = Source("behavior-events", 2, 7)


def decoded(event: Any, headers: dict[str, bytes] | None = None, now_ms: int = LATER_MS) -> BehaviorEvent:
    raw = event if isinstance(event, bytes) else orjson.dumps(event)
    return decode_event(raw, headers or {}, SOURCE, now_ms)


@pytest.mark.parametrize(
    "timestamp",
    [
        NOON_MS,
        str(NOON_MS),
        "2017-12-01T12:00:00Z",
        "2017-12-01T13:00:00+01:00",
        "2017-12-01T12:00:00.000+00:00",
    ],
)
def test_each_form_of_time_means_the_same(timestamp: int | str) -> None:
    assert decoded(event_json(timestamp=timestamp)).timestamp == NOON_MS


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        (b"", "empty"),
        (b"not json", "not_json"),
        (b"\xff\xfe", "not_json"),
        (b"[" * 100_000, "not_json"),
        (b"[1]", "bad_event"),
        (b" " * (MAX_EVENT_BYTES + 1), "too_large"),
        (event_json(timestamp=True), "bad_timestamp"),
        (event_json(timestamp="2017-12-01T12:00:00"), "bad_timestamp"),
        (event_json(timestamp="yesterday"), "bad_timestamp"),
        (event_json(timestamp=None), "bad_timestamp"),
        (b'{"action_name":"view","user_id":"u","timestamp":NaN}', "bad_timestamp"),
        (event_json(action_name=""), "bad_action_name"),
        (event_json(user_id="x" * 257), "bad_user_id"),
        (event_json(user_id=["a"]), "bad_user_id"),
        (event_json(user_id=None), "no_person"),
        (event_json(timestamp=1_512_129_600), "timestamp_too_old"),
        (event_json(action="search", text=" "), "search_without_query"),
        (event_json(timestamp=LATER_MS + FUTURE_TOLERANCE_MS + 1), "timestamp_in_future"),
    ],
)
def test_an_unusable_event_is_refused_by_name(event: Any, reason: str) -> None:
    with pytest.raises(EventError) as caught:
        decoded(event)
    assert caught.value.reason == reason
    assert caught.value.message
    assert caught.value.action


def test_a_clock_that_runs_a_little_ahead_is_tolerated() -> None:
    assert decoded(event_json(timestamp=LATER_MS + FUTURE_TOLERANCE_MS))


def test_numbers_serve_as_ids_and_unknown_fields_are_ignored() -> None:
    event = decoded(event_json(user_id=12, shop_extra={"a": [1]}))
    assert event.person == "12"


def test_the_client_stands_in_for_an_unknown_user() -> None:
    assert decoded(event_json(user_id=None, client_id="c9")).person == "c9"
    assert decoded(event_json(user_id="u1", client_id="c9")).person == "u1"


def test_an_event_without_an_id_is_named_by_its_header_or_its_place() -> None:
    assert decoded(event_json()).event_id == "behavior-events-2-7"
    assert decoded(event_json(), {"ce_id": b"ce-1"}).event_id == "ce-1"
    assert decoded(event_json(event_id="e1"), {"ce_id": b"ce-1"}).event_id == "e1"


def test_the_text_is_the_query_or_the_title_or_the_category_on_one_line() -> None:
    assert decoded(event_json(action="search", text=" oat\n milk ")).text == "oat milk"
    assert decoded(event_json(text="Oat  Milk")).text == "Oat Milk"
    category = {"object": {"object_id": "1", "category": "dairy"}}
    assert decoded(event_json(event_attributes=category)).text == "dairy"
    assert decoded(event_json(action="view", event_attributes={})).text == ""


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=12), inner, max_size=3),
    max_leaves=8,
)
field_names = st.sampled_from([*BehaviorEvent.model_fields, "object", "title", "x"])


@given(st.dictionaries(field_names, json_values, max_size=8))
def test_any_json_object_is_an_event_or_refused_with_a_reason(fields: dict[str, Any]) -> None:
    raw = (
        orjson.dumps(event_json() | fields, option=orjson.OPT_NON_STR_KEYS | orjson.OPT_PASSTHROUGH_SUBCLASS)
        if all(abs(v) < 2**63 for v in _integers(fields))
        else b"{}"
    )
    try:
        assert decoded(raw).person
    except (EventDecodeError, EventRuleError) as error:
        assert error.reason.replace("_", "").isalnum()


def _integers(value: Any) -> list[int]:
    if isinstance(value, dict):
        return [n for v in value.values() for n in _integers(v)]
    if isinstance(value, list):
        return [n for v in value for n in _integers(v)]
    return [value] if isinstance(value, int) else []


@given(st.binary(max_size=300))
def test_any_bytes_are_refused_with_a_reason(raw: bytes) -> None:
    with pytest.raises(EventError):
        decoded(raw)
