"""Interest points to tokens and back: a trace of rationales, then the structured prediction (Eq 7–9).

    BEGIN [POINT <8> times:1 days:4 "salsa" baskets:2^5 …]* ANSWER [POINT <3> <8> ARROW "salsa" "beans"]* END

Reading never fails: whatever the tokens are, what can be understood is kept and the rest is left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import NamedTuple

from streams.query_text import normalise_query
from training.think.mining.histories import LINES
from training.think.network.tokens import (
    ANSWER,
    ARROW,
    BEGIN,
    END,
    LINE_KINDS,
    POINT,
    Kind,
    Lexicon,
    line_of,
    line_token,
    query_of,
    value_of,
    value_token,
)
from training.think.points import QUERIES_MAX, Fact, History, InterestPoint


class WrittenFact(NamedTuple):
    """A fact as the network wrote it, unchecked. line: its trigger's. query: "" for facts of a line."""

    kind: Kind
    line: int
    query: str
    bucket: int


class WrittenPoint(NamedTuple):
    """Of the answer, with the rationale at the same place of the trace."""

    triggers: tuple[int, ...]
    queries: tuple[str, ...]
    facts: tuple[WrittenFact, ...] = ()


def tokens_of(
    points: Sequence[InterestPoint], history: History, lexicon: Lexicon, *, traced: bool = True
) -> list[int]:
    """One whole output. What the network cannot write is left out: lines beyond the window, queries that are
    in no lexicon, and points that have none left."""
    kept = [(point, *_sayable(point, lexicon)) for point in points]
    kept = [(point, triggers, queries) for point, triggers, queries in kept if triggers and queries]
    tokens = [BEGIN]
    if traced:
        for point, triggers, queries in kept:
            tokens += [POINT, *_rationale(point, triggers, queries[0], history, lexicon)]
    tokens.append(ANSWER)
    for _, triggers, queries in kept:
        tokens += [POINT, *map(line_token, triggers), ARROW, *queries]
    return [*tokens, END]


def read_tokens(tokens: Iterable[int], history: History, lexicon: Lexicon) -> list[WrittenPoint]:
    """The points that the tokens hold; any tokens at all may be given."""
    whole = list(_until_end(tokens))
    at = whole.index(ANSWER) if ANSWER in whole else len(whole)
    traces = [_facts(part, lexicon) for part in _split(whole[:at])]
    found = []
    for place, part in enumerate(_split(whole[at:])):
        triggers, queries = _read_point(part, history, lexicon)
        if triggers and queries:
            found.append(WrittenPoint(triggers, queries, tuple(traces[place]) if place < len(traces) else ()))
    return found


def _sayable(point: InterestPoint, lexicon: Lexicon) -> tuple[list[int], list[int]]:
    """Lines, rising, and query tokens."""
    lines = sorted({line for line in point.triggers if 1 <= line <= LINES})
    queries = (lexicon.token(query) for query in point.queries)
    return lines, list(dict.fromkeys(token for token in queries if token is not None))


def _rationale(
    point: InterestPoint, triggers: Sequence[int], query: int, history: History, lexicon: Lexicon
) -> Iterator[int]:
    """The facts by their trigger, those of the pair behind the first; at the least a line and a query."""
    lines: dict[str, int] = {}
    for line in history.lines:
        lines.setdefault(normalise_query(line.text), line.index)
    groups: dict[int, list[Fact]] = {}
    for fact in point.facts:
        line_index = lines.get(normalise_query(fact.trigger))
        if line_index is not None and line_index <= LINES:
            groups.setdefault(line_index, []).append(fact)
    for place, (line_index, facts) in enumerate((groups or {triggers[0]: []}).items()):
        yield line_token(line_index)
        yield from (value_token(fact.kind, fact.value) for fact in facts if fact.kind in LINE_KINDS)
        if place == 0:
            told = next((lexicon.token(fact.query) for fact in facts if fact.query), None)
            yield query if told is None else told
            if told is not None:
                yield from (value_token(fact.kind, fact.value) for fact in facts if fact.query)


def _until_end(tokens: Iterable[int]) -> Iterator[int]:
    for token in tokens:
        if token == END:
            return
        yield token


def _split(tokens: Sequence[int]) -> list[list[int]]:
    """What stands behind each POINT, up to the next."""
    parts: list[list[int]] = []
    for opens, group in groupby(tokens, key=lambda token: token == POINT):
        if opens:
            parts += [[] for _ in group]
        elif parts:
            parts[-1] = list(group)
    return parts


def _facts(tokens: Sequence[int], lexicon: Lexicon) -> list[WrittenFact]:
    """What a rationale says; a value without its subject says nothing."""
    found, line, query = [], None, ""
    for token in tokens:
        named, asked, value = line_of(token), query_of(token), value_of(token)
        if named is not None:
            line = named
        elif asked is not None:
            query = lexicon.queries[asked] if asked < len(lexicon.queries) else ""
        elif value is not None and line is not None:
            of_line = value[0] in LINE_KINDS
            if of_line or query:
                found.append(WrittenFact(value[0], line, "" if of_line else query, value[1]))
    return found


def _read_point(
    tokens: Sequence[int], history: History, lexicon: Lexicon
) -> tuple[tuple[int, ...], tuple[str, ...]]:
    at = tokens.index(ARROW) if ARROW in tokens else len(tokens)
    lines = (line_of(token) for token in tokens[:at])
    triggers = dict.fromkeys(line for line in lines if line is not None and line <= len(history.lines))
    numbers = (query_of(token) for token in tokens[at:])
    queries = dict.fromkeys(
        lexicon.queries[number] for number in numbers if number is not None and number < len(lexicon.queries)
    )
    return tuple(triggers), tuple(queries)[:QUERIES_MAX]
