"""Training samples: a household's state as live sessions keep it, and nothing from the future."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from agents.hints.context import COUNT_STEPS, QueryIndex, context_arrays
from agents.session.habit import NO_HABIT, Entries, with_behaviour
from agents.session.interest import ACTION_CODES, Interest
from agents.session.state import SessionState
from agents.session.step import Rules, apply_event
from agents.session.window import WINDOW_LIMIT
from streams.hint_request import HintRequest, Int8
from streams.records import Action, BehaviorEvent, Source
from training.baskets import household_baskets
from training.datasets.complete_journey import Span
from training.datasets.events import events_of
from training.sessions import NEXT, REST, Sample, SampleMaker, joined, taken

DAY_MS = 86_400_000
START_MS = 1_500_000_000_000
PHRASES = ["milk", "eggs", "beer", "soap", "bread", "tea"]
SPAN = Span(START_MS, START_MS + 100 * DAY_MS)


class Letters:
    """A text encoder that counts letters."""

    name = "letters"
    dim = 26

    def embed(self, text: str) -> Int8:
        counts = np.array([text.count(chr(97 + place)) for place in range(26)], float)
        vector: Int8 = np.rint(127 * counts / max(1e-9, np.linalg.norm(counts))).astype(np.int8)
        return vector


@pytest.fixture(scope="module")
def purchases() -> pl.DataFrame:
    """Household 1: three baskets a week apart, then one of half a year later; household 2: one basket."""
    return purchases_of(
        (1, 11, 0, ["milk", "eggs", "beer", "soap", "bread"]),
        (1, 12, 7, ["milk", "tea"]),
        (1, 13, 14, ["milk", "eggs", "beer", "soap", "tea"]),
        (1, 14, 200, ["milk"]),
        (2, 21, 3, ["soap"]),
    )


def purchases_of(*baskets: tuple[int, int, float, list[str]]) -> pl.DataFrame:
    """Baskets of (household, basket, day, phrases)."""
    rows = [
        (household, basket, START_MS + int(day * DAY_MS), f"T/{phrase}", phrase, "things", 1, 1.0)
        for household, basket, day, phrases in baskets
        for phrase in phrases
    ]
    columns = [
        "household_id",
        "basket_id",
        "time_ms",
        "type_id",
        "phrase",
        "category_phrase",
        "quantity",
        "sales_value",
    ]
    return pl.DataFrame(rows, schema=columns, orient="row").sort(
        "household_id", "time_ms", "basket_id", "type_id"
    )


def pairs(purchases: pl.DataFrame, **changes: object) -> list[tuple[Sample, HintRequest]]:
    numbers = {phrase: number for number, phrase in enumerate(PHRASES)}
    return list(SampleMaker(Letters(), numbers, SPAN, **changes).pairs(purchases))


def test_the_state_is_the_one_that_live_sessions_reach(purchases: pl.DataFrame) -> None:
    assert_as_live(purchases.filter(pl.col("household_id") == 1), 2)


def test_what_has_left_the_window_is_in_the_requests_habit_as_in_live_sessions() -> None:
    things = [f"thing {number}" for number in range(20)]
    weekly = purchases_of(*((1, 10 + week, 7 * week, [*things[week:], "milk"]) for week in range(6)))
    request = assert_as_live(weekly, 5)
    ((_, baskets),) = household_baskets(weekly, 0)
    past = [one for basket in baskets[:5] for one in (*basket.searches, *basket.purchases)]
    expected = NO_HABIT
    for behaviour in set(past) - set(request.behaviours):
        expected = with_behaviour(expected, behaviour)
    assert len(request.behaviours) == WINDOW_LIMIT
    assert_same_habit(request.habit, expected)


def test_what_comes_too_late_for_a_live_session_is_left_out_here_too() -> None:
    """The searches before a basket, when the one before it was long and of the same minute."""
    long = [f"thing {number}" for number in range(60)]
    others = [f"other {number}" for number in range(30)]
    at_once = purchases_of((1, 11, 0, long), (1, 12, 60_000 / DAY_MS, others), (1, 13, 1, ["milk"]))
    (_, baskets) = next(household_baskets(at_once, 0))
    assert baskets[1].searches[0].at_ms < baskets[0].purchases[-WINDOW_LIMIT].at_ms
    assert_as_live(at_once, 2, by_basket=True)


def assert_as_live(purchases: pl.DataFrame, row: int, *, by_basket: bool = False) -> HintRequest:
    """The request of a household's NEXT sample is what its session would have sent after the older events,
    in order of time or basket by basket."""
    sample, request = pairs(purchases, tasks=(NEXT,), opened=False, honest=True)[row]
    events = list(events_of(purchases, seed=0))
    if by_basket:
        events.sort(key=lambda event: (event["session_id"], event["timestamp"]))
    state: SessionState | None = None
    for offset, event in enumerate(events):
        if int(event["session_id"]) < sample.basket_id:
            step = apply_event(
                state, BehaviorEvent.model_validate(event), Source("t", 0, offset), Rules(Letters(), "b")
            )
            state = step.state or state
    assert state is not None
    assert request.behaviours == state.window.behaviours()
    assert request.version.as_of_ms == state.interest.at_ms
    assert np.abs(request.interests.astype(int) - state.interest.unit().astype(int)).max() <= 1
    assert_same_habit(request.habit, state.habit)
    return request


def assert_same_habit(one: bytes, other: bytes) -> None:
    """The order of arrival may have rounded counts otherwise."""
    ours, theirs = Entries.of(one), Entries.of(other)
    assert (ours.texts.tolist(), ours.last_s.tolist()) == (theirs.texts.tolist(), theirs.last_s.tolist())
    assert ours.counts == pytest.approx(theirs.counts, rel=1e-2)


def test_the_next_basket_is_asked_for_before_its_own_events(purchases: pl.DataFrame) -> None:
    for sample, request in pairs(purchases, tasks=(NEXT,), opened=True):
        assert request.version.as_of_ms == sample.time_ms
        assert all(behaviour.at_ms < sample.time_ms - DAY_MS for behaviour in request.behaviours)


def test_first_visits_have_an_empty_context(purchases: pl.DataFrame) -> None:
    first = [request for _, request in pairs(purchases, tasks=(NEXT,)) if not request.behaviours]
    assert [request.user for request in first] == ["hh-1", "hh-2"]
    assert not first[0].interests.any()
    assert np.array_equal(first[0].interests, Interest.empty(26).unit())


def test_what_was_bought_of_a_basket_is_not_still_to_come(purchases: pl.DataFrame) -> None:
    rest = pairs(purchases, tasks=(REST,), honest=True)
    assert [len(sample.items) for sample, _ in rest] == [3, 3]
    for sample, request in rest:
        fresh = {b.text for b in request.behaviours if b.at_ms >= sample.time_ms}
        assert len(fresh) == 2
        assert not fresh & sample.texts
        assert sample.texts == {PHRASES[item] for item in sample.items}


def test_honest_samples_never_see_the_baskets_own_searches(purchases: pl.DataFrame) -> None:
    search = ACTION_CODES[Action.SEARCH]
    for seed in range(20):
        for sample, request in pairs(purchases, honest=True, seed=seed):
            own = [b for b in request.behaviours if b.at_ms > sample.time_ms - DAY_MS]
            assert all(behaviour.action != search for behaviour in own)


def test_a_sample_names_its_basket(purchases: pl.DataFrame) -> None:
    named = [
        (sample.household_id, sample.basket_id, sample.task) for sample, _ in pairs(purchases, honest=True)
    ]
    assert named == [(1, 11, NEXT), (1, 11, REST), (1, 12, NEXT), (1, 13, NEXT), (1, 13, REST), (2, 21, NEXT)]


def test_habit_counts_older_baskets_only(purchases: pl.DataFrame) -> None:
    third = pairs(purchases, tasks=(NEXT,))[2][0]
    weights = dict(zip((PHRASES[item] for item in third.items), third.habit, strict=True))
    assert weights["milk"] == pytest.approx(2 ** (-14 / 90) + 2 ** (-7 / 90), rel=1e-4)
    assert weights["tea"] == pytest.approx(2 ** (-7 / 90), rel=1e-4)
    first, second = (pairs(purchases, tasks=(NEXT,))[row][0] for row in (0, 1))
    assert first.habit == (0.0,) * 5
    assert dict(zip(second.items, second.habit, strict=True))[PHRASES.index("tea")] == 0.0


def test_arrays_hold_the_past_by_number_from_window_and_habit_together(purchases: pl.DataFrame) -> None:
    made = pairs(purchases, honest=True, opened=True)
    numbers = {phrase: number for number, phrase in enumerate(PHRASES)}
    samples = SampleMaker(Letters(), numbers, SPAN, honest=True, opened=True).make(purchases)
    assert samples.samples == [sample for sample, _ in made]
    whole = context_arrays([request for _, request in made], QueryIndex(PHRASES))
    for name, array in samples.contexts.inputs().items():
        assert np.array_equal(array, whole.inputs()[name]), name
    second = samples.contexts.habits[2]  # the week after milk, eggs, beer, soap and bread
    assert {PHRASES[number - 1] for number in second[:, 0] if number} == set(PHRASES) - {"tea"}
    # Each was bought once a week ago, and at most searched for, which counts a quarter.
    low, high = (np.rint(COUNT_STEPS * np.log2(1 + count * 2 ** (-7 / 60))) for count in (1, 1.25))
    assert all(low <= code <= high for code in second[:5, 1])


def test_rows_are_taken_and_put_together_with_all_their_arrays(purchases: pl.DataFrame) -> None:
    numbers = {phrase: number for number, phrase in enumerate(PHRASES)}
    samples = SampleMaker(Letters(), numbers, SPAN, honest=True).make(purchases)
    order = np.array([3, 0, 0])
    some = samples.at(order)
    assert some.samples == [samples.samples[row] for row in order]
    again = joined([taken(samples.contexts, order[:1]), taken(samples.contexts, order[1:])])
    for name, array in some.contexts.inputs().items():
        assert array.dtype == samples.contexts.inputs()[name].dtype
        assert np.array_equal(array, samples.contexts.inputs()[name][order])
        assert np.array_equal(array, again.inputs()[name])


def test_baskets_of_the_same_second_are_no_history_of_each_other(purchases: pl.DataFrame) -> None:
    moved = purchases.with_columns(
        pl.when(pl.col("basket_id") == 12).then(START_MS).otherwise(pl.col("time_ms")).alias("time_ms")
    )
    together = pairs(moved, tasks=(NEXT,))[:2]
    assert [request.behaviours for _, request in together] == [(), ()]


def test_only_baskets_of_the_span_are_samples(purchases: pl.DataFrame) -> None:
    assert {sample.time_ms for sample, _ in pairs(purchases)} == {
        START_MS + day * DAY_MS for day in (0, 3, 7, 14)
    }
