from __future__ import annotations

import math
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.session.bounds import Bounds, TakenOver
from agents.session.habit import HABIT_LIMIT, NO_HABIT, with_behaviour
from agents.session.interest import FULL, SHOPPER, VISIT, Interest
from agents.session.refresh import Reason
from agents.session.state import (
    STATE_VERSION,
    Due,
    SessionState,
    decode_state,
    due_of,
    encode_state,
    event_digest,
    mark,
)
from agents.session.state_parts import Counts, Listed, Owed
from agents.session.window import WINDOW_LIMIT, Window, clip_text
from streams.errors import CodecError
from streams.hint_request import HABIT_BYTES, Behaviour, Version
from tests.support import NOON_MS

times = st.integers(NOON_MS - 10**11, NOON_MS)
listed = st.builds(
    Listed,
    st.builds(Version, times, st.integers(0, 2**40)),
    st.sampled_from(Reason),
    st.floats(0, 2, width=32),
    st.just(np.arange(64, dtype=np.int8).tobytes()),
    st.just(mark("bundle")),
)
windows = st.lists(
    st.builds(Behaviour, st.integers(1, 5), times, st.text(max_size=80).map(clip_text)), max_size=WINDOW_LIMIT
).map(lambda drawn: window_of(*drawn))
bounds = st.builds(
    Bounds, times, st.just(0) | times, st.text(max_size=9), st.just((TakenOver(b"client", 7),)) | st.just(())
)
habits = st.lists(st.binary(min_size=HABIT_BYTES, max_size=HABIT_BYTES), max_size=HABIT_LIMIT).map(b"".join)
STEPS = np.linspace(-30_000, 30_000, 128).astype(np.int16).reshape(2, 64)
states = st.builds(
    SessionState,
    encoder=st.just(mark("encoder")),
    interest=st.just(Interest(STEPS, (1e-5, 0.25), (30_000, FULL), NOON_MS)),
    window=windows,
    listed=st.none() | listed,
    owed=st.builds(Owed, times, st.sampled_from(Reason)),
    counts=st.builds(Counts, *[st.integers(0, 65_535)] * 4),
    consent=st.booleans(),
    application=st.text(max_size=64),
    locale=st.sampled_from(["", "en-US", "zh-Hant-TW"]),
    offsets=st.dictionaries(st.integers(0, 65_535), st.integers(0, 2**60), max_size=4),
    habit=habits,
    bounds=st.just(Bounds()) | bounds,
)


def window_of(*behaviours: Behaviour) -> Window:
    window = Window()
    for number, behaviour in enumerate(behaviours):
        window, _ = window.with_behaviour(behaviour, event_digest(f"e{number}")) or (window, ())
    return window


@given(states)
def test_a_state_survives_its_bytes(state: SessionState) -> None:
    back = decode_state(encode_state(state))
    assert encode_state(back) == encode_state(state)
    assert (back.window, back.owed, back.counts) == (state.window, state.owed, state.counts)
    assert (back.offsets, back.consent, back.bounds) == (state.offsets, state.consent, state.bounds)
    assert (back.application, back.locale, back.listed) == (state.application, state.locale, state.listed)
    np.testing.assert_array_equal(back.interest.steps, state.interest.steps)
    assert (back.interest[1:], back.habit) == (state.interest[1:], state.habit)


@given(states)
def test_what_is_due_is_read_without_the_rest(state: SessionState) -> None:
    is_end = state.bounds.ends_ms > 0 and not state.owed.due_ms
    wanted = Due(state.due_ms, is_end, state.interest.at_ms, tuple(state.offsets))
    assert due_of(encode_state(state)) == wanted


@given(states, st.data())
def test_torn_bytes_are_refused(state: SessionState, data: st.DataObject) -> None:
    whole = encode_state(state)
    cut = data.draw(st.integers(0, len(whole) - 1))
    with pytest.raises(CodecError):
        decode_state(whole[:cut])
    with suppress(CodecError):
        due_of(whole[:cut])  # may not need what is missing


@given(st.binary(max_size=2500))
def test_foreign_bytes_are_refused_or_decode_to_a_state(data: bytes) -> None:
    try:
        assert isinstance(decode_state(data), SessionState)
    except CodecError as error:
        assert f"version {STATE_VERSION}" in error.message


def test_another_version_is_refused_not_guessed() -> None:
    state = SessionState(mark("e"), Interest.empty(64))
    for other in range(1, STATE_VERSION):
        for read in (decode_state, due_of):
            with pytest.raises(CodecError, match=f"its version is {other}"):
                read(bytes((other,)) + encode_state(state)[1:])


@pytest.mark.parametrize("value", [math.nan, math.inf, -1e-300, 1e13])
@pytest.mark.parametrize("which", [VISIT, SHOPPER])
def test_a_scale_that_is_no_such_number_is_refused(which: int, value: float) -> None:
    scales = (value, 1.0) if which == VISIT else (1.0, value)
    with pytest.raises(CodecError, match="a sum's scale"):
        decode_state(encode_state(SessionState(mark("e"), Interest(STEPS, scales, (1, 1), NOON_MS))))


@pytest.mark.parametrize("bounds", [(FULL + 1, 0), (0, 65_535)])
def test_a_bound_that_16_bits_do_not_hold_is_refused(bounds: tuple[int, int]) -> None:
    with pytest.raises(CodecError, match="a sum's bound"):
        decode_state(encode_state(SessionState(mark("e"), Interest(STEPS, (1.0, 1.0), bounds, NOON_MS))))


@pytest.mark.parametrize("extra", [b"\0", bytes(HABIT_BYTES)])
def test_bytes_behind_the_habit_are_refused(extra: bytes) -> None:
    state = SessionState(mark("e"), Interest.empty(64), habit=habit_of(3))
    with pytest.raises(CodecError, match=f"{len(extra)} bytes too many"):
        decode_state(encode_state(state) + extra)


def test_a_decoded_habit_goes_on() -> None:
    state = SessionState(mark("e"), Interest.empty(64), habit=habit_of(3))
    behaviour = Behaviour(5, NOON_MS, "thing 1")
    back = decode_state(encode_state(state))
    assert with_behaviour(back.habit, behaviour) == with_behaviour(state.habit, behaviour) != state.habit


def test_a_full_state_of_shop_phrases_stays_near_two_kilobytes() -> None:
    window = window_of(*(Behaviour(5, NOON_MS - number, "potato chips") for number in range(WINDOW_LIMIT)))
    assert len(window) == WINDOW_LIMIT
    full = SessionState(
        encoder=mark("e"),
        interest=Interest(STEPS, (1.0, 1.0), (FULL, FULL), NOON_MS),
        window=window,
        listed=Listed(Version(NOON_MS, 1), Reason.FIRST, 1.0, bytes(64), mark("b")),
        offsets={0: 1},
    )
    assert len(encode_state(full)) <= 1250
    remembering = full._replace(habit=habit_of(HABIT_LIMIT))
    assert len(encode_state(remembering)) == len(encode_state(full)) + 8 * HABIT_LIMIT <= 2048


def habit_of(count: int) -> bytes:
    habit = NO_HABIT
    for number in range(count):
        habit = with_behaviour(habit, Behaviour(5, NOON_MS, f"thing {number}"))
    return habit


def test_counts_start_anew_with_the_day_and_the_minute() -> None:
    counts = Counts().with_event(60_000).with_event(60_001).with_list(60_001)
    assert (counts.events, counts.lists_on(60_001)) == (2, 1)
    assert counts.with_event(120_000).events == 1
    assert counts.with_event(59_999) == counts
    assert counts.lists_on(86_400_000) == 0
