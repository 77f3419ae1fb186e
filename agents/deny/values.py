"""Values in Redis without the queries that nobody may be shown. Pure: bytes in, bytes out.

Every field that is not looked at stays as it is, in its place: a hint list keeps its version in front.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final, NamedTuple

import orjson

from agents.hints.filters import forbidden
from streams.deny_rules import DenyRules

CACHE_SIZE: Final = 65_536
_HOLDERS: Final = ("hints", "queries")  # where a hint list, and where an entry of Think, has its queries


class Cleaned(NamedTuple):
    """A value without what is forbidden. taken: query → ids of the rules that deny it; (): personal data."""

    value: bytes
    taken: dict[str, tuple[str, ...]]


def cleaned(value: bytes, rules: DenyRules) -> Cleaned:
    """Of a hint list, an entry of Think or a popular list; the very same bytes where nothing is forbidden.

    What is none of these stays: readers skip it.
    """
    try:
        told: Any = orjson.loads(value)
    except orjson.JSONDecodeError:
        return Cleaned(value, {})
    taken: dict[str, tuple[str, ...]] = {}
    if isinstance(told, list):
        told = _allowed(told, rules, taken)
    elif isinstance(told, dict):
        for name in _HOLDERS:
            if isinstance(told.get(name), list):
                told[name] = _allowed(told[name], rules, taken)
    return Cleaned(orjson.dumps(told), taken) if taken else Cleaned(value, {})


def ids_of(query: str, rules: DenyRules) -> tuple[str, ...]:
    """The rules that deny the query."""
    return tuple(rule.id for rule in rules.all_denying(query))


def _allowed(items: list[Any], rules: DenyRules, taken: dict[str, tuple[str, ...]]) -> list[Any]:
    return [one for one in items if not _is_taken(one, rules, taken)]


def _is_taken(item: Any, rules: DenyRules, taken: dict[str, tuple[str, ...]]) -> bool:
    query = item.get("query") if isinstance(item, dict) else None
    ids = _taken_by(query, rules) if isinstance(query, str) else None
    if ids is not None and query:
        taken[query] = ids
    return ids is not None


@lru_cache(CACHE_SIZE)
def _taken_by(query: str, rules: DenyRules) -> tuple[str, ...] | None:
    """None: it may be shown. A sweep asks for the same queries again and again."""
    return None if forbidden(query, rules) is None else ids_of(query, rules)
