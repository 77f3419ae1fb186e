"""Feedback finds the list it came from, or says why it has none."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from agents.feedback.join import join_feedback
from streams.errors import CodecError
from streams.hint_list import HintList
from streams.hint_outcome import HintOutcome, Outcome, WhyNot
from streams.records import BehaviorEvent
from tests.redis_databases import list_of
from tests.support import NOON_MS, event_of

OLD = list_of("u1", "milk", "bread", as_of=NOON_MS - 2_000, bundle="b1")
NEW = list_of(
    "u1", "Bread", "eggs", as_of=NOON_MS - 1_000, bundle="b2", reason="drift", mapping="v7", arm="x"
)
LISTS = [NEW, OLD]


def impression(*titles: str | None, **attributes: Any) -> BehaviorEvent:
    objects = [{"title": title} for title in titles]
    return event_of(action="hint_impression", event_attributes={"objects": objects} | attributes)


def click(action: str = "hint_click", **fields: Any) -> BehaviorEvent:
    attributes = {key: fields.pop(key) for key in ("object", "position", "list_id") if key in fields}
    return event_of(action=action, event_attributes=attributes, **fields)


def joined_to(outcomes: list[HintOutcome]) -> list[tuple[str, int | None, str]]:
    return [(outcome.query, outcome.ordinal, outcome.list_id) for outcome in outcomes]


def only(event: BehaviorEvent, lists: list[HintList] = LISTS) -> HintOutcome:
    (outcome,) = join_feedback(event, lists)
    return outcome


@pytest.mark.parametrize("action", ["view", "click", "search", "add_to_cart", "purchase", "else"])
def test_other_events_have_no_outcome(action: str) -> None:
    assert join_feedback(event_of(action=action), LISTS) == []


def test_an_impression_gives_one_outcome_for_each_hint_in_its_order() -> None:
    outcomes = join_feedback(impression("eggs", "Bread", list_id=NEW.list_id), LISTS)
    assert joined_to(outcomes) == [("eggs", 1, NEW.list_id), ("Bread", 2, NEW.list_id)]
    assert {outcome.outcome for outcome in outcomes} == {Outcome.SHOWN}


def test_an_outcome_carries_what_the_list_knew() -> None:
    event = click(object={"title": "EGGS"}, position={"ordinal": 2}, list_id=NEW.list_id)
    assert only(event) == HintOutcome(
        user="u1",
        list_id=NEW.list_id,
        query="eggs",
        ordinal=2,
        outcome=Outcome.CLICKED,
        at_ms=NOON_MS,
        event_id=event.event_id or "",
        as_of=NEW.as_of,
        reason="drift",
        bundle="b2",
        mapping="v7",
        arm="x",
        source="direct",
        score=NEW.hints[1].score,
        joined=True,
    )


def test_the_named_list_wins_over_a_newer_one_with_the_same_query() -> None:
    assert only(click(object={"title": "bread"}, list_id=OLD.list_id)).list_id == OLD.list_id


def test_a_hint_of_an_older_run_in_a_merged_answer_is_credited_to_that_run() -> None:
    outcomes = join_feedback(impression("Bread", "milk", list_id=NEW.list_id), LISTS)
    assert joined_to(outcomes) == [("Bread", 1, NEW.list_id), ("milk", 2, OLD.list_id)]


def test_without_a_list_id_the_newest_list_with_the_query_is_taken() -> None:
    assert only(click(object={"title": " BREAD "})).list_id == NEW.list_id
    assert only(click(object={"title": "milk"})).list_id == OLD.list_id


def test_without_a_list_id_a_list_from_after_the_event_is_not_taken() -> None:
    early = click(object={"title": "bread"}, timestamp=NEW.as_of - 1)
    assert only(early).list_id == OLD.list_id
    too_early = only(click(object={"title": "bread"}, timestamp=OLD.as_of - 1))
    assert (too_early.joined, too_early.why_not) == (False, WhyNot.NOT_LISTED)
    assert only(click(object={"title": "bread"}, timestamp=NEW.as_of)).list_id == NEW.list_id


def test_a_list_that_is_gone_is_not_guessed_at() -> None:
    outcome = only(click(object={"title": "bread"}, list_id="gone"))
    assert (outcome.joined, outcome.why_not, outcome.list_id) == (False, WhyNot.LIST_GONE, "gone")
    assert (outcome.query, outcome.bundle, outcome.score) == ("bread", "", None)


def test_a_hint_in_no_list_is_kept_unjoined() -> None:
    outcome = only(click(object={"title": "  wine \n bar "}, list_id=NEW.list_id))
    assert (outcome.joined, outcome.why_not, outcome.query) == (False, WhyNot.NOT_LISTED, "wine bar")


@pytest.mark.parametrize(
    "event",
    [
        click(user_query="eggs", list_id=NEW.list_id),
        click(position={"ordinal": 2}, list_id=NEW.list_id),
        click(object={"object_id": "7"}, position={"ordinal": 2}, list_id=NEW.list_id),
    ],
)
def test_a_click_may_name_its_hint_by_text_or_by_place(event: BehaviorEvent) -> None:
    outcome = only(event)
    assert (outcome.query, outcome.list_id, outcome.joined) == ("eggs", NEW.list_id, True)


@pytest.mark.parametrize("ordinal", [0, -1, 3, None])
def test_a_place_outside_of_the_list_names_no_hint(ordinal: int | None) -> None:
    outcome = only(click(position={"ordinal": ordinal}, list_id=NEW.list_id))
    assert (outcome.joined, outcome.why_not) == (False, WhyNot.NO_QUERY)


def test_a_dismissal_is_one() -> None:
    assert only(click("hint_dismiss", object={"title": "eggs"})).outcome is Outcome.DISMISSED


def test_an_impression_of_one_hint_may_use_the_single_object() -> None:
    event = click("hint_impression", object={"title": "eggs"}, position={"ordinal": 4})
    assert joined_to(join_feedback(event, LISTS)) == [("eggs", 4, NEW.list_id)]


def test_repeats_and_gaps_in_an_impression_keep_the_places() -> None:
    outcomes = join_feedback(impression("eggs", None, "EGGS", "milk"), LISTS)
    assert joined_to(outcomes) == [("eggs", 1, NEW.list_id), ("milk", 4, OLD.list_id)]


def test_without_any_list_everything_is_unjoined() -> None:
    outcomes = join_feedback(impression("eggs", "milk"), [])
    assert [(one.joined, one.why_not) for one in outcomes] == [(False, WhyNot.NOT_LISTED)] * 2


def test_an_outcome_survives_its_bytes_and_is_keyed_by_user_list_query_and_outcome() -> None:
    for outcome in join_feedback(impression("Bread", "wine", list_id=NEW.list_id), LISTS):
        assert HintOutcome.from_json(outcome.to_json()) == outcome
        assert orjson.loads(outcome.key()) == ["u1", outcome.list_id, outcome.query, outcome.outcome]
    with pytest.raises(CodecError):
        HintOutcome.from_json(b"{}")
