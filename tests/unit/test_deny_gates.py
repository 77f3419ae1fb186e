"""No gate lets a matching query through, whatever rules and lists there are; all others keep their place."""

from __future__ import annotations

import json

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.deny.gated_writer import judged_by
from agents.deny.values import Cleaner, cleaned
from agents.hints.filters import forbidden
from streams.deny_file import terms
from streams.deny_rule import DenyKind, made
from streams.deny_rules import DenyRules
from streams.hint_list import HintList
from streams.personal_data import is_personal
from streams.think_entry import PopularList, ThinkEntry
from tests.redis_databases import list_of

QUERIES = st.lists(
    st.sampled_from(
        [
            "red wine",
            "WINE",
            "wine vinegar",
            "milk",
            "root beer",
            "be\u200ber",
            "jo@example.org",
            "4111111111111111",
        ]
    ),
    min_size=1,
    max_size=8,
)
TEXTS = st.sampled_from(["wine", "beer", "milk", "red wine"])
RULES = st.lists(st.tuples(st.sampled_from(list(DenyKind)), TEXTS), max_size=4, unique=True).map(
    lambda pairs: DenyRules(made(kind, text) for kind, text in pairs)
)


def expected(queries: list[str], rules: DenyRules) -> list[str]:
    return [one for one in queries if rules.denying(one) is None and not is_personal(one)]


@given(QUERIES, RULES)
def test_lists_before_publishing(queries: list[str], rules: DenyRules) -> None:
    whole = list_of("u", *queries)
    ((one, dropped),) = judged_by(rules, [whole])
    assert [hint.query for hint in one.hints] == expected(queries, rules)
    assert len(dropped) == len(queries) - len(one.hints)
    assert (one is whole) == (not dropped)


@given(QUERIES, RULES)
def test_values_in_redis(queries: list[str], rules: DenyRules) -> None:
    items = [{"query": query, "score": 1.0} for query in queries]
    may = expected(queries, rules)
    swept = cleaned(list_of("u", *queries).to_json(), rules)
    assert [hint.query for hint in HintList.from_json(swept.value).hints] == may
    entry = cleaned(orjson.dumps({"trigger": "t", "queries": items}), rules)
    assert [one.query for one in ThinkEntry.model_validate_json(entry.value).queries] == may
    popular = cleaned(orjson.dumps(items), rules)
    assert [one.query for one in PopularList.validate_json(popular.value)] == may
    assert set(swept.taken) == set(entry.taken) == set(popular.taken) == set(queries) - set(may)
    assert cleaned(swept.value, rules) == (swept.value, {})


@given(st.binary(max_size=40), RULES)
def test_what_is_no_value_of_ours_stays_as_it_is(value: bytes, rules: DenyRules) -> None:
    assert cleaned(value, rules).value is value


@given(st.sampled_from(["red wine", "jo@example.org", "milk"]), RULES)
def test_every_gate_gives_the_same_answer(query: str, rules: DenyRules) -> None:
    reason = forbidden(query, rules)
    gone = not judged_by(rules, [list_of("u", query)])[0].allowed.hints
    swept = bool(cleaned(orjson.dumps([{"query": query}]), rules).taken)
    assert (reason is not None) == gone == swept


@pytest.mark.parametrize(
    "value",
    [
        b'{"hints":[{"query":"red wine"},{"query":"tea"}]}',
        b'{"hints": [ { "query" :\t"red wine" }, {"query": "tea"} ] }',
        b'{"hints":[{"qu\\u0065ry":"red wine"},{"query":"tea"}]}',
        b'{"hints":[{"query":"red \\u0077ine"},{"query":"tea"}]}',
        b'[{"query":"red wine"},{"query":"tea"}]',
    ],
)
def test_a_cleaner_that_knows_a_value_s_other_queries_still_finds_the_denied_one(value: bytes) -> None:
    cleaner = Cleaner(DenyRules(terms(["wine"])))
    plain = b'{"hints":[{"query":"tea"}]}'
    for _ in range(3):
        assert cleaner.cleaned(plain).value is plain
        found = cleaner.cleaned(value)
        assert set(found.taken) == {"red wine"}
        assert b"ine" not in found.value


@given(
    st.lists(
        st.sampled_from(["tea", "Tea", "red wine", 'a "wine"', "jo@example.org", "\\", "\u00e9"]), max_size=6
    )
)
def test_a_cleaner_with_a_memory_gives_what_one_without_gives(queries: list[str]) -> None:
    for dumped in (orjson.dumps, lambda told: json.dumps(told, indent=1).encode()):
        value = dumped({"version": "v", "hints": [{"query": query} for query in queries], "query": "tea"})
        assert KNOWING.cleaned(value) == cleaned(value, KNOWING.rules)


KNOWING = Cleaner(DenyRules(terms(["wine"])))
