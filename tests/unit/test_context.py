"""Hint requests as arrays: padded alike, row by row independent, with each query's past in one place."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.hints.context import (
    ACTIONS,
    AGE_BOUNDS_S,
    AGE_STEPS,
    AGES,
    COUNT_STEPS,
    HABIT_BLOCK,
    HABITS,
    REPEATS,
    VISIT_AGE,
    Contexts,
    QueryIndex,
    context_arrays,
)
from agents.session.habit import (
    HABIT_HALF_LIFE_S,
    HABIT_LIMIT,
    HABIT_WEIGHTS,
    NO_HABIT,
    text_digest,
    with_behaviour,
)
from agents.session.interest import ACTION_CODES
from agents.session.window import WINDOW_LIMIT
from streams.hint_request import HABIT_BYTES, Behaviour, HintRequest, Version
from streams.records import Action

DIM = 4
NOW_MS = 10**12
HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
HALF_LIFE_MS = int(1000 * HABIT_HALF_LIFE_S)
PURCHASE, SEARCH = ACTION_CODES[Action.PURCHASE], ACTION_CODES[Action.SEARCH]
LEXICON = ["beer", "milk", "ground coffee", "eggs"]
INDEX = QueryIndex(LEXICON)
behaviours = st.builds(
    Behaviour, st.integers(1, 5), st.integers(0, NOW_MS), st.sampled_from(["milk", "Eggs ", "🍕", "beer"])
)


def request_of(window: tuple[Behaviour, ...], older: tuple[Behaviour, ...] = ()) -> HintRequest:
    rows = np.arange((len(window) + 2) * DIM, dtype=np.int64) % 251 - 125
    vectors = rows.astype(np.int8).reshape(-1, DIM)
    habit = NO_HABIT
    for behaviour in older:
        habit = with_behaviour(habit, behaviour)
    version = Version(NOW_MS, 0)
    return HintRequest("u", version, "first", 1.0, "e", window, vectors[:-2], vectors[-2:], habit=habit)


@st.composite
def requests(draw: st.DrawFn) -> HintRequest:
    window = tuple(draw(st.lists(behaviours, max_size=WINDOW_LIMIT)))
    return request_of(window, tuple(draw(st.lists(behaviours, max_size=10))))


def past_of(request: HintRequest) -> dict[str, tuple[int, int]]:
    """Codes of count and age by query, in the order of the array."""
    rows = context_arrays([request], INDEX).habits[0]
    known = int((rows[:, 0] > 0).sum())
    assert not rows[known:].any()
    return {LEXICON[number - 1]: (int(count), int(age)) for number, count, age in rows[:known]}


def codes(count: float, age_ms: float) -> tuple[int, int]:
    return (
        round(COUNT_STEPS * np.log2(1 + count)),
        round(AGE_STEPS * np.log2(1 + age_ms / HOUR_MS)),
    )


def bought(text: str, ago_ms: int) -> Behaviour:
    return Behaviour(PURCHASE, NOW_MS - ago_ms, text)


@given(st.lists(requests(), min_size=1, max_size=5))
def test_a_row_does_not_depend_on_its_batch_mates(batch: list[HintRequest]) -> None:
    together = context_arrays(batch, INDEX)
    for row, request in enumerate(batch):
        alone = context_arrays([request], INDEX)
        for name, values in together.inputs().items():
            assert np.array_equal(values[row], alone.inputs()[name][0])


@given(requests())
def test_codes_are_within_their_tables_and_padding_is_zero(request: HintRequest) -> None:
    contexts = context_arrays([request], INDEX)
    count = len(request.behaviours)
    for codes, size in ((contexts.actions, ACTIONS), (contexts.ages, AGES), (contexts.repeats, REPEATS)):
        assert codes.shape == (1, WINDOW_LIMIT)
        assert codes.dtype == np.int32
        assert ((codes[0, :count] >= 1) & (codes[0, :count] < size)).all()
        assert not codes[0, count:].any()
    assert not contexts.events[0, count:].any()
    assert contexts.habits.shape == (1, HABITS, 3)
    assert contexts.habits.dtype == np.int16
    assert (contexts.habits >= 0).all()
    assert contexts.habits[0, :, 0].max() <= len(LEXICON)


def test_repeats_count_the_same_text_and_ages_grow_with_time() -> None:
    window = (bought("milk", 0), bought("eggs", HOUR_MS), bought("milk", 9 * DAY_MS))
    contexts = context_arrays([request_of(window)], INDEX)
    assert contexts.repeats[0, :3].tolist() == [2, 1, 2]
    ages = contexts.ages[0, :3].tolist()
    assert ages == sorted(set(ages))


def test_codes_up_to_the_visits_age_are_those_within_the_hour() -> None:
    agos_ms = (0, 999, 59_000, HOUR_MS - 1, HOUR_MS, 2 * HOUR_MS, 300 * DAY_MS)
    contexts = context_arrays([request_of(tuple(bought("milk", ago) for ago in agos_ms))], INDEX)
    recent = contexts.ages[0, : len(agos_ms)] <= VISIT_AGE
    assert recent.tolist() == [True] * 4 + [False] * 3
    assert contexts.ages[0, len(agos_ms) - 1] == len(AGE_BOUNDS_S) + 1 == AGES - 1


def test_no_requests_give_no_rows() -> None:
    empty = context_arrays([], INDEX)
    assert len(empty) == 0
    assert empty.inputs().keys() == Contexts.__dataclass_fields__.keys()


def test_the_past_of_a_query_by_hand_from_window_and_habit() -> None:
    window = (bought("milk", HOUR_MS), Behaviour(SEARCH, NOW_MS - 3 * HOUR_MS, "beer"))
    request = request_of(window, (bought("milk", HALF_LIFE_MS), bought("eggs", 2 * HALF_LIFE_MS)))
    hour = 2 ** (-HOUR_MS / HALF_LIFE_MS)
    assert past_of(request) == {
        "milk": codes(0.5 + hour, HOUR_MS),
        "beer": codes(HABIT_WEIGHTS[SEARCH] * hour**3, 3 * HOUR_MS),
        "eggs": codes(0.25, 2 * HALF_LIFE_MS),
    }


def test_the_largest_counts_come_first_and_equal_ones_by_number() -> None:
    window = tuple(bought(text, DAY_MS) for text in ("eggs", "milk", "beer", "eggs"))
    assert list(past_of(request_of(window))) == ["eggs", "beer", "milk"]


def test_texts_that_mean_one_query_count_together_and_others_not_at_all() -> None:
    window = (bought("Ground  COFFEE", 0), bought("ground coffee", 0), bought("caviar", 0))
    request = request_of(window, (bought("caviar", DAY_MS), bought("GROUND COFFEE", 0)))
    assert past_of(request) == {"ground coffee": codes(3.0, 0)}


def test_a_past_of_later_times_is_of_now() -> None:
    """A late request may be older than what its habit remembers."""
    request = request_of((bought("milk", -HOUR_MS),), (bought("eggs", -DAY_MS),))
    assert past_of(request) == {"milk": codes(1.0, 0), "eggs": codes(1.0, 0)}


def test_a_shopper_without_a_past_has_none_and_a_full_one_fits() -> None:
    assert past_of(request_of(())) == {}
    lexicon = [f"thing {number}" for number in range(HABITS + 10)]
    window = tuple(bought(text, DAY_MS) for text in lexicon[:WINDOW_LIMIT])
    full = request_of(window, tuple(bought(text, 40 * DAY_MS) for text in lexicon[WINDOW_LIMIT:]))
    assert len(full.habit) == HABIT_LIMIT * HABIT_BYTES
    rows = context_arrays([full], QueryIndex(lexicon)).habits[0]
    assert (rows[:, 0] > 0).all()
    assert len(set(rows[:, 0].tolist())) == HABITS
    assert rows[:WINDOW_LIMIT, 0].tolist() == list(range(1, WINDOW_LIMIT + 1))


def test_graphs_get_the_past_in_blocks_without_most_of_its_padding() -> None:
    lexicon = [f"thing {number}" for number in range(40)]
    pasts = (0, HABIT_BLOCK, HABIT_BLOCK + 1)
    requests = [request_of((), tuple(bought(text, DAY_MS) for text in lexicon[:count])) for count in pasts]
    contexts = context_arrays(requests, QueryIndex(lexicon))
    inputs = contexts.graph_inputs()
    assert inputs["habit_rows"].tolist() == [0, 1, 2, 2]
    assert inputs["habits"].shape == (4, HABIT_BLOCK, 3)
    assert (inputs["habits"][:, :, 0] > 0).sum(1).tolist() == [0, HABIT_BLOCK, HABIT_BLOCK, 1]
    assert np.array_equal(inputs["habits"][2:].reshape(-1, 3), contexts.habits[2, : 2 * HABIT_BLOCK])
    others = contexts.inputs()
    assert all(inputs[name] is others[name] for name in others if name != "habits")


def test_the_age_of_a_habit_grows_while_its_entry_stays() -> None:
    request = request_of((), (bought("milk", 0),))
    later = replace(request, version=Version(NOW_MS + HALF_LIFE_MS, 0))
    assert past_of(request) == {"milk": codes(1.0, 0)}
    assert past_of(later) == {"milk": codes(0.5, HALF_LIFE_MS)}


def test_the_index_finds_every_query_by_its_digest_and_no_other() -> None:
    lexicon = [f"query {number}" for number in range(500)]
    index = QueryIndex(lexicon)
    places = np.random.default_rng(0).permutation(len(lexicon))
    digests = np.array([text_digest(lexicon[place].upper()) for place in places], np.int64)
    assert index.numbers(digests).tolist() == places.tolist()
    others = np.array([text_digest(f"other {number}") for number in range(500)], np.int64)
    assert set(index.numbers(others)) == {-1}
    assert index.numbers(np.array([2**32 - 1, 0], np.int64)).tolist() == [-1, -1]
    assert index.numbers(np.zeros(0, np.int64)).tolist() == []


def test_an_index_of_nothing_finds_nothing() -> None:
    assert QueryIndex([]).numbers(np.array([text_digest("milk")])).tolist() == [-1]


@pytest.mark.parametrize("order", [LEXICON, LEXICON[::-1]])
def test_numbers_are_places_in_the_lexicon(order: list[str]) -> None:
    rows = context_arrays([request_of((bought("milk", 0),))], QueryIndex(order)).habits[0]
    assert rows[0, 0] == order.index("milk") + 1
