"""What must not be shown, or not yet, decided after generation: pure, in the list's order.

What must never be shown is dropped, with its reason. What the user just searched or bought is *held*: a
list waits in Redis until the next visit, when what is bought every week is the best hint of all, so it
stays in the list and readers leave it out until its time has come.

The paper names no filter (its display rules are not given); all of this is ours.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final

from rapidfuzz import fuzz, process

from agents.hints.generator import Candidate
from agents.session.interest import ACTION_CODES
from streams.deny_rule import NO_RESULTS as NO_RESULTS
from streams.deny_rules import NO_RULES, DenyRules
from streams.hint_request import HintRequest
from streams.personal_data import is_personal
from streams.query_text import normalise_query
from streams.records import Action

LENGTH: Final = "length"
PERSONAL: Final = "personal"
DENIED: Final = "denied"
UNKNOWN: Final = "unknown_words"
DUPLICATE: Final = "duplicate"
NEAR_DUPLICATE: Final = "near_duplicate"

DOUBLES: Final = frozenset({DUPLICATE, NEAR_DUPLICATE})
CACHE_SIZE: Final = 65_536  # the same lexicon queries come again and again
_WORDS = re.compile(r"\w+")


@dataclass(frozen=True, slots=True)
class FilterRules:
    """Limits of a hint's text, and for how long (ms of event time) what the user did is not hinted again.

    `similar`: rapidfuzz ratio, 0 to 100, from which two hints count as the same.
    """

    characters: tuple[int, int] = (2, 60)
    words_max: int = 8
    searched_ms: int = 10 * 60_000
    purchased_ms: int = 2 * 3_600_000
    similar: float = 92.0


def filter_candidates(
    candidates: Sequence[Candidate],
    held: Mapping[str, int],
    denied: DenyRules = NO_RULES,
    rules: FilterRules = FilterRules(),
    beside: Sequence[Candidate] = (),
    known: Container[str] | None = None,
) -> tuple[list[Candidate], dict[str, int]]:
    """Candidates that may be shown, now or (held) later, in their order; and drops by reason.

    held: of `recently_done`. denied: a rule whose reason is NO_RESULTS drops under that name. beside: what is
    on the list already; a candidate that is the same hint as one of these is dropped. known: queries that the
    shop is known to have something for; None: these candidates were reviewed for it.
    """
    kept: list[Candidate] = []
    dropped: Counter[str] = Counter()
    others = _Others(rules)
    for candidate in beside:
        others.add(candidate.query)
    for candidate in candidates:
        query = candidate.query
        reason = _unfit(query, denied, rules) or _unknown(query, known) or others.double(query)
        if reason:
            dropped[reason] += 1
            continue
        others.add(query)
        until_ms = held.get(normalise_query(query), 0) if held else 0
        kept.append(replace(candidate, held_until_ms=until_ms) if until_ms else candidate)
    return kept, dict(dropped)


def _unfit(query: str, denied: DenyRules, rules: FilterRules) -> str | None:
    if not has_fit_length(query, rules):
        return LENGTH
    return forbidden(query, denied)


def forbidden(query: str, denied: DenyRules) -> str | None:
    """PERSONAL, NO_RESULTS or DENIED: why nobody may be shown the query, at any gate; None: they may."""
    if is_personal(query):
        return PERSONAL
    rule = denied.denying(query)
    if rule is None:
        return None
    return NO_RESULTS if rule.reason == NO_RESULTS else DENIED


def _unknown(query: str, known: Container[str] | None) -> str | None:
    return UNKNOWN if known is not None and query not in known else None


def has_fit_length(query: str, rules: FilterRules = FilterRules()) -> bool:
    """Whether a query is neither too short nor too long to be shown."""
    least, most = rules.characters
    return least <= len(query) <= most and len(query.split()) <= rules.words_max


def recently_done(request: HintRequest, rules: FilterRules = FilterRules()) -> dict[str, int]:
    """What the user just searched or bought, in normal form, newest first: the time (ms) until which it is
    held."""
    limits = {
        ACTION_CODES[Action.PURCHASE]: rules.purchased_ms,
        ACTION_CODES[Action.SEARCH]: rules.searched_ms,
    }
    held: dict[str, int] = {}
    for behaviour in request.behaviours:
        until_ms = behaviour.at_ms + limits.get(behaviour.action, 0)
        if until_ms > request.version.as_of_ms:
            text = normalise_query(behaviour.text)
            held[text] = max(until_ms, held.get(text, 0))
    return held


class _Others:
    """The hints that a list has so far, by what makes another one the same hint for people."""

    def __init__(self, rules: FilterRules) -> None:
        self._similar = rules.similar
        self._stems: set[tuple[str, ...]] = set()
        # Numbers tell products apart ("6 volt", "9 volt"), however alike the rest is.
        self._plain: dict[tuple[str, ...], list[str]] = {}

    def add(self, query: str) -> None:
        """One more hint."""
        plain = _plain(query)
        self._stems.add(_stems(query))
        self._plain.setdefault(_numbers(plain), []).append(plain)

    def double(self, query: str) -> str | None:
        """DUPLICATE or NEAR_DUPLICATE when the list has the hint already, else None."""
        plain = _plain(query)
        alike = self._plain.get(_numbers(plain), ())
        if plain in alike:
            return DUPLICATE
        if _stems(query) in self._stems:
            return NEAR_DUPLICATE
        found = process.extractOne(plain, alike, scorer=fuzz.ratio, score_cutoff=self._similar)
        return NEAR_DUPLICATE if found is not None else None


def double_of(query: str, other: str, rules: FilterRules = FilterRules()) -> str | None:
    """DUPLICATE or NEAR_DUPLICATE when the two are one hint for people, else None."""
    others = _Others(rules)
    others.add(other)
    return others.double(query)


@lru_cache(CACHE_SIZE)
def _plain(text: str) -> str:
    return " ".join(text.casefold().split())


@lru_cache(CACHE_SIZE)
def _stems(query: str) -> tuple[str, ...]:
    """Words without order and plural: "canned tomatoes" is "tomato can" is not; "egg" is "eggs"."""
    return tuple(sorted(_singular(word) for word in _WORDS.findall(query.casefold())))


def _singular(word: str) -> str:
    if len(word) > 4 and word.endswith("ies"):
        return word[:-3] + "y"
    if len(word) > 4 and word.endswith(("oes", "ches", "shes", "xes")):
        return word[:-2]
    if len(word) > 3 and word.endswith("s") and not word.endswith("ss"):
        return word[:-1]
    return word


@lru_cache(CACHE_SIZE)
def _numbers(plain: str) -> tuple[str, ...]:
    return tuple(re.findall(r"\d+", plain))
