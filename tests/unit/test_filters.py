"""Filters: what is dropped, and for which reason."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.hints.filters import FilterRules, filter_candidates, recently_done
from agents.hints.generator import Candidate
from agents.session.interest import ACTION_CODES
from streams.deny_file import terms
from streams.deny_rule import NO_RESULTS, DenyKind, made
from streams.deny_rules import NO_RULES, DenyRules
from streams.hint_request import Behaviour, HintRequest, Version
from streams.personal_data import is_personal
from streams.records import Action

NOW_MS = 1_700_000_000_000
MINUTE_MS = 60_000


def request(*done: tuple[Action, int, str]) -> HintRequest:
    window = tuple(Behaviour(ACTION_CODES[action], NOW_MS - ago_ms, text) for action, ago_ms, text in done)
    vectors = np.zeros((len(window), 2), np.int8)
    return HintRequest("u", Version(NOW_MS, 0), "first", 1.0, "e", window, vectors, np.zeros((2, 2), np.int8))


def kept(*queries: str, of: HintRequest | None = None, denied: DenyRules = NO_RULES) -> list[str]:
    candidates = [Candidate(query, -1.0) for query in queries]
    found, _ = filter_candidates(candidates, recently_done(of or request()), denied)
    return [candidate.query for candidate in found]


def reasons(*queries: str, of: HintRequest | None = None, denied: DenyRules = NO_RULES) -> dict[str, int]:
    candidates = [Candidate(query, -1.0) for query in queries]
    return filter_candidates(candidates, recently_done(of or request()), denied)[1]


def test_different_hints_pass_in_their_order() -> None:
    assert kept("milk", "eggs", "6 volt batteries", "9 volt batteries") == [
        "milk", "eggs", "6 volt batteries", "9 volt batteries",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("double", "reason"),
    [
        ("Ice  Cream Cones", "duplicate"),
        ("ice cream cone", "near_duplicate"),
        ("cones ice cream", "near_duplicate"),
        ("ice creams cones", "near_duplicate"),
        ("icecream cones", "near_duplicate"),
    ],
)
def test_the_second_of_two_alike_is_dropped(double: str, reason: str) -> None:
    assert kept("ice cream cones", double) == ["ice cream cones"]
    assert reasons("ice cream cones", double) == {reason: 1}


@pytest.mark.parametrize("query", ["x", "a" * 61, "one two three four five six seven eight nine"])
def test_queries_of_unfit_length_are_dropped(query: str) -> None:
    assert reasons(query) == {"length": 1}


@pytest.mark.parametrize(
    "query",
    ["jo@example.org", "call +49 171 5550123", "4111 1111 1111 1111", "4111111111111111", "(555) 010-1234 5"],
)
def test_personal_data_is_dropped(query: str) -> None:
    assert reasons(query) == {"personal": 1}


@pytest.mark.parametrize("query", ["9 volt batteries", "2 liter soda", "iphone 17", "v8 juice 12 x 330"])
def test_ordinary_numbers_are_not_personal(query: str) -> None:
    assert not is_personal(query)


def test_a_denied_term_drops_queries_that_hold_it_as_whole_words() -> None:
    denied = DenyRules(terms(["rat poison", "beer"]))
    assert kept("Beer", "root beer", "beeren", "cheap rat poison", "rat", denied=denied) == ["beeren", "rat"]
    assert reasons("beer", denied=denied) == {"denied": 1}


def held(*queries: str, of: HintRequest) -> dict[str, int]:
    """Query to the time until which it is held, 0: not."""
    candidates = [Candidate(query, -1.0) for query in queries]
    return {one.query: one.held_until_ms for one in filter_candidates(candidates, recently_done(of))[0]}


def test_what_was_just_searched_is_held_for_ten_minutes() -> None:
    just = request((Action.SEARCH, 9 * MINUTE_MS, "Milk"))
    assert held("milk", "eggs", of=just) == {"milk": NOW_MS + MINUTE_MS, "eggs": 0}
    assert held("milk", of=request((Action.SEARCH, 10 * MINUTE_MS, "milk"))) == {"milk": 0}


def test_a_purchase_is_held_for_the_rest_of_the_visit_and_stays_in_the_list_for_the_next() -> None:
    visit_ms = FilterRules().purchased_ms
    assert held("milk", of=request((Action.PURCHASE, 0, "milk"))) == {"milk": NOW_MS + visit_ms}
    assert held("milk", of=request((Action.PURCHASE, visit_ms, "milk"))) == {"milk": 0}


def test_the_later_of_two_reasons_to_hold_counts() -> None:
    both = request((Action.SEARCH, 0, "milk"), (Action.PURCHASE, MINUTE_MS, "milk"))
    assert held("milk", of=both) == {"milk": NOW_MS - MINUTE_MS + FilterRules().purchased_ms}


def test_a_view_holds_nothing_back() -> None:
    assert held("milk", of=request((Action.VIEW, 0, "milk"))) == {"milk": 0}


def test_what_the_shop_has_nothing_for_is_dropped_under_a_name_of_its_own() -> None:
    nothing = DenyRules([made(DenyKind.NORMALISED, "unicorns", reason=NO_RESULTS)])
    assert reasons("Unicorns", "milk", denied=nothing) == {"no_results": 1}


def test_a_query_outside_the_shops_words_is_dropped_unless_it_was_reviewed() -> None:
    made_up = [Candidate("milk", 1.0), Candidate("moon milk deluxe", 0.5)]
    kept_ones, dropped = filter_candidates(made_up, {}, known={"milk": 7})
    assert [one.query for one in kept_ones] == ["milk"]
    assert dropped == {"unknown_words": 1}
    assert filter_candidates(made_up, {})[1] == {}


@given(
    st.lists(st.sampled_from(["red wine", "WINE", "wine vinegar", "milk", "beer", "root beer", "eggs"])),
    st.lists(st.sampled_from(["wine", "beer", "milk"]), unique=True),
)
def test_no_denied_query_ever_passes_and_no_other_is_called_denied(
    queries: list[str], texts: list[str]
) -> None:
    denied = DenyRules(made(DenyKind.TERM, text, excepts=("wine vinegar", "root beer")) for text in texts)
    through = kept(*queries, denied=denied)
    assert all(denied.denying(query) is None for query in through)
    assert reasons(*queries, denied=denied).get("denied", 0) == sum(
        denied.denying(query) is not None for query in queries
    )
