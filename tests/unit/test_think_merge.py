"""How Think's entries become one list, and where they stand on a page: by hand."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from streams.hint_answer import Candidate, Tiers, merge, opened, personal
from streams.hint_list import Hint, Source
from streams.think_entry import Suggestion
from streams.think_merge import OWN_FIRST, TriggerEntries, in_turn, is_thinks, latest_triggers
from tests.redis_databases import list_of

NOW_MS = 10_000


def entries_of(**queries: str) -> TriggerEntries:
    """Trigger → its queries, with commas between; newest trigger first."""
    entries = tuple(tuple(Suggestion(query=query) for query in text.split(",")) for text in queries.values())
    return TriggerEntries("v1", tuple(queries), entries)


def hints_of(source: Source, *queries: str) -> tuple[Candidate, ...]:
    return tuple((Hint(query=query, score=0.0, source=source), source) for query in queries)


def queries_of(tiers: Tiers, limit: int, think_places: int, *denied: str) -> list[str]:
    chosen, _ = merge(tiers, frozenset(denied), limit, NOW_MS, think_places=think_places)
    return [hint.query for hint, _ in chosen]


OWN = tuple(f"own{place}" for place in range(12))
PAGE = Tiers(hints_of("direct", *OWN), hints_of("think", "t1", "own11", "t2", "t3"), hints_of("popular", "p"))


def test_entries_take_turns_and_name_the_trigger_that_led_there() -> None:
    found = list(in_turn(entries_of(milk="oats,tea,jam", eggs="bacon,oats,MILK,ham")))
    assert [(one.trigger, one.suggestion.query) for one in found] == [
        ("milk", "oats"),
        ("eggs", "bacon"),
        ("milk", "tea"),
        ("milk", "jam"),
        ("eggs", "ham"),
    ]


def test_entries_that_were_not_read_give_nothing() -> None:
    assert list(in_turn(TriggerEntries("v1", ("milk", "eggs")))) == []


def test_latest_triggers_differ_in_normal_form_and_are_the_first_ones() -> None:
    assert latest_triggers(["", "Milk", " milk", "eggs", "tea"], 2) == ("Milk", "eggs")


def test_hints_of_think_carry_trigger_and_version() -> None:
    ((hint, list_id),) = opened(entries_of(milk="oats"))
    assert (hint.source, hint.why, hint.mapping, list_id) == ("think", "milk", "v1", "")


def test_without_a_place_think_begins_where_the_own_lists_end() -> None:
    assert queries_of(PAGE, 10, 0) == list(OWN[:10])
    assert queries_of(PAGE, 30, 0) == [*OWN, "t1", "t2", "t3", "p"]


def test_one_place_is_the_tenth_and_two_are_spread() -> None:
    assert queries_of(PAGE, 10, 1) == [*OWN[:9], "t1"]
    assert queries_of(PAGE, 10, 2) == [*OWN[:6], "t1", *OWN[6:8], "t2"]
    assert queries_of(PAGE, 10, 7) == [*OWN[:3], "t1", "t2", "t3", *OWN[3:7]]


def test_a_denied_query_of_think_leaves_its_place_to_the_next() -> None:
    assert queries_of(PAGE, 10, 1, "t1", "t2") == [*OWN[:9], "t3"]


def test_what_the_user_just_did_is_held_in_every_tier() -> None:
    held = {"own0": NOW_MS + 1, "t1": NOW_MS + 1, "p": NOW_MS + 1, "t2": NOW_MS}
    tiers = Tiers(hints_of("direct", *OWN[:2]), PAGE.think, PAGE.rest, held)
    assert queries_of(tiers, 10, 1) == ["own1", "own11", "t2", "t3"]


def test_think_s_hints_in_a_list_count_while_their_version_is_the_user_s() -> None:
    one = list_of("u", "milk")
    filled = Hint(query="oats", score=0.1, source="think", mapping="v1")
    one = one.model_copy(update={"hints": (*one.hints, filled)})
    assert [hint.query for hint, _ in personal([one], "v1")] == ["milk", "oats"]
    assert [hint.query for hint, _ in personal([one], "v2")] == ["milk"]


@given(st.integers(0, 7), st.integers(0, 40), st.integers(0, 12), st.integers(0, 12))
def test_a_longer_page_begins_like_a_shorter_one(places: int, limit: int, own: int, think: int) -> None:
    tiers = Tiers(hints_of("direct", *OWN[:own]), hints_of("think", *(f"t{n}" for n in range(think))))
    longest = queries_of(tiers, 40, places)
    assert queries_of(tiers, limit, places) == longest[:limit]
    assert longest[: min(OWN_FIRST, own)] == list(OWN[: min(OWN_FIRST, own)])
    assert len(longest) == own + think


@given(st.integers(0, 7), st.integers(0, 20))
def test_of_seven_places_after_the_first_three_so_many_are_think_s(places: int, start: int) -> None:
    seven = range(OWN_FIRST + 7 * start, OWN_FIRST + 7 * start + 7)
    assert sum(is_thinks(place, places) for place in seven) == places
