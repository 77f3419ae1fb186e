"""Short lists are filled up from Think: by the same filters, behind the own hints, with their sources."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from agents.hints.bundle import Bundle, load_bundle
from agents.hints.compose import Composed, compose
from agents.hints.fill import filled, missing
from agents.session.interest import ACTION_CODES
from streams.deny_file import terms
from streams.deny_rules import DenyRules
from streams.hint_request import Behaviour, HintRequest, Version
from streams.records import Action
from streams.think_entry import Suggestion
from streams.think_merge import TriggerEntries

NOW_MS = 1_512_129_600_000
MANY = ["milk", "bananas", "bread", "soda", "cheese", "eggs", "yogurt", "beef", "cereal"]
DENIED = DenyRules(terms(MANY))


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return load_bundle(Path("exported_models/complete-journey"))


def request(bundle: Bundle, *texts: str) -> HintRequest:
    behaviours = tuple(
        Behaviour(ACTION_CODES[Action.PURCHASE], NOW_MS - place * 1_000, text)
        for place, text in enumerate(texts)
    )
    vectors = np.stack([bundle.encoder.embed(text) for text in texts])
    interests = np.stack([vectors[0], vectors[0]])
    name = bundle.encoder.name
    return HintRequest("u", Version(NOW_MS, 0), "first", 1.0, name, behaviours, vectors, interests)


def think(**queries: str) -> TriggerEntries:
    entries = tuple(
        tuple(Suggestion(query=query, score=0.5) for query in text.split(",")) for text in queries.values()
    )
    return TriggerEntries("v1", tuple(queries), entries)


@pytest.fixture(scope="module")
def asked(bundle: Bundle) -> HintRequest:
    return request(bundle, "pasta", "tea")


@pytest.fixture(scope="module")
def short(bundle: Bundle, asked: HintRequest) -> Composed:
    """A list that a heavy deny set has left short."""
    (one,) = compose([asked], bundle, generated_at_ms=0, denied=DENIED)
    assert 0 < missing(one, bundle) < bundle.manifest.shapes.K
    return one


def test_a_list_that_the_filters_left_short_is_filled_up_to_k(bundle: Bundle, short: Composed) -> None:
    many = ",".join(f"thing {chr(97 + number) * 4}" for number in range(20))
    one = filled(short, think(pasta=many), bundle, DENIED).hints
    own = len(short.hints.hints)
    assert len(one.hints) == bundle.manifest.shapes.K
    assert one.hints[:own] == short.hints.hints
    assert {(hint.source, hint.why, hint.mapping) for hint in one.hints[own:]} == {("think", "pasta", "v1")}
    assert one.mapping == "v1"
    assert one.model_copy(update={"hints": (), "mapping": None}) == short.hints.model_copy(
        update={"hints": ()}
    )


def test_what_is_filled_in_passes_the_filters(bundle: Bundle, short: Composed) -> None:
    there = short.hints.hints[0].query
    entries = think(pasta=f"{there},chocolate milk,jo@example.org,x,sausages", tea="sausage,tea,olive oil")
    one = filled(short, entries, bundle, DENIED).hints
    own = len(short.hints.hints)
    added = [(hint.query, hint.why) for hint in one.hints[own:]]
    assert added == [("sausage", "tea"), ("olive oil", "tea")]  # in turn: tea's came first


def test_what_the_user_just_did_is_held_when_it_is_filled_in(bundle: Bundle) -> None:
    asked = request(bundle, "pasta", "a", "b", "c", "d", "olive oil")
    (short,) = compose([asked], bundle, generated_at_ms=0, denied=DenyRules(terms([*MANY, "olive oil"])))
    one = filled(short, think(pasta="olive oil"), bundle).hints
    assert one.hints[-1].query == "olive oil"
    assert one.hints[-1].held_until == asked.behaviours[-1].at_ms + 2 * 3_600_000


def test_a_whole_list_and_a_list_without_entries_stay_as_they_are(
    bundle: Bundle, asked: HintRequest, short: Composed
) -> None:
    (whole,) = compose([asked], bundle, generated_at_ms=0)
    assert missing(whole, bundle) == 0
    assert filled(whole, think(pasta="olive oil"), bundle) == whole
    assert filled(short, TriggerEntries("v1", ("pasta",)), bundle) == short
    assert short.hints.mapping is None


def test_a_list_says_its_triggers_and_what_was_just_done(bundle: Bundle) -> None:
    asked = request(bundle, "Pasta", "tea", "pasta", "a", "b", "c", "d")
    searched = asked.behaviours[1]._replace(action=ACTION_CODES[Action.SEARCH])
    asked = replace(asked, behaviours=(asked.behaviours[0], searched, *asked.behaviours[2:]))
    (one,) = compose([asked], bundle, generated_at_ms=0)
    assert (one.hints.trigger, one.hints.triggers) == ("Pasta", ("Pasta", "tea", "a", "b", "c"))
    assert list(one.hints.held) == ["pasta", "tea", "a", "b", "c", "d"]
    assert one.hints.held["pasta"] == NOW_MS + 2 * 3_600_000
    assert one.hints.held["tea"] == NOW_MS - 1_000 + 10 * 60_000
