"""Training samples: a household's state as live sessions keep it, and nothing from the future."""

import numpy as np
import polars as pl
import pytest

from agents.session.interest import ACTION_CODES, Interest
from agents.session.step import Rules, apply_event
from streams.hint_request import HintRequest, Int8
from streams.records import Action, BehaviorEvent, Source
from training.datasets.complete_journey import Span
from training.datasets.events import events_of
from training.sessions import NEXT, REST, Sample, SampleMaker

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
    baskets = [
        (1, 11, 0, ["milk", "eggs", "beer", "soap", "bread"]),
        (1, 12, 7, ["milk", "tea"]),
        (1, 13, 14, ["milk", "eggs", "beer", "soap", "tea"]),
        (1, 14, 200, ["milk"]),
        (2, 21, 3, ["soap"]),
    ]
    rows = [
        (household, basket, START_MS + day * DAY_MS, f"T/{phrase}", phrase, "things", 1, 1.0)
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
    return list(SampleMaker(Letters(), numbers, SPAN, **changes).pairs(purchases))  # type: ignore[arg-type]


def test_the_state_is_the_one_that_live_sessions_reach(purchases: pl.DataFrame) -> None:
    last = pairs(purchases, tasks=(NEXT,), opened=False)[2][1]
    state = None
    events = events_of(purchases.filter(pl.col("household_id") == 1), seed=0)
    for offset, event in enumerate(events):
        if event["session_id"] in ("11", "12"):
            step = apply_event(
                state, BehaviorEvent.model_validate(event), Source("t", 0, offset), Rules(Letters(), "b")
            )
            state = step.state or state
    assert state is not None
    assert last.behaviours == state.window
    assert last.version.as_of_ms == state.interest.at_ms
    assert np.abs(last.interests.astype(int) - state.interest.unit().astype(int)).max() <= 1


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


def test_habit_counts_older_baskets_only_and_later_ones_follow(purchases: pl.DataFrame) -> None:
    third = pairs(purchases, tasks=(NEXT,))[2][0]
    weights = dict(zip((PHRASES[item] for item in third.items), third.habit, strict=True))
    assert weights["milk"] == pytest.approx(2 ** (-14 / 90) + 2 ** (-7 / 90), rel=1e-4)
    assert weights["tea"] == pytest.approx(2 ** (-7 / 90), rel=1e-4)
    second = pairs(purchases, tasks=(NEXT,))[1][0]
    assert [PHRASES[item] for item in second.later] == ["eggs", "beer", "soap"]


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
