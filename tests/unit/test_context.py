"""Hint requests as arrays: padded alike, and row by row independent."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from agents.hints.context import ACTIONS, AGES, REPEATS, context_arrays
from agents.session.window import WINDOW_LIMIT
from streams.hint_request import Behaviour, HintRequest, Version

DIM = 4
behaviours = st.builds(
    Behaviour, st.integers(1, 5), st.integers(0, 10**12), st.sampled_from(["milk", "eggs", "🍕", "beer"])
)


@st.composite
def requests(draw: st.DrawFn) -> HintRequest:
    window = tuple(draw(st.lists(behaviours, max_size=WINDOW_LIMIT)))
    rows = np.arange((len(window) + 2) * DIM, dtype=np.int64) % 251 - 125
    vectors = rows.astype(np.int8).reshape(-1, DIM)
    as_of_ms = max((behaviour.at_ms for behaviour in window), default=0)
    return HintRequest("u", Version(as_of_ms, 0), "first", 1.0, "e", window, vectors[:-2], vectors[-2:])


@given(st.lists(requests(), min_size=1, max_size=5))
def test_a_row_does_not_depend_on_its_batch_mates(batch: list[HintRequest]) -> None:
    together = context_arrays(batch)
    for row, request in enumerate(batch):
        alone = context_arrays([request])
        for name, values in together.inputs().items():
            assert np.array_equal(values[row], alone.inputs()[name][0])


@given(requests())
def test_codes_are_within_their_tables_and_padding_is_zero(request: HintRequest) -> None:
    contexts = context_arrays([request])
    count = len(request.behaviours)
    for codes, size in ((contexts.actions, ACTIONS), (contexts.ages, AGES), (contexts.repeats, REPEATS)):
        assert codes.shape == (1, WINDOW_LIMIT)
        assert codes.dtype == np.int32
        assert ((codes[0, :count] >= 1) & (codes[0, :count] < size)).all()
        assert not codes[0, count:].any()
    assert not contexts.events[0, count:].any()


def test_repeats_count_the_same_text_and_ages_grow_with_time() -> None:
    hour_ms = 3_600_000
    window = tuple(
        Behaviour(5, 10**12 - age_ms, text)
        for age_ms, text in ((0, "milk"), (hour_ms, "eggs"), (9 * 24 * hour_ms, "milk"))
    )
    request = HintRequest(
        "u",
        Version(10**12, 0),
        "first",
        1.0,
        "e",
        window,
        np.ones((3, DIM), np.int8),
        np.ones((2, DIM), np.int8),
    )
    contexts = context_arrays([request])
    assert contexts.repeats[0, :3].tolist() == [2, 1, 2]
    ages = contexts.ages[0, :3].tolist()
    assert ages == sorted(set(ages))


def test_no_requests_give_no_rows() -> None:
    assert len(context_arrays([])) == 0
