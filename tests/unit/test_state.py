from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.session.habit import HABIT_LIMIT, NO_HABIT, with_behaviour
from agents.session.interest import Interest
from agents.session.refresh import Reason
from agents.session.state import (
    Counts,
    Listed,
    Owed,
    SessionState,
    decode_state,
    encode_state,
    event_digest,
    mark,
)
from agents.session.window import WINDOW_LIMIT, clip_text, insert
from streams.errors import CodecError
from streams.hint_request import HABIT_ENTRY, Behaviour, HabitEntries, Version
from tests.support import NOON_MS

times = st.integers(NOON_MS - 10**11, NOON_MS)
listed = st.builds(
    Listed,
    st.builds(Version, times, st.integers(0, 2**40)),
    st.sampled_from(Reason),
    st.floats(0, 2, width=32),
    st.just(np.arange(128, dtype=np.int8).reshape(2, 64)),
    st.just(mark("bundle")),
)
windows = st.lists(
    st.builds(Behaviour, st.integers(1, 5), times, st.text(max_size=80).map(clip_text)), max_size=WINDOW_LIMIT
)
habits = st.lists(
    st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1), st.floats(0, 1e6, width=32)),
    max_size=HABIT_LIMIT,
).map(lambda rows: np.array(rows, HABIT_ENTRY))
states = st.builds(
    SessionState,
    encoder=st.just(mark("encoder")),
    interest=st.just(Interest(np.linspace(-3, 3, 128, dtype=np.float32).reshape(2, 64), NOON_MS)),
    window=windows.map(lambda w: tuple(sorted(w, key=lambda b: -b.at_ms))),
    listed=st.none() | listed,
    owed=st.builds(Owed, times, st.sampled_from(Reason)),
    counts=st.builds(Counts, *[st.integers(0, 65_535)] * 4),
    consent=st.booleans(),
    application=st.text(max_size=64),
    locale=st.sampled_from(["", "en-US", "zh-Hant-TW"]),
    offsets=st.dictionaries(st.integers(0, 65_535), st.integers(0, 2**60), max_size=4),
    habit=habits,
).map(
    lambda state: replace(
        state, event_ids=tuple(event_digest(f"e{place}") for place in range(len(state.window)))
    )
)


@given(states)
def test_a_state_survives_its_bytes(state: SessionState) -> None:
    back = decode_state(encode_state(state))
    assert encode_state(back) == encode_state(state)
    assert (back.window, back.owed, back.counts) == (state.window, state.owed, state.counts)
    assert (back.offsets, back.event_ids, back.consent) == (state.offsets, state.event_ids, state.consent)
    assert (back.application, back.locale) == (state.application, state.locale)
    np.testing.assert_array_equal(back.interest.sums, state.interest.sums)
    np.testing.assert_array_equal(back.habit, state.habit)
    assert back.habit.dtype == HABIT_ENTRY
    assert (back.listed is None) == (state.listed is None)


@given(states, st.data())
def test_torn_bytes_are_refused(state: SessionState, data: st.DataObject) -> None:
    whole = encode_state(state)
    cut = data.draw(st.integers(0, len(whole) - 1))
    with pytest.raises(CodecError):
        decode_state(whole[:cut])


@given(st.binary(max_size=2500))
def test_foreign_bytes_are_refused_or_decode_to_a_state(data: bytes) -> None:
    try:
        assert isinstance(decode_state(data), SessionState)
    except CodecError as error:
        assert "version 2" in error.message


def test_another_version_is_refused_not_guessed() -> None:
    state = SessionState(mark("e"), Interest.empty(64))
    for other in (1, 3):  # 1: before habit
        with pytest.raises(CodecError, match=f"its version is {other}"):
            decode_state(bytes((other,)) + encode_state(state)[1:])


@pytest.mark.parametrize("extra", [b"\0", bytes(HABIT_ENTRY.itemsize)])
def test_bytes_behind_the_habit_are_refused(extra: bytes) -> None:
    state = SessionState(mark("e"), Interest.empty(64), habit=habit_of(3))
    with pytest.raises(CodecError, match=f"{len(extra)} bytes too many"):
        decode_state(encode_state(state) + extra)


def test_a_decoded_habit_goes_on() -> None:
    state = SessionState(mark("e"), Interest.empty(64), habit=habit_of(3))
    behaviour = Behaviour(5, NOON_MS, "thing 1")
    back = decode_state(encode_state(state))
    np.testing.assert_array_equal(
        with_behaviour(back.habit, behaviour), with_behaviour(state.habit, behaviour)
    )


def test_a_full_state_of_shop_phrases_stays_near_one_and_a_half_kilobytes() -> None:
    window: tuple[Behaviour, ...] = ()
    for number in range(WINDOW_LIMIT):
        window = insert(window, Behaviour(5, NOON_MS - number * 1000, "potato chips"))
    full = SessionState(
        encoder=mark("e"),
        interest=Interest(np.ones((2, 64), np.float32), NOON_MS),
        window=window,
        listed=Listed(Version(NOON_MS, 1), Reason.FIRST, 1.0, np.ones((2, 64), np.int8), mark("b")),
        offsets={0: 1},
        event_ids=(b"123456",) * 32,
    )
    assert len(encode_state(full)) <= 1536
    remembering = replace(full, habit=habit_of(HABIT_LIMIT))
    assert len(encode_state(remembering)) == len(encode_state(full)) + 12 * HABIT_LIMIT


def habit_of(count: int) -> HabitEntries:
    entries = NO_HABIT
    for number in range(count):
        entries = with_behaviour(entries, Behaviour(5, NOON_MS, f"thing {number}"))
    return entries


def test_counts_start_anew_with_the_day_and_the_minute() -> None:
    counts = Counts().with_event(60_000).with_event(60_001).with_list(60_001)
    assert (counts.events, counts.lists_on(60_001)) == (2, 1)
    assert counts.with_event(120_000).events == 1
    assert counts.with_event(59_999) == counts
    assert counts.lists_on(86_400_000) == 0
