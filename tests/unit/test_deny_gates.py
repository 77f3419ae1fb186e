"""No gate lets a matching query through, whatever rules and lists there are; all others keep their place."""

from __future__ import annotations

from collections import Counter

import orjson
from hypothesis import given
from hypothesis import strategies as st

from agents.deny.gated_writer import allowed
from agents.deny.values import cleaned
from agents.hints.filters import forbidden
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
    whole, dropped = list_of("u", *queries), Counter[str]()
    one = allowed(whole, rules, dropped)
    assert [hint.query for hint in one.hints] == expected(queries, rules)
    assert dropped.total() == len(queries) - len(one.hints)
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
    gone = not allowed(list_of("u", query), rules, Counter()).hints
    swept = bool(cleaned(orjson.dumps([{"query": query}]), rules).taken)
    assert (reason is not None) == gone == swept
