"""Which queries may not be shown: rules that people made, and one question about a query. Pure.

    exact        the text as it was typed
    normalised   the same query (streams.query_text)
    term         whole words anywhere in the query; all terms by one Aho-Corasick automaton
    pattern      a regular expression anywhere in the query, of RE2

Exceptions of a term or pattern are phrases that are taken out of the query before the rule looks at it:
"wine" with the exception "wine vinegar" denies "red wine" and not "red wine vinegar". A rule never changes;
one with other exceptions is another rule, and the stricter of two wins.

RE2 takes time in proportion to the text, so a pattern has its time limit by construction: at most PATTERN_MAX
characters, a program of at most PATTERN_BYTES, on at most JUDGED_MAX characters (benchmarked below 2 ms). It
knows neither look-around nor references back. What cannot be judged, a longer text, counts as a match.
The same rules and query give the same answer on every machine, so a replay equals the live run. Ours; the
paper names no such rules.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any, Final, TypeVar

import ahocorasick

from streams.deny_rule import DenyKind, DenyRule, compiled_pattern
from streams.judged_text import forms_of, is_whole, judged

CACHE_SIZE: Final = 65_536  # the same lexicon queries come again and again
JUDGED_MAX: Final = 1_000
_T = TypeVar("_T")


class DenyRules:
    """Rules, compiled. Raises DenyRuleError when a pattern cannot be used."""

    def __init__(self, rules: Iterable[DenyRule] = ()) -> None:
        self.rules = tuple(sorted(rules, key=lambda rule: (rule.at_ms, rule.id)))
        self._exact: dict[str, list[int]] = {}
        self._normalised: dict[str, list[int]] = {}
        self._terms: dict[str, list[int]] = {}
        self._patterns: list[tuple[int, Any]] = []
        self._excepts: dict[int, tuple[re.Pattern[str], ...]] = {}
        for place, rule in enumerate(self.rules):
            self._add(place, rule)
        self._automaton = _automaton(self._terms)
        self._denying = lru_cache(CACHE_SIZE)(self._all_of)

    def __len__(self) -> int:
        return len(self.rules)

    def denying(self, query: str) -> DenyRule | None:
        """The oldest rule that denies the query; None: it may be shown."""
        return next(iter(self.all_denying(query)), None)

    def all_denying(self, query: str) -> tuple[DenyRule, ...]:
        """Every rule that denies the query, oldest first."""
        return self._denying(query) if self.rules else ()

    def _add(self, place: int, rule: DenyRule) -> None:
        if rule.kind is DenyKind.EXACT:
            self._exact.setdefault(rule.text, []).append(place)
        elif rule.kind is DenyKind.NORMALISED:
            self._normalised.setdefault(judged(rule.text), []).append(place)
        elif rule.kind is DenyKind.TERM:
            self._terms.setdefault(judged(rule.text), []).append(place)
        else:
            self._patterns.append((place, compiled_pattern(rule.text)))
        if rule.excepts:
            self._excepts[place] = tuple(_phrase(judged(one)) for one in rule.excepts)

    def _all_of(self, query: str) -> tuple[DenyRule, ...]:
        forms = forms_of(judged(query))
        found = {
            *self._exact.get(query, ()),
            *self._normalised.get(forms[0], ()),
            *self._places(forms),
        }
        return tuple(self.rules[place] for place in sorted(found) if not self._is_excepted(place, forms))

    def _places(self, forms: tuple[str, ...]) -> Iterator[int]:
        """Of terms and patterns that match one of the forms."""
        if len(forms[0]) > JUDGED_MAX:
            yield from (place for place, _ in self._patterns)
        for form in forms:
            yield from self._places_of_terms(form)
            yield from (place for place, pattern in self._patterns if pattern.search(form[:JUDGED_MAX]))

    def _places_of_terms(self, text: str) -> Iterator[int]:
        if self._automaton is None:
            return
        for last, term in self._automaton.iter(text):
            if is_whole(text, last + 1 - len(term), last + 1):
                yield from self._terms[term]

    def _is_excepted(self, place: int, forms: tuple[str, ...]) -> bool:
        """Whether the rule denies nothing of the query once its exceptions are taken out."""
        phrases = self._excepts.get(place)
        if phrases is None or len(forms[0]) > JUDGED_MAX:
            return False
        return all(place not in set(self._places((_without(form, phrases),))) for form in forms)


def _automaton(terms: Iterable[str]) -> Any:
    """None without terms: an empty automaton cannot be asked."""
    automaton = ahocorasick.Automaton()
    for term in terms:
        automaton.add_word(term, term)
    if not len(automaton):
        return None
    automaton.make_automaton()
    return automaton


def _phrase(plain: str) -> re.Pattern[str]:
    """Finds the phrase, whatever stands between its words; time in proportion to the text."""
    words = forms_of(plain)[-1].split()
    return re.compile(r"\W+".join(map(re.escape, words)))


def _without(text: str, phrases: Iterable[re.Pattern[str]]) -> str:
    """The text with a NUL for each character of the phrases' occurrences: no word, and in no rule."""
    left = list(text)
    for phrase in phrases:
        found = phrase.search(text)
        while found:
            start, end = found.span()
            if is_whole(text, start, end):
                left[start:end] = "\0" * (end - start)
            found = phrase.search(text, start + 1)
    return "".join(left)


NO_RULES: Final = DenyRules()
