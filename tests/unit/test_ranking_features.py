"""What the click ranker knows of a shopper and a query, number by number."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.hints.context import (
    AGE_STEPS,
    COUNT_STEPS,
    HABITS,
    VISIT_AGE,
    Contexts,
    QueryIndex,
    context_arrays,
)
from agents.hints.ranking_features import RANKING_FEATURES, F, Float32, Int64, ranking_features
from agents.session.interest import ACTION_CODES
from agents.session.window import WINDOW_LIMIT
from streams.hint_request import Behaviour, HintRequest, Version
from streams.records import Action

DIM, QUERIES = 4, 6
UNITS = np.eye(QUERIES, DIM, dtype=np.float32)  # queries 4 and 5 have no direction of their own
UNITS[4], UNITS[5] = (0.6, 0.8, 0, 0), (-1, 0, 0, 0)
POPULAR = np.log1p(np.array([100, 50, 20, 10, 5, 0], np.float32))
EVERY = np.arange(QUERIES)
NOW_MS = 10**12
HOUR_MS = 3_600_000


def blank(rows: int = 1) -> Contexts:
    """Nobody knows anything."""
    actions, ages, repeats = (np.zeros((rows, WINDOW_LIMIT), np.int32) for _ in range(3))
    events, interests = np.zeros((rows, WINDOW_LIMIT, DIM), np.int8), np.zeros((rows, 2, DIM), np.int8)
    return Contexts(events, actions, ages, repeats, interests, np.zeros((rows, HABITS, 3), np.int16))


def remembered(context: Contexts, *past: tuple[int, float, float]) -> Contexts:
    """One context with a past of (query, count, hours since)."""
    for place, (query, count, hours) in enumerate(past):
        codes = (query + 1, COUNT_STEPS * math.log2(1 + count), AGE_STEPS * math.log2(1 + hours))
        context.habits[0, place] = [round(code) for code in codes]
    return context


def saw(context: Contexts, *window: tuple[int, int]) -> Contexts:
    """One context with a window of (query, age code)."""
    for place, (query, age) in enumerate(window):
        context.events[0, place] = np.rint(UNITS[query] * 127)
        context.actions[0, place], context.ages[0, place], context.repeats[0, place] = 5, age, 1
    return context


def features(context: Contexts, numbers: Int64 = EVERY) -> dict[str, list[float]]:
    """By name, of the first context."""
    found = ranking_features(context, UNITS, POPULAR, numbers)
    assert found.shape == (len(context), QUERIES, F)
    assert found.dtype == np.float32
    return {name: found[0, :, place].tolist() for place, name in enumerate(RANKING_FEATURES)}


def random_contexts(seed: int, rows: int = 3) -> Contexts:
    noise, made = np.random.default_rng(seed), blank(rows)
    made.events[:] = noise.integers(-127, 128, made.events.shape)
    made.interests[:] = noise.integers(-127, 128, made.interests.shape)
    made.actions[:], made.repeats[:] = 5, 1
    made.ages[:] = noise.integers(1, 20, made.ages.shape)
    for row in range(rows):
        count = int(noise.integers(0, QUERIES + 1))
        made.habits[row, :count, 0] = 1 + noise.permutation(QUERIES)[:count]
        made.habits[row, :count, 1:] = noise.integers(1, 200, (count, 2))
    return made


def test_a_shopper_of_whom_nothing_is_known() -> None:
    found = features(blank())
    assert found["log_popularity"] == pytest.approx((POPULAR / 10).tolist())
    assert found["unknown"] == [1.0] * QUERIES
    silent = set(RANKING_FEATURES) - {"log_popularity", "unknown"}
    assert all(found[name] == [0.0] * QUERIES for name in silent)


def test_interests_are_compared_by_cosine() -> None:
    context = blank()
    context.interests[0, 0, 0], context.interests[0, 1, 1] = 127, -127
    found = features(context)
    assert found["visit"] == pytest.approx([1, 0, 0, 0, 0.6, -1])
    assert found["shopper"] == pytest.approx([0, -1, 0, 0, -0.8, 0])


def test_the_window_by_its_nearest_and_by_its_last_hour() -> None:
    found = features(saw(blank(), (0, 1), (4, VISIT_AGE), (0, VISIT_AGE + 1)))
    assert found["nearest"] == pytest.approx([1, 0.8, 0, 0, 1, 0], abs=0.01)  # −1 is no nearness
    along = [1 + 0.6, 0.8, 0, 0, 0.6 + 1, 0]
    assert found["along"] == pytest.approx(np.log1p(along).tolist(), abs=0.01)
    assert found["under_way"] == [1.0] * QUERIES


def test_an_hour_later_no_visit_is_under_way() -> None:
    found = features(saw(blank(), (0, VISIT_AGE + 1)))
    assert found["nearest"][0] == pytest.approx(1.0)
    assert found["along"] == [0.0] * QUERIES
    assert found["under_way"] == [0.0] * QUERIES


def test_the_shoppers_own_past_by_hand() -> None:
    found = features(remembered(blank(), (1, 7, 24), (4, 1, 3), (2, 0.5, 900)))
    log = np.log2
    assert found["count"] == pytest.approx([0, 3, log(1.5), 0, 1, 0], abs=1 / COUNT_STEPS)
    assert found["count_share"] == pytest.approx([0, 1, log(1.5) / 3, 0, 1 / 3, 0], abs=0.01)
    ages = [0, log(25) / 10, log(901) / 10, 0, log(4) / 10, 0]
    assert found["age"] == pytest.approx(ages, abs=0.1 / AGE_STEPS)
    assert found["unknown"] == [1, 0, 0, 1, 0, 1]
    assert found["past"] == pytest.approx([math.log1p(8.5) / 5] * QUERIES, abs=0.01)
    assert found["quiet"] == pytest.approx([log(4) / 10] * QUERIES, abs=0.1 / AGE_STEPS)


def test_a_query_out_of_the_lexicon_has_no_past_of_its_own() -> None:
    context = remembered(saw(blank(), (0, 1)), (0, 7, 24), (5, 1, 3))
    known = features(context)
    unseen = features(context, np.full(QUERIES, -1))
    own = ("count", "count_share", "age", "unknown")
    for name in RANKING_FEATURES:
        if name not in own:
            assert unseen[name] == known[name]
    assert [unseen[name] for name in own] == [[0.0] * QUERIES] * 3 + [[1.0] * QUERIES]


def test_a_number_beyond_the_past_is_just_unknown() -> None:
    found = ranking_features(remembered(blank(), (0, 1, 1)), UNITS[:1], POPULAR[:1], np.array([5000]))
    assert found[0, 0, RANKING_FEATURES.index("unknown")] == 1.0


@given(st.integers(0, 10_000))
@settings(max_examples=20, deadline=None)
def test_queries_of_its_own_and_of_all_give_the_same(seed: int) -> None:
    contexts = random_contexts(seed)
    numbers = np.random.default_rng(seed).integers(-1, QUERIES, (3, 4))
    own = ranking_features(contexts, UNITS[numbers], POPULAR[numbers], numbers)
    assert own.shape == (3, 4, F)
    for row in range(3):
        alone = shared(contexts, row, numbers[row])
        assert own[row] == pytest.approx(alone, abs=1e-6)


def shared(contexts: Contexts, row: int, numbers: Int64) -> Float32:
    """(N, F) of one context, the queries given as everybody's."""
    made: Float32 = ranking_features(contexts, UNITS[numbers], POPULAR[numbers], numbers)[row]
    return made


@given(st.integers(0, 10_000))
@settings(max_examples=20, deadline=None)
def test_padding_says_nothing_and_the_order_of_the_past_neither(seed: int) -> None:
    contexts = random_contexts(seed)
    before = ranking_features(contexts, UNITS, POPULAR, EVERY)
    padding = contexts.habits[:, :, 0] == 0
    contexts.habits[padding] = (0, 77, 3)
    mixed = np.random.default_rng(seed).permutation(HABITS)
    contexts.habits[:] = contexts.habits[:, mixed]
    assert ranking_features(contexts, UNITS, POPULAR, EVERY) == pytest.approx(before, abs=1e-6)


def test_a_live_request_gives_what_it_should() -> None:
    """Milk twice, two hours ago and a minute ago; eggs never."""
    buy, texts = ACTION_CODES[Action.PURCHASE], ["milk", "eggs"]
    window = tuple(Behaviour(buy, NOW_MS - age_ms, "milk") for age_ms in (60_000, 2 * HOUR_MS))
    vectors = np.array([[127, 0, 0, 0]] * 2, np.int8)
    zeros = np.zeros((2, DIM), np.int8)
    request = HintRequest("u", Version(NOW_MS, 0), "first", 1.0, "e", window, vectors, zeros)
    contexts = context_arrays([request], QueryIndex(texts))
    made = ranking_features(contexts, UNITS[:2], POPULAR[:2], np.array([0, 1]))
    found = {name: made[0, :, place].tolist() for place, name in enumerate(RANKING_FEATURES)}
    assert found["count"] == pytest.approx([math.log2(3), 0], abs=1 / COUNT_STEPS)
    assert found["unknown"] == [0, 1]
    assert found["age"][0] == found["quiet"][0] == pytest.approx(0.0, abs=0.1 / AGE_STEPS)
    assert found["along"] == pytest.approx([math.log(2), 0])  # the older one is not of this hour
    assert found["under_way"] == [1, 1]
