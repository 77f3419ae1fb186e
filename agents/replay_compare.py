"""Two results of an offline replay side by side: who would get other hints, and why.

Everything in a list is compared but `generated_at`, which is a wall clock in lists read from Redis.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any, Final

import orjson

from agents.offline_replay import OfflineResult
from streams.errors import AigqError, ReplayError
from streams.hint_list import HintList
from streams.record_log import read_log

NO_LIST_EXPECTED: Final = "no_list_expected"
LIST_MISSING: Final = "list_missing"
HINTS: Final = "hints"
SCORES: Final = "scores"
# After the hints, in order of how much they explain.
_FIELDS: Final = (
    *("reason", "as_of", "trigger", "triggers", "held", "drift", "application", "locale"),
    *("bundle", "mapping", "arm", "version", "list_id"),
)
_DECISION: Final = ("outcome", "reason", "refresh")
NONE: Final = "(none)"
_NO_ROW: Final[dict[str, Any]] = {}


@dataclass(frozen=True, slots=True)
class Difference:
    """One user's lists differ. kind: what most of all, or the field's name. expected, got: the queries.

    why: all that differs, and the first decision that went another way where traces are at hand.
    """

    user: str
    kind: str
    expected: tuple[str, ...]
    got: tuple[str, ...]
    why: str


def read_result(path: Path) -> dict[str, HintList]:
    """User → list, from a file that `write_result` wrote. Raises DatasetError, ReplayError."""
    if path.is_file() and not path.stat().st_size:
        return {}  # of a log without a usable event
    lists: dict[str, HintList] = {}
    for record in read_log(path):
        try:
            entry = HintList.from_json(record.value)
        except AigqError as error:
            raise ReplayError(
                f"{path}, line {record.line}: {error.message}",
                action="Name a file that `aigq replay --offline --out` wrote.",
            ) from error
        lists[entry.user] = entry
    return lists


def compare(
    result: OfflineResult, expect: Path, *, trace: Path | None = None, expect_trace: Path | None = None
) -> list[Difference]:
    """The users whose lists differ from those in `expect`, in order of user; empty: none.

    With the traces of both runs, each difference names the first decision that went another way.
    """
    expected, got = read_result(expect), {entry.user: entry for entry in result.lists}
    pairs = ((user, expected.get(user), got.get(user)) for user in sorted(expected.keys() | got.keys()))
    found = [difference for pair in pairs if (difference := _difference(*pair)) is not None]
    if trace is None or expect_trace is None or not found:
        return found
    decisions = _first_other_decisions(expect_trace, trace, {difference.user for difference in found})
    return [_with_decision(difference, decisions.get(difference.user)) for difference in found]


def _difference(user: str, expected: HintList | None, got: HintList | None) -> Difference | None:
    if expected is None and got is not None:
        return Difference(
            user, NO_LIST_EXPECTED, (), _queries(got), f"no list expected, got one: {got.reason}"
        )
    if got is None and expected is not None:
        return Difference(user, LIST_MISSING, _queries(expected), (), f"a list expected: {expected.reason}")
    if expected is None or got is None:
        return None
    found = [*_in_hints(expected, got), *_in_fields(expected, got)]
    if not found:
        return None
    why = "; ".join(text for _, text in found)
    return Difference(user, found[0][0], _queries(expected), _queries(got), why)


def _in_hints(expected: HintList, got: HintList) -> Iterator[tuple[str, str]]:
    pairs = zip_longest(_queries(expected), _queries(got), fillvalue=NONE)
    for place, (old, new) in enumerate(pairs, 1):
        if old != new:
            yield HINTS, f"hints differ at {place}: {old} -> {new}"
            return
    for place, (before, now) in enumerate(zip(expected.hints, got.hints, strict=True), 1):
        if before != now:
            parts = [
                f"{name} {getattr(before, name)!r} -> {getattr(now, name)!r}"
                for name in ("score", "source", "why", "mapping")
                if getattr(before, name) != getattr(now, name)
            ]
            yield SCORES, f"hint {place} ({now.query}) differs: {', '.join(parts)}"
            return


def _in_fields(expected: HintList, got: HintList) -> Iterator[tuple[str, str]]:
    for name in _FIELDS:
        old, new = getattr(expected, name), getattr(got, name)
        if old != new:
            yield name, f"{name} changed: {old} -> {new}"


def _queries(entry: HintList) -> tuple[str, ...]:
    return tuple(hint.query for hint in entry.hints)


def _with_decision(difference: Difference, decision: str | None) -> Difference:
    if decision is None:
        return difference
    why = f"{difference.why}; first other decision: {decision}"
    return Difference(difference.user, difference.kind, difference.expected, difference.got, why)


def _first_other_decisions(expected: Path, got: Path, users: Collection[str]) -> dict[str, str]:
    before, now = _trace_rows(expected, users), _trace_rows(got, users)
    found = {}
    for user in users:
        pairs = zip_longest(before.get(user, []), now.get(user, []), fillvalue=_NO_ROW)
        for old, new in pairs:
            if _decision(old) != _decision(new):
                found[user] = f"{_event(new or old)}: {_shown(old)} -> {_shown(new)}"
                break
    return found


def _trace_rows(path: Path, users: Collection[str]) -> dict[str, list[dict[str, Any]]]:
    rows: dict[str, list[dict[str, Any]]] = {}
    for record in read_log(path):
        try:
            row = orjson.loads(record.value)
            user = row.get("user")
        except (ValueError, AttributeError) as error:
            raise ReplayError(
                f"{path}, line {record.line} is no line of a trace.",
                action="Name a file that `aigq replay --offline --trace` wrote.",
            ) from error
        if user in users:
            rows.setdefault(user, []).append(row)
    return rows


def _decision(row: dict[str, Any]) -> tuple[Any, ...]:
    return (row.get("event_id"), row.get("at_ms"), *(row.get(name) for name in _DECISION))


def _event(row: dict[str, Any]) -> str:
    line = f"line {row['line']}, " if "line" in row else ""
    return f"{line}{row.get('action', '?')} {row.get('text') or ''}".rstrip()


def _shown(row: dict[str, Any]) -> str:
    if not row:
        return "no such event"
    return f"{row.get('reason') or row.get('outcome')} (drift {row.get('drift', 0)})"
