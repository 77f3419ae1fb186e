from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.session.window import (
    BEHAVIOUR_HEAD_BYTES,
    EVENT_ID_BYTES,
    KEY_BYTES,
    TEXT_LIMIT_BYTES,
    WINDOW_LIMIT,
    WINDOW_LIMIT_BYTES,
    Window,
    clip_text,
)
from streams.hint_request import Behaviour
from tests.support import NOON_MS

behaviour = st.builds(
    Behaviour, st.integers(1, 5), st.integers(0, 10**6), st.text(max_size=70).map(clip_text)
)
crowded = st.builds(Behaviour, st.integers(1, 2), st.integers(0, 3), st.sampled_from(["a", "b", "é", "奶"]))


def event_id(number: int) -> bytes:
    return number.to_bytes(EVENT_ID_BYTES)


def inserted(sequence: list[Behaviour]) -> Window:
    window = Window()
    for number, item in enumerate(sequence):
        window, _ = window.with_behaviour(item, event_id(number)) or (window, ())
    return window


def newest_first(one: Behaviour) -> tuple[int, int, str]:
    return (-one.at_ms, -one.action, one.text)


def what_fits(behaviours: list[Behaviour]) -> list[Behaviour]:
    """The window by its definition."""
    ordered, used_bytes = sorted(behaviours, key=newest_first), 0
    for count, one in enumerate(ordered):
        used_bytes += BEHAVIOUR_HEAD_BYTES + len(one.text.encode())
        if count == WINDOW_LIMIT or used_bytes > WINDOW_LIMIT_BYTES:
            return ordered[:count]
    return ordered


@given(st.lists(behaviour | crowded, max_size=60), behaviour | crowded)
def test_one_more_gives_what_fits_and_what_leaves_or_nothing_if_it_is_too_late(
    sequence: list[Behaviour], more: Behaviour
) -> None:
    window = inserted(sequence)
    before = window.behaviours()
    wanted = what_fits([*before, more])
    grown = window.with_behaviour(more)
    if len(wanted) <= sum(newest_first(one) < newest_first(more) for one in before):
        assert grown is None
    else:
        assert grown is not None
        longer, left = grown
        assert longer.behaviours() == tuple(wanted)
        assert (*longer.behaviours(), *left) == tuple(sorted([*before, more], key=newest_first))
    assert window.behaviours() == before


@given(st.lists(behaviour | crowded, max_size=60), st.randoms(use_true_random=False))
def test_the_window_depends_on_the_set_of_behaviours_not_on_their_order(
    sequence: list[Behaviour], random: object
) -> None:
    shuffled = list(sequence)
    random.shuffle(shuffled)
    assert inserted(sequence).behaviours() == inserted(shuffled).behaviours()


@given(st.lists(behaviour, max_size=60))
def test_each_behaviour_keeps_the_id_of_its_event(sequence: list[Behaviour]) -> None:
    window = inserted(sequence)
    numbers = [int.from_bytes(one) for one in window.ids()]
    assert [sequence[number] for number in numbers] == list(window)
    held = [number for number in range(len(sequence)) if window.holds(event_id(number))]
    assert held == sorted(numbers)


def test_an_id_that_lies_across_two_others_is_not_held() -> None:
    window = inserted([Behaviour(1, NOON_MS, "milk")] * 3)
    across = window.event_ids[3 : 3 + EVENT_ID_BYTES]
    assert across in window.event_ids
    assert not window.holds(across)
    grown = window.with_behaviour(Behaviour(1, NOON_MS - 1, "milk"), across)
    assert grown is not None and grown[0].holds(across)  # found behind the place that is none


@given(st.lists(behaviour, max_size=60))
def test_a_window_survives_its_bytes_and_says_where_they_end(sequence: list[Behaviour]) -> None:
    window = inserted(sequence)
    packed = window.pack()
    assert Window.unpack(b"xy" + packed + b"z", 2, len(window)) == (window, 2 + len(packed))
    assert Window.of(window.behaviours(), window.ids()) == window
    assert len(packed) <= WINDOW_LIMIT_BYTES


@pytest.mark.parametrize("texts", [[b"\xff"], [b"\xc3", b"\xa9"], [b"a", b"\xe5\xa5"]])
def test_texts_that_could_not_be_read_later_are_refused(texts: list[bytes]) -> None:
    """Also a character of which one text has the first byte and the next the second."""
    key = Window.of([Behaviour(1, NOON_MS, "")], [event_id(1)]).keys
    count = len(texts)
    packed = key * count + event_id(1) * count + bytes(map(len, texts)) + b"".join(texts)
    with pytest.raises(UnicodeDecodeError):
        Window.unpack(packed, 0, count)


@pytest.mark.parametrize("action", [0, 6, 7])
def test_an_action_that_there_is_not_is_refused(action: int) -> None:
    packed = bytearray(inserted([Behaviour(1, NOON_MS, "milk"), Behaviour(1, NOON_MS, "eggs")]).pack())
    packed[2 * KEY_BYTES - 1] += action - 1
    with pytest.raises(ValueError, match="no such action"):
        Window.unpack(bytes(packed), 0, 2)


def test_a_time_after_the_last_that_a_key_can_say_counts_as_that() -> None:
    window = inserted([Behaviour(5, 2**62, "later"), Behaviour(5, NOON_MS, "milk")])
    assert [(one.at_ms, one.text) for one in window] == [(2**45 - 1, "later"), (NOON_MS, "milk")]


def test_the_oldest_goes_first_when_the_count_is_full() -> None:
    window = inserted([Behaviour(1, at_ms, "milk") for at_ms in range(WINDOW_LIMIT + 5)])
    assert len(window) == WINDOW_LIMIT
    assert [one.at_ms for one in window] == list(range(WINDOW_LIMIT + 4, 4, -1))


def test_long_texts_shorten_the_window_to_its_byte_limit() -> None:
    window = inserted([Behaviour(1, at_ms, "x" * TEXT_LIMIT_BYTES) for at_ms in range(WINDOW_LIMIT)])
    assert len(window) == WINDOW_LIMIT_BYTES // (BEHAVIOUR_HEAD_BYTES + TEXT_LIMIT_BYTES)


@given(st.text())
def test_a_clipped_text_fits_and_is_the_beginning_of_the_text(text: str) -> None:
    clipped = clip_text(text)
    assert len(clipped.encode()) <= TEXT_LIMIT_BYTES
    assert text.startswith(clipped)
