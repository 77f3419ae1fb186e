"""What the Think network writes is well-formed whatever it chooses, and reading never breaks."""

from __future__ import annotations

import random
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.think_network_world import BOOK, HISTORY, LEXICON, POINTS_OF_HISTORY, QUERIES, history_of
from training.think.network.grammar import TOKENS_MAX, Grammar, State
from training.think.network.serialise import WrittenPoint, read_tokens, tokens_of
from training.think.network.tokens import (
    ANSWER,
    ARROW,
    BEGIN,
    END,
    FIRST_QUERY,
    POINT,
    line_token,
    value_of,
    value_token,
)
from training.think.network.told import checked
from training.think.points import History, InterestPoint

SALSA, BEANS, CREAM, WIPES = (FIRST_QUERY + number for number in range(4))
GRAMMAR = Grammar.of(HISTORY, LEXICON)
WHOLE = tokens_of(POINTS_OF_HISTORY, HISTORY, LEXICON)
Choose = Callable[[list[int]], int]


def written(grammar: Grammar, choose: Choose) -> list[int]:
    """An output made of whatever is chosen from what may come."""
    state, tokens = State(), []
    while grammar.allowed(state).any():
        tokens.append(choose(np.flatnonzero(grammar.allowed(state)).tolist()))
        state = grammar.step(state, tokens[-1])
    return tokens


def histories() -> st.SearchStrategy[History]:
    texts = st.sampled_from([*QUERIES, "bread", "limes", "soap", "Salsa "])
    return st.lists(texts, max_size=32).map(lambda own: history_of(*own))


def test_two_points_are_written_as_by_hand() -> None:
    shells, diapers = line_token(1), line_token(4)
    said = [value_token("baskets", 20), value_token("households", 9), value_token("later", 40)]
    by_hand = [
        *(BEGIN, POINT, shells, value_token("times", 2), value_token("days", 1), SALSA, *said),
        *(line_token(5), value_token("times", 1), value_token("days", 5)),
        *(POINT, diapers, value_token("times", 1), value_token("days", 4), WIPES, *said),
        *(ANSWER, POINT, shells, line_token(3), line_token(5), ARROW, SALSA, BEANS),
        *(POINT, diapers, ARROW, WIPES, END),
    ]
    assert by_hand == WHOLE
    assert GRAMMAR.accepts(WHOLE)


def test_points_come_back_from_their_tokens_with_their_facts() -> None:
    found, counts = checked(read_tokens(WHOLE, HISTORY, LEXICON), HISTORY, BOOK)
    assert found == POINTS_OF_HISTORY
    assert (counts.true, counts.false, counts.beside) == (12, 0, 0)


def test_without_a_trace_the_points_alone_come_back() -> None:
    grammar = Grammar.of(HISTORY, LEXICON, traced=False)
    tokens = tokens_of(POINTS_OF_HISTORY, HISTORY, LEXICON, traced=False)
    assert tokens == [BEGIN, *WHOLE[WHOLE.index(ANSWER) :]]
    assert grammar.accepts(tokens)
    assert not grammar.accepts(WHOLE)
    assert [point.facts for point in read_tokens(tokens, HISTORY, LEXICON)] == [(), ()]


def test_a_history_without_points_is_an_answer_too() -> None:
    assert tokens_of((), HISTORY, LEXICON) == [BEGIN, ANSWER, END]
    assert GRAMMAR.accepts([BEGIN, ANSWER, END])


def test_what_the_network_cannot_say_is_left_out() -> None:
    unknown = InterestPoint(triggers=(2,), queries=("caviar",))
    half = InterestPoint(triggers=(40, 2), queries=("caviar", "honey"))
    tokens = tokens_of((unknown, half), HISTORY, LEXICON, traced=False)
    assert read_tokens(tokens, HISTORY, LEXICON) == [WrittenPoint((2,), ("honey",))]


@pytest.mark.parametrize(
    ("tokens", "why"),
    [
        (WHOLE[:-1], "no end"),
        ([*WHOLE, END], "something behind the end"),
        (WHOLE[1:], "no beginning"),
        ([*WHOLE[:-1], SALSA, END], "a query twice"),
        ([*WHOLE[:-2], line_token(5), *WHOLE[-2:]], "lines among queries"),
        ([token if token != BEANS else FIRST_QUERY + 7 for token in WHOLE], "what stands in the history"),
        ([token if token != line_token(3) else line_token(4) for token in WHOLE], "another point's line"),
        ([token if token != line_token(3) else line_token(6) for token in WHOLE], "a line that is not there"),
        ([*WHOLE[: WHOLE.index(ANSWER)], ANSWER, END], "a rationale without its point"),
        ([*WHOLE[:2], value_token("times", 1), *WHOLE[2:]], "a value without a subject"),
    ],
)
def test_what_breaks_the_form_is_not_accepted(tokens: list[int], why: str) -> None:
    assert not GRAMMAR.accepts(tokens), why


@settings(max_examples=60, deadline=None)
@given(histories(), st.randoms(use_true_random=False), st.booleans())
def test_every_choice_leads_to_a_whole_output_of_known_length(
    history: History, chance: random.Random, traced: bool
) -> None:
    grammar = Grammar.of(history, LEXICON, traced=traced)
    tokens = written(grammar, chance.choice)
    assert grammar.accepts(tokens)
    assert len(tokens) <= TOKENS_MAX
    found = read_tokens(tokens, history, LEXICON)
    assert len(found) == tokens[tokens.index(ANSWER) :].count(POINT)
    lines = [line for point in found for line in point.triggers]
    queries = [query for point in found for query in point.queries]
    assert len(set(lines)) == len(lines) and len(set(queries)) == len(queries)
    assert all(1 <= line <= len(history.lines) for line in lines)
    assert not LEXICON.known(history) & {LEXICON.number(query) for query in queries}


def test_the_longest_choices_still_end() -> None:
    history = history_of(*(f"good {number}" for number in range(32)))
    tokens = written(Grammar.of(history, LEXICON), lambda allowed: allowed[-1])
    assert len(tokens) <= TOKENS_MAX and tokens[-1] == END


@settings(max_examples=60, deadline=None)
@given(histories(), st.randoms(use_true_random=False))
def test_what_a_rationale_speaks_of_stands_in_its_point(history: History, chance: random.Random) -> None:
    tokens = written(Grammar.of(history, LEXICON), chance.choice)
    for point in read_tokens(tokens, history, LEXICON):
        assert {fact.line for fact in point.facts} <= set(point.triggers)
        assert {fact.query for fact in point.facts} <= {"", point.queries[0]}


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(-5, FIRST_QUERY + 20), max_size=60), histories())
def test_any_tokens_at_all_can_be_read_and_checked(tokens: list[int], history: History) -> None:
    found, _ = checked(read_tokens(tokens, history, LEXICON), history, BOOK)
    for point in found:
        assert all(1 <= line <= len(history.lines) for line in point.triggers)
        assert set(point.queries) <= set(QUERIES)


def test_a_value_means_its_own_kind_and_bucket() -> None:
    for kind, value in (("times", 1), ("days", 27), ("baskets", 8173), ("households", 2), ("later", 100)):
        token = value_token(kind, value)
        assert value_of(token) is not None and value_of(token)[0] == kind
    assert value_token("times", 2) != value_token("times", 3)
    assert value_of(FIRST_QUERY) is None
