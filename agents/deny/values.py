"""Values in Redis without the queries that nobody may be shown. Pure: bytes in, bytes out.

Every field that is not looked at stays as it is, in its place: a hint list keeps its version in front. Most
values hold nothing but queries that were allowed before, which is seen without reading the JSON.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import orjson

from agents.hints.filters import forbidden
from streams.deny_rules import DenyRules

KEPT: Final = 65_536
# In JSON without a backslash this finds every text that stands under the name, wherever it is.
_QUERIES: Final = re.compile(rb'"query"\s*:\s*"([^"]*)"')
_HOLDERS: Final = ("hints", "queries")  # where a hint list, and where an entry of Think, has its queries


class Cleaned(NamedTuple):
    """A value without what is forbidden. taken: query → ids of the rules that deny it; (): personal data."""

    value: bytes
    taken: dict[str, tuple[str, ...]]


@dataclass(slots=True)
class Cleaner:
    """Takes out of values what the rules deny, and personal data. It keeps what it judged."""

    rules: DenyRules
    _allowed: set[bytes] = field(default_factory=set)
    _judged: dict[str, tuple[str, ...] | None] = field(default_factory=dict)

    def cleaned(self, value: bytes) -> Cleaned:
        """Of a hint list, Think's entry or a popular list; the very same bytes where nothing is forbidden.

        What is none of these stays: readers skip it.
        """
        if b"\\" not in value and self._allowed.issuperset(_QUERIES.findall(value)):
            return Cleaned(value, {})
        try:
            told: Any = orjson.loads(value)
        except orjson.JSONDecodeError:
            return Cleaned(value, {})
        taken: dict[str, tuple[str, ...]] = {}
        if isinstance(told, list):
            told = self._left(told, taken)
        elif isinstance(told, dict):
            for name in _HOLDERS:
                if isinstance(told.get(name), list):
                    told[name] = self._left(told[name], taken)
        return Cleaned(orjson.dumps(told), taken) if taken else Cleaned(value, {})

    def _left(self, items: list[Any], taken: dict[str, tuple[str, ...]]) -> list[Any]:
        return [one for one in items if not self._is_taken(one, taken)]

    def _is_taken(self, item: Any, taken: dict[str, tuple[str, ...]]) -> bool:
        query = item.get("query") if isinstance(item, dict) else None
        ids = self._taken_by(query) if isinstance(query, str) else None
        if ids is not None and query:
            taken[query] = ids
        return ids is not None

    def _taken_by(self, query: str) -> tuple[str, ...] | None:
        """The ids of the rules that deny it, () for personal data; None: it may be shown."""
        if len(self._judged) >= KEPT:
            self._judged.clear()
            self._allowed.clear()
        if query not in self._judged:
            is_forbidden = forbidden(query, self.rules) is not None
            self._judged[query] = ids_of(query, self.rules) if is_forbidden else None
            if not is_forbidden:
                self._allowed.add(query.encode())
        return self._judged[query]


def cleaned(value: bytes, rules: DenyRules) -> Cleaned:
    """`Cleaner.cleaned` of one value."""
    return Cleaner(rules).cleaned(value)


def ids_of(query: str, rules: DenyRules) -> tuple[str, ...]:
    """The rules that deny the query."""
    return tuple(rule.id for rule in rules.all_denying(query))
