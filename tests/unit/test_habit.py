"""Habit: decayed counts of what has left the window, whatever order it came in."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.session.habit import (
    HABIT_HALF_LIFE_S,
    HABIT_LIMIT,
    HABIT_WEIGHTS,
    HOUR_S,
    NO_HABIT,
    Entries,
    merged,
    text_digest,
    with_all,
    with_behaviour,
)
from agents.session.interest import ACTION_CODES
from agents.session.window import WINDOW_LIMIT, Window
from streams.hint_request import HABIT_BYTES, Behaviour
from streams.records import Action
from tests.support import DAY_MS, NOON_MS

PURCHASE, SEARCH = ACTION_CODES[Action.PURCHASE], ACTION_CODES[Action.SEARCH]
STEP = 0.00175  # half a step of a count, the most that one rounding changes
HALF_LIFE_MS = int(1000 * HABIT_HALF_LIFE_S)
behaviours = st.builds(
    Behaviour,
    st.integers(1, 5),
    st.integers(0, 400).map(lambda day: NOON_MS + day * DAY_MS),
    st.sampled_from(["milk", "Eggs", "ground  coffee", "🍕", "crème brûlée"]),
)


def habit_of(*behaviours: Behaviour, limit: int = HABIT_LIMIT) -> bytes:
    habit = NO_HABIT
    for behaviour in behaviours:
        habit = with_behaviour(habit, behaviour, limit)
    return habit


def remember(window: Window, habit: bytes, behaviour: Behaviour) -> tuple[Window, bytes]:
    grown = window.with_behaviour(behaviour)
    assert grown is not None  # not too late
    return grown[0], with_all(habit, grown[1])


def entry_of(habit: bytes, text: str) -> tuple[int, float]:
    """Epoch seconds of the last behaviour, to the hour, and the count then."""
    entries = Entries.of(habit)
    (place,) = np.flatnonzero(entries.texts == text_digest(text))
    return int(entries.last_s[place]), float(entries.counts[place])


def to_the_hour(at_ms: int) -> int:
    return round(at_ms / 1000 / HOUR_S) * HOUR_S


def counts_at(habit: bytes, at_ms: int) -> object:
    return pytest.approx(Entries.of(habit).counts_at(at_ms).tolist(), rel=STEP)


def texts_of(habit: bytes, texts: list[str]) -> set[str]:
    return {text for text in texts if text_digest(text) in Entries.of(habit).texts}


def test_counts_decay_by_half_in_a_half_life() -> None:
    twice = habit_of(
        Behaviour(PURCHASE, NOON_MS, "milk"), Behaviour(PURCHASE, NOON_MS + HALF_LIFE_MS, "milk")
    )
    assert entry_of(twice, "milk") == (to_the_hour(NOON_MS + HALF_LIFE_MS), pytest.approx(1.5, rel=STEP))
    assert counts_at(twice, NOON_MS + HALF_LIFE_MS) == [1.5]
    assert counts_at(twice, NOON_MS + 3 * HALF_LIFE_MS) == [0.375]
    assert counts_at(twice, NOON_MS) == [1.5]  # never grows backwards
    assert counts_at(NO_HABIT, NOON_MS) == []


def test_time_alone_changes_no_entry_and_other_texts_none_of_each_other() -> None:
    milk = habit_of(Behaviour(PURCHASE, NOON_MS, "milk"))
    both = with_behaviour(milk, Behaviour(PURCHASE, NOON_MS + 100 * DAY_MS, "eggs"))
    assert entry_of(both, "milk") == entry_of(milk, "milk")
    assert (len(milk), len(both)) == (HABIT_BYTES, 2 * HABIT_BYTES)


def test_an_older_behaviour_adds_what_is_left_of_it() -> None:
    late = habit_of(Behaviour(PURCHASE, NOON_MS + HALF_LIFE_MS, "milk"), Behaviour(PURCHASE, NOON_MS, "milk"))
    assert entry_of(late, "milk") == (to_the_hour(NOON_MS + HALF_LIFE_MS), pytest.approx(1.5, rel=STEP))


def test_what_is_bought_weighs_most() -> None:
    counts = [entry_of(habit_of(Behaviour(code, NOON_MS, "milk")), "milk")[1] for code in range(1, 6)]
    assert counts == pytest.approx(HABIT_WEIGHTS[1:], rel=STEP)
    assert counts == sorted(counts)
    assert counts[PURCHASE - 1] == 1.0


def test_a_behaviour_of_a_far_future_counts_as_of_the_last_hour_there_is() -> None:
    assert entry_of(habit_of(Behaviour(PURCHASE, 2**45, "milk")), "milk") == ((2**20 - 1) * HOUR_S, 1.0)


def test_counts_have_ends() -> None:
    """Beyond them they stay: a thousand times a second for a month is nobody's habit."""
    many = habit_of(*[Behaviour(PURCHASE, NOON_MS, "milk")] * 2_000)
    assert 500 < entry_of(many, "milk")[1] <= 2_000  # a step is a third of a per cent, so it stops near there
    old = habit_of(Behaviour(1, NOON_MS, "milk"))
    for _ in range(50):
        old = with_behaviour(old, Behaviour(1, NOON_MS - 50 * HALF_LIFE_MS, "milk"))
    assert entry_of(old, "milk") == (to_the_hour(NOON_MS), pytest.approx(HABIT_WEIGHTS[1], rel=STEP))
    assert entry_of(habit_of(Behaviour(1, 0, "eggs"), Behaviour(1, NOON_MS, "milk")), "milk")[1] > 0.04


@given(st.lists(behaviours, max_size=30), st.lists(behaviours, max_size=30))
def test_two_habits_as_one_are_the_habit_of_both(mine: list[Behaviour], theirs: list[Behaviour]) -> None:
    one, other = merged(habit_of(*mine), habit_of(*theirs)), habit_of(*mine, *theirs)
    assert Entries.of(one).texts.tolist() == Entries.of(other).texts.tolist()
    assert Entries.of(one).last_s.tolist() == Entries.of(other).last_s.tolist()
    assert Entries.of(one).counts == pytest.approx(Entries.of(other).counts, rel=60 * STEP)


def test_two_full_habits_as_one_keep_what_counts_most() -> None:
    mine = habit_of(*(Behaviour(SEARCH, NOON_MS, f"mine {number}") for number in range(HABIT_LIMIT)))
    theirs = habit_of(*(Behaviour(PURCHASE, NOON_MS, f"theirs {number}") for number in range(HABIT_LIMIT)))
    for one in (merged(mine, theirs), merged(theirs, mine)):
        assert one == theirs


def test_case_and_spacing_do_not_matter() -> None:
    assert text_digest("  Whole\tMILK ") == text_digest("whole milk")
    assert text_digest("whole milk") != text_digest("wholemilk")
    assert 0 <= text_digest("🍕") < 2**32
    both = habit_of(Behaviour(PURCHASE, NOON_MS, "Milk"), Behaviour(PURCHASE, NOON_MS, " milk "))
    assert Entries.of(both).counts.tolist() == [2.0]


@given(st.lists(behaviours, max_size=30), st.randoms(use_true_random=False))
def test_any_order_of_arrival_gives_the_same_entries(arrived: list[Behaviour], chance: random.Random) -> None:
    one = habit_of(*arrived)
    other = habit_of(*chance.sample(arrived, len(arrived)))
    assert_same(one, other, len(arrived))
    assert Entries.of(one).texts.tolist() == sorted(Entries.of(one).texts.tolist())


def assert_same(one: bytes, other: bytes, roundings: int) -> None:
    ours, theirs = Entries.of(one), Entries.of(other)
    assert (ours.texts.tolist(), ours.last_s.tolist()) == (theirs.texts.tolist(), theirs.last_s.tolist())
    assert ours.counts == pytest.approx(theirs.counts, rel=roundings * STEP)


@given(st.lists(behaviours, min_size=1, max_size=30))
def test_entries_are_the_formulas_sums(arrived: list[Behaviour]) -> None:
    entries = habit_of(*arrived)
    for text in {behaviour.text for behaviour in arrived}:
        own = [behaviour for behaviour in arrived if behaviour.text == text]
        last_s = to_the_hour(max(behaviour.at_ms for behaviour in own))
        ages_s = [last_s - to_the_hour(behaviour.at_ms) for behaviour in own]
        decayed = [
            HABIT_WEIGHTS[one.action] * 2 ** (-age_s / HABIT_HALF_LIFE_S)
            for one, age_s in zip(own, ages_s, strict=True)
        ]
        assert entry_of(entries, text) == (last_s, pytest.approx(sum(decayed), rel=len(own) * STEP))


def test_beyond_the_limit_the_smallest_count_of_now_goes() -> None:
    old_twice = [Behaviour(PURCHASE, NOON_MS, "milk")] * 2
    lately = Behaviour(PURCHASE, NOON_MS + HALF_LIFE_MS, "eggs")
    before = Behaviour(SEARCH, NOON_MS + HALF_LIFE_MS, "soap")
    texts = ["milk", "eggs", "soap", "tea"]
    three = habit_of(*old_twice, lately, before, limit=3)
    assert texts_of(three, texts) == {"milk", "eggs", "soap"}
    # Two half-lives later milk counts 1/2, eggs 1/2, soap 1/8 and tea 1.
    newest = Behaviour(PURCHASE, NOON_MS + 2 * HALF_LIFE_MS, "tea")
    assert texts_of(with_behaviour(three, newest, 3), texts) == {"milk", "eggs", "tea"}
    # What is new may be the smallest itself, and then nothing changes.
    faint = Behaviour(1, NOON_MS, "tea")
    assert with_behaviour(three, faint, 3) == three


def test_never_more_entries_than_the_limit() -> None:
    entries = NO_HABIT
    for number in range(2 * HABIT_LIMIT):
        entries = with_behaviour(entries, Behaviour(PURCHASE, NOON_MS + number * DAY_MS, f"thing {number}"))
        assert len(entries) == HABIT_BYTES * min(number + 1, HABIT_LIMIT)
    newest = [f"thing {number}" for number in range(HABIT_LIMIT, 2 * HABIT_LIMIT)]
    assert texts_of(entries, newest) == set(newest)


def test_a_known_text_pushes_nothing_out_of_a_full_habit() -> None:
    full = habit_of(*(Behaviour(PURCHASE, NOON_MS, f"thing {number}") for number in range(HABIT_LIMIT)))
    again = with_behaviour(full, Behaviour(PURCHASE, NOON_MS, "thing 7"))
    assert Entries.of(again).texts.tolist() == Entries.of(full).texts.tolist()
    assert entry_of(again, "thing 7")[1] == 2.0


@pytest.mark.parametrize("length", [5, 80])
def test_what_falls_out_of_the_window_moves_into_habit(length: int) -> None:
    """Short texts fill the window by their number, long ones by their bytes, and push out several at once."""
    arrived = [
        Behaviour(PURCHASE, NOON_MS + number * DAY_MS, f"{number:02}".ljust(length if number % 7 else 2, "x"))
        for number in range(100)
    ]
    window, habit = Window(), NO_HABIT
    most = 0
    for behaviour in arrived:
        before, (window, habit) = window, remember(window, habit, behaviour)
        left = set(before) - set(window)
        most = max(most, len(left))
        assert all(entry_of(habit, one.text) == (to_the_hour(one.at_ms), 1.0) for one in left)
        inside = {text_digest(one.text) for one in window}
        assert not inside & set(Entries.of(habit).texts.tolist())
    assert len(habit) == HABIT_BYTES * min(HABIT_LIMIT, len(arrived) - len(window))
    assert (most > 1) == (length == 80)


@given(st.lists(behaviours, max_size=70), st.randoms(use_true_random=False))
def test_window_and_habit_do_not_depend_on_the_order_of_arrival(
    drawn: list[Behaviour], chance: random.Random
) -> None:
    """As long as none comes so late that the window has forgotten its time."""
    ordered = sorted(drawn, key=lambda one: one.at_ms)
    late = sorted(range(len(ordered)), key=lambda place: place + chance.uniform(0, WINDOW_LIMIT / 2))
    ended = []
    for order in (ordered, [ordered[place] for place in late]):
        window, habit = Window(), NO_HABIT
        for behaviour in order:
            window, habit = remember(window, habit, behaviour)
        ended.append((window.behaviours(), habit))
    (one, first), (other, second) = ended
    assert one == other
    assert_same(first, second, len(drawn))
    weights = sum(HABIT_WEIGHTS[behaviour.action] for behaviour in drawn)
    assert float(np.sum(Entries.of(first).counts)) <= weights * (1 + STEP) ** len(drawn)
