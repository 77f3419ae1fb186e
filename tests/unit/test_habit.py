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
    NO_HABIT,
    counts_at,
    text_digest,
    with_all,
    with_behaviour,
)
from agents.session.interest import ACTION_CODES
from agents.session.window import WINDOW_LIMIT, Window
from streams.hint_request import HABIT_ENTRY, Behaviour, HabitEntries
from streams.records import Action
from tests.support import DAY_MS, NOON_MS

PURCHASE, SEARCH = ACTION_CODES[Action.PURCHASE], ACTION_CODES[Action.SEARCH]
HALF_LIFE_MS = int(1000 * HABIT_HALF_LIFE_S)
behaviours = st.builds(
    Behaviour,
    st.integers(1, 5),
    st.integers(0, 400).map(lambda day: NOON_MS + day * DAY_MS),
    st.sampled_from(["milk", "Eggs", "ground  coffee", "🍕", "crème brûlée"]),
)


def habit_of(*behaviours: Behaviour, limit: int = HABIT_LIMIT) -> HabitEntries:
    entries = NO_HABIT
    for behaviour in behaviours:
        entries = with_behaviour(entries, behaviour, limit)
    return entries


def remember(window: Window, habit: HabitEntries, behaviour: Behaviour) -> tuple[Window, HabitEntries]:
    grown = window.with_behaviour(behaviour)
    assert grown is not None  # not too late
    return grown[0], with_all(habit, grown[1])


def entry_of(entries: HabitEntries, text: str) -> tuple[int, float]:
    """Epoch seconds of the last behaviour, and the count then."""
    (found,) = entries[entries["text"] == text_digest(text)]
    return int(found["last_s"]), float(found["count"])


def texts_of(entries: HabitEntries, texts: list[str]) -> set[str]:
    return {text for text in texts if text_digest(text) in entries["text"].tolist()}


def test_counts_decay_by_half_in_a_half_life() -> None:
    twice = habit_of(
        Behaviour(PURCHASE, NOON_MS, "milk"), Behaviour(PURCHASE, NOON_MS + HALF_LIFE_MS, "milk")
    )
    assert twice.dtype == HABIT_ENTRY
    assert entry_of(twice, "milk") == ((NOON_MS + HALF_LIFE_MS) // 1000, 1.5)
    assert counts_at(twice, NOON_MS + HALF_LIFE_MS).tolist() == [1.5]
    assert counts_at(twice, NOON_MS + 3 * HALF_LIFE_MS).tolist() == [0.375]
    assert counts_at(twice, NOON_MS).tolist() == [1.5]  # never grows backwards
    assert counts_at(NO_HABIT, NOON_MS).tolist() == []


def test_time_alone_changes_no_entry_and_other_texts_none_of_each_other() -> None:
    milk = habit_of(Behaviour(PURCHASE, NOON_MS, "milk"))
    both = with_behaviour(milk, Behaviour(PURCHASE, NOON_MS + 100 * DAY_MS, "eggs"))
    assert entry_of(both, "milk") == entry_of(milk, "milk")
    assert len(milk) == 1  # entries are never changed in place


def test_an_older_behaviour_adds_what_is_left_of_it() -> None:
    late = habit_of(Behaviour(PURCHASE, NOON_MS + HALF_LIFE_MS, "milk"), Behaviour(PURCHASE, NOON_MS, "milk"))
    assert entry_of(late, "milk") == ((NOON_MS + HALF_LIFE_MS) // 1000, 1.5)


def test_what_is_bought_weighs_most() -> None:
    counts = [entry_of(habit_of(Behaviour(code, NOON_MS, "milk")), "milk")[1] for code in range(1, 6)]
    assert counts == pytest.approx(HABIT_WEIGHTS[1:])
    assert counts == sorted(counts)
    assert counts[PURCHASE - 1] == 1.0


def test_a_behaviour_of_a_far_future_counts_as_of_the_last_second_there_is() -> None:
    assert entry_of(habit_of(Behaviour(PURCHASE, 2**45, "milk")), "milk") == (2**32 - 1, 1.0)


def test_case_and_spacing_do_not_matter() -> None:
    assert text_digest("  Whole\tMILK ") == text_digest("whole milk")
    assert text_digest("whole milk") != text_digest("wholemilk")
    assert 0 <= text_digest("🍕") < 2**32
    both = habit_of(Behaviour(PURCHASE, NOON_MS, "Milk"), Behaviour(PURCHASE, NOON_MS, " milk "))
    assert both["count"].tolist() == [2.0]


@given(st.lists(behaviours, max_size=30), st.randoms(use_true_random=False))
def test_any_order_of_arrival_gives_the_same_entries(arrived: list[Behaviour], chance: random.Random) -> None:
    one = habit_of(*arrived)
    other = habit_of(*chance.sample(arrived, len(arrived)))
    assert one["text"].tolist() == sorted(one["text"].tolist()) == other["text"].tolist()
    assert one["last_s"].tolist() == other["last_s"].tolist()
    assert one["count"] == pytest.approx(other["count"], rel=1e-5)


@given(st.lists(behaviours, min_size=1, max_size=30))
def test_entries_are_the_formulas_sums(arrived: list[Behaviour]) -> None:
    entries = habit_of(*arrived)
    for text in {behaviour.text for behaviour in arrived}:
        own = [behaviour for behaviour in arrived if behaviour.text == text]
        last_s = max(behaviour.at_ms for behaviour in own) // 1000
        ages_s = [last_s - behaviour.at_ms / 1000 for behaviour in own]
        decayed = [
            HABIT_WEIGHTS[one.action] * 2 ** (-age_s / HABIT_HALF_LIFE_S)
            for one, age_s in zip(own, ages_s, strict=True)
        ]
        assert entry_of(entries, text) == (last_s, pytest.approx(sum(decayed), rel=1e-5))


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
    assert with_behaviour(three, faint, 3).tolist() == three.tolist()


def test_never_more_entries_than_the_limit() -> None:
    entries = NO_HABIT
    for number in range(2 * HABIT_LIMIT):
        entries = with_behaviour(entries, Behaviour(PURCHASE, NOON_MS + number * DAY_MS, f"thing {number}"))
        assert len(entries) == min(number + 1, HABIT_LIMIT)
    newest = [f"thing {number}" for number in range(HABIT_LIMIT, 2 * HABIT_LIMIT)]
    assert texts_of(entries, newest) == set(newest)


def test_a_known_text_pushes_nothing_out_of_a_full_habit() -> None:
    full = habit_of(*(Behaviour(PURCHASE, NOON_MS, f"thing {number}") for number in range(HABIT_LIMIT)))
    again = with_behaviour(full, Behaviour(PURCHASE, NOON_MS, "thing 7"))
    assert again["text"].tolist() == full["text"].tolist()
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
        assert all(entry_of(habit, one.text) == (one.at_ms // 1000, 1.0) for one in left)
        inside = {text_digest(one.text) for one in window}
        assert not inside & set(habit["text"].tolist())
    assert len(habit) == min(HABIT_LIMIT, len(arrived) - len(window))
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
    assert first["text"].tolist() == second["text"].tolist()
    assert first["last_s"].tolist() == second["last_s"].tolist()
    assert first["count"] == pytest.approx(second["count"], rel=1e-5)
    weights = sum(HABIT_WEIGHTS[behaviour.action] for behaviour in drawn)
    assert float(np.sum(first["count"], dtype=np.float64)) <= weights + 1e-6
