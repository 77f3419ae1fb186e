"""How fresh the first hint is: by hand, with the live refresh policy."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from agents.hints.bundle import load_encoder
from agents.session.interest import ACTION_CODES
from agents.session.refresh import RefreshPolicy
from agents.session.step import Rules
from agents.think.folder_entries import FolderEntries
from streams.hint_request import Behaviour
from streams.records import Action
from streams.think_entry import Suggestion
from tests.evaluation_data import small_dataset
from training.evaluation.first_hint import delays_ms, figures, first_hint, sessions_of

T0_MS = 1_512_129_600_000
DAY_MS = 86_400_000
NEVER = math.inf


@pytest.fixture(scope="module")
def rules() -> Rules:
    return Rules(load_encoder(Path("exported_models/complete-journey"))[0], bundle="b")


def did(action: Action, at_s: float, text: str = "milk") -> Behaviour:
    return Behaviour(ACTION_CODES[action], T0_MS + round(at_s * 1000), text)


def test_the_first_behaviour_and_one_after_the_cooldown_are_answered_at_once(rules: Rules) -> None:
    session = [did(Action.PURCHASE, 0), did(Action.SEARCH, 30, "eggs")]
    assert delays_ms(session, rules) == [0, 0]


def test_a_purchase_in_the_cooldown_waits_for_its_end(rules: Rules) -> None:
    session = [did(Action.PURCHASE, 0), did(Action.PURCHASE, 4, "eggs"), did(Action.SEARCH, 10, "tea")]
    assert delays_ms(session, rules) == [0, 26_000, 20_000]  # nothing follows: the timer settles


def test_what_comes_after_the_cooldown_s_end_settles_it_first(rules: Rules) -> None:
    session = [did(Action.PURCHASE, 0), did(Action.PURCHASE, 4, "eggs"), did(Action.PURCHASE, 31, "tea")]
    # The owed list of second 30 starts a cooldown of its own: tea waits until second 60.
    assert delays_ms(session, rules) == [0, 26_000, 29_000]


def test_a_view_that_moves_nothing_waits_for_a_later_behaviour_or_for_ever(rules: Rules) -> None:
    views = [did(Action.PURCHASE, 0), did(Action.VIEW, 100), did(Action.VIEW, 110)]
    assert delays_ms(views, rules) == [0, NEVER, NEVER]
    assert delays_ms([*views, did(Action.SEARCH, 200, "eggs")], rules) == [0, 100_000, 90_000, 0]


def test_a_day_s_budget_leaves_behaviours_without_a_list(rules: Rules) -> None:
    few = Rules(rules.encoder, "b", refresh=RefreshPolicy(lists_per_day=2))
    session = [did(Action.PURCHASE, place * 60, f"thing {place}") for place in range(4)]
    assert delays_ms(session, few) == [0, 0, NEVER, NEVER]


def test_shares_and_quantiles_count_what_is_never_answered() -> None:
    found = figures([0, 0, 0, 30_000, 30_001, NEVER, NEVER, NEVER, NEVER, NEVER], RefreshPolicy())
    shares = [found[name] for name in ("at_once", "after_cooldown", "later", "never")]
    assert shares == [0.3, 0.1, 0.1, 0.5]
    assert found["quantiles_s"] == {"0.5": 30.001, "0.9": None, "0.95": None, "0.99": None}


def test_of_no_behaviours_there_are_no_figures() -> None:
    found = figures([], RefreshPolicy())
    assert (found["at_once"], found["never"], found["quantiles_s"]) == (None, None, {})


def test_a_mapping_answers_at_once_what_it_knows_and_nothing_else(tmp_path: Path) -> None:
    data = small_dataset(tmp_path)
    known = FolderEntries("v1", {"milk": (Suggestion(query="oats"),)})
    found, nothing = first_hint(data, "test", known), first_hint(data, "test", FolderEntries("", {}))
    texts = [one.text for session in sessions_of(data, "test") for one in session]
    assert found["behaviours"] == len(texts) > 50
    assert found["answered_by_mapping"] == texts.count("milk") / len(texts)
    assert nothing["lists_alone"] == nothing["with_think"] == found["lists_alone"]
    assert found["with_think"]["at_once"] > found["lists_alone"]["at_once"]
