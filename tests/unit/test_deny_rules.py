"""Deny rules: what each kind matches, what exceptions let through, and which rules are refused."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from streams.deny_file import parse_deny_file, read_deny_file, terms
from streams.deny_rule import (
    PATTERNS_MAX,
    TEXT_MAX,
    DenyKind,
    DenyRule,
    checked,
    limited,
    made,
    rule_from_json,
)
from streams.deny_rules import JUDGED_MAX, NO_RULES, DenyRules
from streams.errors import DenyRuleError
from streams.judged_text import forms_of, judged

WORDS = st.lists(st.sampled_from(["wine", "red", "vinegar", "beer", "root", "milk", "2", "%"]), min_size=1)
QUERIES = WORDS.map(" ".join)
ANY_TEXT = st.text(max_size=60)


def denies(query: str, kind: DenyKind, text: str, *excepts: str) -> bool:
    return DenyRules([made(kind, text, excepts=excepts)]).denying(query) is not None


@pytest.mark.parametrize(
    ("kind", "text", "denied", "shown"),
    [
        (DenyKind.EXACT, "US", ["US"], ["us", "US flag", " US"]),
        (DenyKind.NORMALISED, "Red  Wine", ["red wine", "RED\tWINE", "ｒｅｄ wine"], ["red wines", "wine"]),
        (DenyKind.TERM, "wine", ["wine", "red WINE", "wine-cooler", "(wine)"], ["swine feed", "winery"]),
        (
            DenyKind.TERM,
            "rat poison",
            ["rat poison", "rat-poison", "a rat  poison"],
            ["rat", "poison rat"],
        ),
        (DenyKind.TERM, "c++", ["learn c++ today"], ["c", "vitamin c"]),
        (DenyKind.TERM, "क", ["क ख"], ["कि"]),  # a mark belongs to its letter
        (DenyKind.PATTERN, r"v[i1]agra\b", ["V1AGRA now", "viagra"], ["viagras", "niagara"]),
        (DenyKind.PATTERN, "^wine$", ["Wine"], ["red wine"]),
    ],
)
def test_each_kind_denies_what_it_says(
    kind: DenyKind, text: str, denied: list[str], shown: list[str]
) -> None:
    assert [query for query in denied if not denies(query, kind, text)] == []
    assert [query for query in shown if denies(query, kind, text)] == []


@pytest.mark.parametrize(
    "query", ["wi\u200bne", "w\u00adine", "wine\u202e", "\x00wine", "WI\ufeffNE", "wine\ud800"]
)
def test_what_nobody_sees_hides_no_word(query: str) -> None:
    assert denies(query, DenyKind.TERM, "wine")
    assert denies(query, DenyKind.NORMALISED, "wine")
    assert denies(query, DenyKind.PATTERN, "^wine$")


def test_exceptions_are_taken_out_before_a_rule_looks() -> None:
    for kind in (DenyKind.TERM, DenyKind.PATTERN):
        assert denies("red wine", kind, "wine", "wine vinegar")
        assert not denies("red wine vinegar", kind, "wine", "wine vinegar")
        assert not denies("Red Wine-Vinegar", kind, "wine", "wine vinegar")
        assert denies("wine and wine vinegar", kind, "wine", "wine vinegar")
        assert denies("wine vinegars", kind, "wine", "wine vinegar")  # another word
        assert not denies("root beer, ginger beer", kind, "beer", "root beer", "ginger beer")


def test_of_two_rules_the_stricter_wins_and_the_oldest_is_named_first() -> None:
    loose = made(DenyKind.TERM, "wine", excepts=("wine vinegar",), at_ms=1)
    strict = made(DenyKind.TERM, "Wine", at_ms=2)
    assert loose.id != strict.id
    both = DenyRules([strict, loose])
    assert both.denying("wine vinegar") == strict
    assert both.all_denying("red wine") == (loose, strict)
    assert NO_RULES.denying("wine") is None


def test_the_same_rule_has_the_same_id_whoever_makes_it() -> None:
    one = made(DenyKind.TERM, "Red  Wine", by="ann", at_ms=1, excepts=("b", "a"))
    assert one.id == made(DenyKind.TERM, "red wine", by="bob", at_ms=2, excepts=("a", "B")).id
    assert one.id != made(DenyKind.NORMALISED, "red wine").id
    assert made(DenyKind.EXACT, "US").id != made(DenyKind.EXACT, "us").id


@pytest.mark.parametrize(
    ("kind", "text", "excepts", "why"),
    [
        (DenyKind.TERM, " \t", (), "empty in normal form"),
        (DenyKind.TERM, "\u200b", (), "empty in normal form"),
        (DenyKind.TERM, "x" * (TEXT_MAX + 1), (), "at most 200 characters"),
        (DenyKind.TERM, "x" * 5_000, (), "text"),
        (DenyKind.EXACT, "wine", ("wine vinegar",), "no exceptions"),
        (DenyKind.TERM, "wine", (" ",), "exception is empty"),
        (DenyKind.PATTERN, "a*", (), "matches the empty text"),
        (DenyKind.PATTERN, "wine|", (), "matches the empty text"),
        (DenyKind.PATTERN, ".", (), "denies everything"),
        (DenyKind.PATTERN, r"\w+", (), "denies everything"),
        (DenyKind.PATTERN, "(wine", (), "missing )"),
        (DenyKind.PATTERN, "(?=wine)", (), "invalid perl operator"),
        (DenyKind.PATTERN, r"(a)\1", (), "invalid escape"),
        (DenyKind.PATTERN, "(x{100}){100}", (), "invalid repetition"),
        (DenyKind.PATTERN, r"[\p{L}\p{N}]{1,400}9", (), "too large"),
    ],
)
def test_a_rule_that_makes_no_sense_is_refused_and_says_why(
    kind: DenyKind, text: str, excepts: tuple[str, ...], why: str
) -> None:
    with pytest.raises(DenyRuleError, match=re.escape(why)) as refused:
        made(kind, text, excepts=excepts)
    assert "No rule was added." in refused.value.message
    assert refused.value.action


def test_a_pattern_denies_a_query_that_is_too_long_to_judge() -> None:
    assert denies("milk " * (JUDGED_MAX // 5 + 1), DenyKind.PATTERN, "wine")
    assert not denies("milk " * (JUDGED_MAX // 5 + 1), DenyKind.TERM, "wine")


def test_too_many_patterns_are_refused() -> None:
    many = [made(DenyKind.PATTERN, f"thing {number}") for number in range(PATTERNS_MAX + 1)]
    assert limited(many[:-1])
    with pytest.raises(DenyRuleError, match="201 deny patterns"):
        limited(many)


@given(QUERIES, st.lists(WORDS.map(" ".join), min_size=1, max_size=4))
def test_terms_match_as_a_search_for_whole_words_does(query: str, texts: list[str]) -> None:
    plain, rules = judged(query), DenyRules(terms(texts))
    found = any(
        re.search(rf"(?<!\S){re.escape(judged(text))}(?!\S)", form)
        for text in texts
        for form in forms_of(plain)
    )
    assert (rules.denying(query) is not None) == found


@given(ANY_TEXT)
def test_a_rule_denies_its_own_text_in_any_dress(text: str) -> None:
    assume(judged(text) and len(text) <= TEXT_MAX)
    for kind in (DenyKind.EXACT, DenyKind.NORMALISED, DenyKind.TERM):
        rules = DenyRules([checked(DenyRule(kind=kind, text=text))])
        assert rules.denying(text) is not None
        if kind is not DenyKind.EXACT:
            assert rules.denying(f"  {text.lower()}\t") is not None or judged(text.lower()) != judged(text)


@given(QUERIES, WORDS.map(" ".join), WORDS.map(" ".join))
def test_an_exception_only_ever_lets_more_through(query: str, text: str, phrase: str) -> None:
    if denies(query, DenyKind.TERM, text, phrase):
        assert denies(query, DenyKind.TERM, text)


@given(st.lists(QUERIES, max_size=6), QUERIES)
def test_more_rules_never_let_more_through(texts: list[str], query: str) -> None:
    every = terms(texts)
    denied = [DenyRules(every[:count]).denying(query) is not None for count in range(len(every) + 1)]
    assert denied == sorted(denied)


@given(ANY_TEXT, st.lists(ANY_TEXT.filter(lambda text: bool(judged(text))), max_size=3))
def test_any_query_gets_an_answer(query: str, texts: list[str]) -> None:
    rules = DenyRules(terms(text for text in texts if len(text) <= TEXT_MAX))
    assert {rule.id for rule in rules.all_denying(query)} <= {rule.id for rule in rules.rules}


def test_a_rule_comes_back_from_its_json_and_foreign_json_is_refused() -> None:
    rule = made(DenyKind.TERM, "wine", excepts=("wine vinegar",), reason="alcohol", by="ann", at_ms=7)
    assert rule_from_json(rule.to_json()) == rule
    assert b'"except":["wine vinegar"]' in rule.to_json()
    for raw in (b"", b"[]", b'{"kind": "spell", "text": "x"}', b'{"kind": "pattern", "text": "a*"}'):
        with pytest.raises(DenyRuleError):
            rule_from_json(raw)


def test_a_file_holds_texts_and_rules_and_names_a_bad_line(tmp_path: Path) -> None:
    raw = b'# ours\n\nbeer\n{"kind": "term", "text": "wine", "except": ["wine vinegar"], "by": "ann"}\nbeer\n'
    beer, wine = parse_deny_file(raw, reason="alcohol", by="bob", at_ms=3, excepts=("root beer",))
    assert (beer.text, beer.excepts, beer.reason, beer.by, beer.at_ms) == (
        "beer",
        ("root beer",),
        "alcohol",
        "bob",
        3,
    )
    assert (wine.excepts, wine.reason, wine.by) == (("wine vinegar",), "alcohol", "ann")
    (tmp_path / "deny").write_bytes(beer.to_json() + b"\n" + wine.to_json())
    assert set(read_deny_file(tmp_path / "deny").rules) == {beer, wine}
    for bad, why in [(b"ok\n\n{", "Line 3 begins like JSON"), (b"{}", "Line 1"), (b"\xff", "not UTF-8")]:
        with pytest.raises(DenyRuleError, match=why):
            parse_deny_file(bad)
    kinds: Any = parse_deny_file(b"a b", kind=DenyKind.NORMALISED)[0].kind
    assert kinds is DenyKind.NORMALISED
