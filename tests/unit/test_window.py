from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from agents.session.window import (
    BEHAVIOUR_HEAD_BYTES,
    TEXT_LIMIT_BYTES,
    WINDOW_LIMIT,
    WINDOW_LIMIT_BYTES,
    clip_text,
    insert,
)
from streams.hint_request import Behaviour

behaviour = st.builds(
    Behaviour, st.integers(1, 5), st.integers(0, 10**6), st.text(max_size=70).map(clip_text)
)


def inserted(sequence: list[Behaviour]) -> tuple[Behaviour, ...]:
    window: tuple[Behaviour, ...] = ()
    for item in sequence:
        window = insert(window, item)
    return window


@given(st.lists(behaviour, max_size=60), st.randoms(use_true_random=False))
def test_the_window_depends_on_the_set_of_behaviours_not_on_their_order(
    sequence: list[Behaviour], random: object
) -> None:
    shuffled = list(sequence)
    random.shuffle(shuffled)
    assert inserted(sequence) == inserted(shuffled)


@given(st.lists(behaviour, max_size=60))
def test_the_window_keeps_its_limits_and_its_order(sequence: list[Behaviour]) -> None:
    window = inserted(sequence)
    assert len(window) <= WINDOW_LIMIT
    assert sum(BEHAVIOUR_HEAD_BYTES + len(b.text.encode()) for b in window) <= WINDOW_LIMIT_BYTES
    assert [b.at_ms for b in window] == sorted((b.at_ms for b in window), reverse=True)


def test_the_oldest_goes_first_when_the_count_is_full() -> None:
    window = inserted([Behaviour(1, at_ms, "milk") for at_ms in range(WINDOW_LIMIT + 5)])
    assert len(window) == WINDOW_LIMIT
    assert (window[0].at_ms, window[-1].at_ms) == (WINDOW_LIMIT + 4, 5)


def test_long_texts_shorten_the_window_to_its_byte_limit() -> None:
    window = inserted([Behaviour(1, at_ms, "x" * TEXT_LIMIT_BYTES) for at_ms in range(WINDOW_LIMIT)])
    assert len(window) == WINDOW_LIMIT_BYTES // (BEHAVIOUR_HEAD_BYTES + TEXT_LIMIT_BYTES)


@given(st.text())
def test_a_clipped_text_fits_and_is_the_beginning_of_the_text(text: str) -> None:
    clipped = clip_text(text)
    assert len(clipped.encode()) <= TEXT_LIMIT_BYTES
    assert text.startswith(clipped)
