"""Properties that hold for any text and any JSON that a stranger sends."""

from __future__ import annotations

import json
import unicodedata
from datetime import date
from io import StringIO
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from agents.session.bounds import Bounds, TakenOver, pack_bounds, unpack_bounds
from agents.session.state import decode_state, encode_state
from agents.session.step import Rules, apply_event
from aigq.console import HarmlessConsole, print_json
from streams.erase_request import Cause, EraseRequest, decode_erase, encode_erase
from streams.errors import EventError
from streams.handover import Handover, decode_handover, encode_handover
from streams.harmless_text import ACTIVE, harmless, harmless_json
from streams.limits import LAST_MS
from streams.query_text import normalise_query
from streams.records import MAX_ID_CHARS, Source, decode_event
from streams.redis_keys import hints_key, popular_key, think_key
from streams.unexpected import without_values
from streams.version import Version
from tests.hostile import IDS, QUERIES, TERMINAL
from tests.support import LATER_MS, NOON_MS, DigestEncoder, event_json, event_of

RULES = Rules(DigestEncoder(dim=8), "bundle-1")
PLACE = Source("t", 0, 0)
repeatable = settings(derandomize=True, deadline=None)
texts = st.text(max_size=60) | st.sampled_from([*IDS.values(), *QUERIES.values()])
any_text = texts | st.text(
    st.characters(codec=None, exclude_categories=()), max_size=20
)  # half surrogate pairs, too
ids = st.text(min_size=1, max_size=MAX_ID_CHARS)
moments = st.integers(0, LAST_MS)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=8,
)


@repeatable
@given(any_text)
def test_a_harmless_text_has_nothing_active_in_it_and_is_the_same_twice(text: str) -> None:
    shown = harmless(text)
    assert not {unicodedata.category(one) for one in shown} & ACTIVE
    assert harmless(shown) == shown
    assert (shown == text) == (not {unicodedata.category(one) for one in text} & ACTIVE)


@repeatable
@given(values)
def test_harmless_json_is_the_same_value_and_moves_no_cursor(value: Any) -> None:
    raw = orjson.dumps(value, default=str, option=orjson.OPT_NON_STR_KEYS) if not _too_large(value) else b"0"
    shown = harmless_json(raw.decode())
    assert orjson.loads(shown) == orjson.loads(raw)
    assert not {unicodedata.category(one) for one in shown} & ACTIVE


def _too_large(value: Any) -> bool:
    if isinstance(value, dict | list):
        return any(map(_too_large, value.values() if isinstance(value, dict) else value))
    return isinstance(value, int) and abs(value) >= 2**63


@repeatable
@given(any_text)
def test_a_console_shows_any_text_in_any_place_without_acting_on_it(text: str) -> None:
    out = StringIO()
    console = HarmlessConsole(file=out, width=60, force_terminal=True)
    table = Table("a", title=Text(text))
    table.add_row(Text(text))
    table.add_row(text)
    console.print(Panel(table, title=Text(text)), Text(text, style="bold"), text)
    left = out.getvalue()
    while "\x1b[" in left:  # our colours
        before, _, rest = left.partition("\x1b[")
        codes, _, after = rest.partition("m")
        assert set(codes) <= set("0123456789;")
        left = before + after
    assert not {unicodedata.category(one) for one in left.replace("\n", "")} & ACTIVE


@pytest.mark.parametrize("text", [*TERMINAL.values(), "\ud800", "a" * 100_000])
def test_json_for_a_terminal_is_json_for_a_program(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"query": text, "number": 10**30})
    shown = capsys.readouterr().out
    assert not {unicodedata.category(one) for one in shown.removesuffix("\n")} & ACTIVE
    if text.isascii():
        assert f'"query":{orjson.dumps(text).decode()}' in shown.replace(": ", ":").replace("\\u007f", "\x7f")


@repeatable
@given(any_text, any_text)
def test_any_text_is_a_key_of_its_own(one: str, other: str) -> None:
    assert (hints_key(one) == hints_key(other)) == (one == other)
    assert (popular_key(one, "x") == popular_key(other, "x")) == (one == other)
    assert (think_key("v1", one) == think_key("v1", other)) == (
        normalise_query(one) == normalise_query(other)
    )
    assert normalise_query(normalise_query(one)) == normalise_query(one)


@repeatable
@given(ids, ids, texts, texts)
def test_any_id_and_text_goes_through_event_state_request_and_back(
    user: str, event_id: str, text: str, place: str
) -> None:
    raw = event_json("search", text, user=user, event_id=event_id, application=place[:64], locale=place[:35])
    try:
        event = decode_event(orjson.dumps(raw), {}, PLACE, LATER_MS)
    except EventError as error:
        assert error.reason == "search_without_query" and not text.split()
        return
    assert (event.person, event.event_id) == (user, event_id)
    step = apply_event(None, event, PLACE, RULES)
    assert step.state is not None
    kept = decode_state(encode_state(step.state))
    assert encode_state(kept) == encode_state(step.state)
    assert apply_event(kept, event, Source("t", 0, 1), RULES).outcome == "duplicate"


@repeatable
@given(values, st.sampled_from(sorted(event_json("search", user_query="x", session_id="s", consent=True))))
def test_any_value_in_any_field_is_an_event_or_refused_without_its_value(value: Any, field: str) -> None:
    raw = _json(event_json("search") | {field: value})
    try:
        decode_event(raw, {}, PLACE, LATER_MS)
    except EventError as error:
        assert error.reason and error.action
        if isinstance(value, str) and len(value) > 12 and not value.isascii():
            assert value not in error.message


def _json(value: Any) -> bytes:
    return json.dumps(value).encode()  # with NaN, Infinity and numbers of any size


@repeatable
@given(ids, ids, moments, st.integers(-(2**63), 2**63 - 1), st.binary(max_size=50))
def test_erase_requests_and_hand_overs_survive_their_bytes(
    client: str, user: str, at_ms: int, place: int, state: bytes
) -> None:
    handover = Handover(client, user, at_ms, place, state)
    assert decode_handover(encode_handover(handover)) == handover
    erase = EraseRequest(user, Version(at_ms, abs(place) % 10**15), Cause.CONSENT, at_ms, {client: place})
    assert decode_erase(encode_erase(erase)) == erase


@repeatable
@given(moments, moments, st.text(max_size=MAX_ID_CHARS), st.lists(st.binary(min_size=6, max_size=6)))
def test_bounds_survive_their_bytes(
    not_before_ms: int, ends_ms: int, user: str, clients: list[bytes]
) -> None:
    bounds = Bounds(not_before_ms, ends_ms, user, tuple(TakenOver(client, 7) for client in clients))
    packed = pack_bounds(bounds)
    assert unpack_bounds(b"xx" + packed + b"y", 2) == (bounds, len(packed) + 2)


def test_ids_that_are_numbers_are_kept_as_text_but_no_number_is_nobody() -> None:
    raw = orjson.dumps(event_json())
    for number, user in ((b"17", "17"), (b"-0.0", "-0"), (b'"NaN"', "NaN"), (b'"inf"', "inf")):
        assert decode_event(raw.replace(b'"u1"', number), {}, PLACE, LATER_MS).person == user
    for number in (b"NaN", b"Infinity", b"-Infinity", b"1e400", b"-1e400"):
        with pytest.raises(EventError) as refused:
            decode_event(raw.replace(b'"u1"', number), {}, PLACE, LATER_MS)
        assert refused.value.reason == "bad_user_id"
        with pytest.raises(EventError) as refused:
            decode_event(raw[:-1] + b',"event_id":' + number + b"}", {}, PLACE, LATER_MS)
        assert refused.value.reason == "bad_event_id"


def test_a_behaviour_of_half_a_century_ago_does_not_stop_a_state_from_being_written() -> None:
    later_ms = NOON_MS + 50 * 366 * 86_400_000
    state = apply_event(None, event_of(at_ms=NOON_MS), PLACE, RULES).state
    assert state is not None
    late = event_of(at_ms=NOON_MS, text="eggs").model_copy(update={"timestamp": later_ms})
    state = apply_event(state, late, Source("t", 0, 1), RULES).state
    assert state is not None
    assert [one.text for one in decode_state(encode_state(state)).window] == ["eggs", "milk"]


def test_what_is_said_of_an_unexpected_error_never_repeats_a_value() -> None:
    for read in (int, {}.__getitem__, date.fromisoformat):
        try:
            read("anna@example.com")
        except (ValueError, KeyError) as error:
            assert "anna" not in without_values(error)
            assert "test_hostile_values.py" in without_values(error)
