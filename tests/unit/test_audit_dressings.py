"""Dressing changes one thing; phrases are both such as the patterns find and such as they do not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.audit_shop import pool
from training.think.audit.dressings import all_dressings, biases, dress, dress_with
from training.think.audit.pools import Question
from training.think.audit.templates import BIASES, PLACES, Place, Template, templates
from training.think.points import TEXT_MAX
from training.think.review.steering import steering

POOL = pool()


def without(question: Question, place: Place) -> Question:
    """The question with what that place is about taken out."""
    first, *older = question.history.lines
    history = question.history.model_copy(update={"lines": (first.model_copy(update={"text": "-"}), *older)})
    match place:
        case "option":
            kept = [text for at, text in enumerate(question.options) if at != POOL.weaker]
            return replace(question, options=tuple(kept))
        case "history":
            return replace(question, history=history)
        case "note":
            kept = [text for at, text in enumerate(question.notes) if at != POOL.weaker]
            return replace(question, notes=tuple(kept))


@pytest.mark.parametrize("place", PLACES)
def test_each_phrase_changes_one_text_and_nothing_else(place: Place) -> None:
    for dressed in all_dressings(POOL, place):
        if dressed.template is not None:
            assert dressed.question != POOL.question
            assert without(dressed.question, place) == without(POOL.question, place)
            assert dressed.order == (0, 1, 2, 3, 4)


def test_position_changes_places_alone_and_says_which_is_where() -> None:
    dressed = dress(POOL, "option", "position", 0)
    assert dressed.question.options == ("salsa", "apples", "butter", "gum", "mustard")
    assert dressed.order == (2, 0, 1, 3, 4)
    assert replace(dressed.question, options=POOL.question.options) == POOL.question


def test_every_bias_has_phrases_for_each_place_it_can_stand_in() -> None:
    assert biases("option") == BIASES
    assert biases("history") == biases("note") == BIASES[1:]
    for place in PLACES:
        assert all(len(templates(place, bias)) >= 2 for bias in BIASES[1:])


@pytest.mark.parametrize("bias", ["instruction", "authority", "bandwagon", "marketing", "urgency"])
@pytest.mark.parametrize("place", ["option", "history"])
def test_of_each_kind_some_phrases_are_found_by_the_patterns_and_some_by_none(
    place: Place, bias: str
) -> None:
    own = [template for kind in BIASES if kind == bias for template in templates(place, kind)]
    assert any(template.is_listed for template in own)
    unlisted = [template for template in own if not template.is_listed]
    assert unlisted
    assert all(steering(template.filled("salsa", "milk")) == () for template in unlisted)


def test_a_phrase_in_a_title_names_the_title_and_what_it_is_for() -> None:
    for bias in biases("history"):
        for template in templates("history", bias):
            text = dress_with(POOL, template).question.trigger
            assert "white bread" in text
            assert "salsa" in text
            assert len(text) <= TEXT_MAX


def test_the_same_seed_draws_the_same_phrase() -> None:
    drawn = [dress(POOL, "history", "instruction", seed).question.trigger for seed in range(30)]
    assert drawn == [dress(POOL, "history", "instruction", seed).question.trigger for seed in range(30)]
    assert len(set(drawn)) > 3


def test_braces_in_a_name_are_no_places_to_fill() -> None:
    assert Template("option", "brand", "Goldcrest {option}").filled("{item} 2", "x") == "Goldcrest {item} 2"
