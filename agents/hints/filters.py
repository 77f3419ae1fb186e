"""What must not be shown, or not yet, decided after generation: pure, in the list's order.

What must never be shown is dropped, with its reason. What the user just searched or bought is *held*: a
list waits in Redis until the next visit, when what is bought every week is the best hint of all, so it
stays in the list and readers leave it out until its time has come.

The paper names no filter (its display rules are not given); all of this is ours.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import chain
from typing import Final

from rapidfuzz import fuzz

from agents.hints.generator import Candidate
from agents.session.interest import ACTION_CODES
from streams.hint_request import HintRequest
from streams.query_text import normalise_query
from streams.records import Action

LENGTH: Final = "length"
PERSONAL: Final = "personal"
DENIED: Final = "denied"
DUPLICATE: Final = "duplicate"
NEAR_DUPLICATE: Final = "near_duplicate"

CACHE_SIZE: Final = 65_536  # the same lexicon queries come again and again
_MAIL = re.compile(r"[^\s@]+@[^\s@]+\.[^\s@]+")
_DIGITS = re.compile(r"(?:\d[ ().+/-]{0,2}){9,}")
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
    denied: Collection[str] = frozenset(),
    rules: FilterRules = FilterRules(),
    beside: Sequence[Candidate] = (),
) -> tuple[list[Candidate], dict[str, int]]:
    """Candidates that may be shown, now or (held) later, in their order; and drops by reason.

    held: of `recently_done`. denied: queries or terms in lower case; a candidate that holds one as whole
    words is dropped. beside: what is on the list already; a candidate that is the same hint as one of these
    is dropped.
    """
    kept: list[Candidate] = []
    dropped: Counter[str] = Counter()
    for candidate in candidates:
        others = chain(beside, kept)
        reason = _unfit(candidate.query, denied, rules) or _double(candidate.query, others, rules)
        if reason:
            dropped[reason] += 1
        else:
            kept.append(replace(candidate, held_until_ms=held.get(normalise_query(candidate.query), 0)))
    return kept, dict(dropped)


def _unfit(query: str, denied: Collection[str], rules: FilterRules) -> str | None:
    if not has_fit_length(query, rules):
        return LENGTH
    if is_personal(query):
        return PERSONAL
    if is_denied(query, denied):
        return DENIED
    return None


def has_fit_length(query: str, rules: FilterRules = FilterRules()) -> bool:
    """Whether a query is neither too short nor too long to be shown."""
    least, most = rules.characters
    return least <= len(query) <= most and len(query.split()) <= rules.words_max


def is_denied(query: str, denied: Collection[str]) -> bool:
    """Whether a query holds one of `denied`, queries or terms in lower case, as whole words."""
    return bool(denied) and any(span in denied for span in _spans(query))


@lru_cache(CACHE_SIZE)
def is_personal(query: str) -> bool:
    """A mail address, or nine digits and more that can be a phone, card or account number.

    >>> is_personal("jo@example.org"), is_personal("+49 (171) 555-0123"), is_personal("9 volt batteries")
    (True, True, False)
    """
    return bool(_MAIL.search(query) or _DIGITS.search(query))


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


def _double(query: str, others: Iterable[Candidate], rules: FilterRules) -> str | None:
    reasons = (double_of(query, other.query, rules) for other in others)
    return next((reason for reason in reasons if reason), None)


def double_of(query: str, other: str, rules: FilterRules = FilterRules()) -> str | None:
    """DUPLICATE or NEAR_DUPLICATE when the two are one hint for people, else None."""
    plain, other_plain = _plain(query), _plain(other)
    if plain == other_plain:
        return DUPLICATE
    if _stems(query) == _stems(other):
        return NEAR_DUPLICATE
    # Numbers tell products apart ("6 volt", "9 volt"), however alike the rest is.
    if _numbers(plain) == _numbers(other_plain) and fuzz.ratio(plain, other_plain) >= rules.similar:
        return NEAR_DUPLICATE
    return None


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


def _spans(query: str) -> set[str]:
    """All runs of whole words of the query, the query itself among them."""
    words = _plain(query).split()
    return {
        " ".join(words[start:end]) for start in range(len(words)) for end in range(start + 1, len(words) + 1)
    }
