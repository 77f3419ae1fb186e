"""The event schema that we publish: what it accepts, the decoder can use."""

from __future__ import annotations

from typing import Any

import jsonschema
import orjson
import pytest

from streams.errors import EventError
from streams.records import Source, decode_event
from streams.schema import event_schema
from tests.support import LATER_MS, NOON_MS, event_json

VALIDATOR = jsonschema.Draft202012Validator(event_schema())

GOOD: list[dict[str, Any]] = [
    event_json(),
    event_json("search", "oat milk"),
    event_json("something_of_the_shop"),
    event_json(user_id=None, client_id="c1"),
    {"action_name": "view", "timestamp": "2017-12-01T12:00:00Z", "client_id": "c1"},
    {"action_name": "view", "timestamp": "2017-12-01T12:00:00.123+01:00", "client_id": "c1"},
    {"action_name": "view", "timestamp": str(NOON_MS), "client_id": "c1", "extra": {"deep": [1]}},
    event_json("hint_impression", event_attributes={"list_id": "l", "objects": [{"title": "milk"}, {}]}),
    event_json("hint_click", event_attributes={"object": {"title": "milk"}, "position": {"ordinal": 2}}),
]
BAD: list[Any] = [
    [],
    {},
    event_json(user_id=None),
    event_json(user_id=""),
    event_json(timestamp=1_512_129_600),
    event_json(timestamp="100000000000"),
    event_json(timestamp="2017-12-01T12:00:00"),
    event_json(timestamp="yesterday"),
    event_json(timestamp=None),
    event_json(action_name=""),
    event_json(event_attributes={"objects": [{}] * 101}),
    event_json(event_attributes={"object": {"price": "much"}}),
    {key: value for key, value in event_json("search").items() if key != "user_query"},
    event_json("search", " "),
]


def usable(event: Any) -> bool:
    try:
        decode_event(orjson.dumps(event), {}, Source("t", 0, 0), LATER_MS)
    except EventError:
        return False
    return True


@pytest.mark.parametrize("event", GOOD)
def test_a_good_event_fits_the_schema_and_is_decoded(event: dict[str, Any]) -> None:
    VALIDATOR.validate(event)
    assert usable(event)


@pytest.mark.parametrize("event", BAD)
def test_a_bad_event_fits_neither(event: Any) -> None:
    assert not VALIDATOR.is_valid(event)
    assert not usable(event)
