"""Which tokens may come next: a state machine that makes every decode well-formed.

    output    := BEGIN rationale{n} ANSWER point{m} END      n ≤ 8; m = n after a trace, without one m ≤ 8
    rationale := POINT line times? days? query baskets? households? later? (line times? days?)?
    point     := POINT line+ ARROW query+                    lines rise; at most 10 queries

A fact speaks of the line named last, and facts of pairs of the rationale's query too, which is named once.
What a rationale speaks of is promised to its point: T_k holds its lines, Q_k begins with its query. A line
stands in one point at most and a query once in the whole answer, as in the reference
(training.think.mining.reference); a query that stands in the history is no answer. So the longest output is
known beforehand (TOKENS_MAX), nothing is ever cut off, and a decode cannot fail. All ours: the paper writes
free text and pays for broken form in R_fmt (§3.5.1).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Final, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from training.think.mining.histories import LINES
from training.think.mining.reference import POINTS, TRIGGERS_TOLD
from training.think.network.tokens import (
    ANSWER,
    ARROW,
    BEGIN,
    BUCKETS,
    END,
    FIRST_LINE,
    FIRST_QUERY,
    KINDS,
    LINE_KINDS,
    PAIR_KINDS,
    POINT,
    STARTS,
    Lexicon,
    line_of,
    query_of,
    value_of,
)
from training.think.points import QUERIES_MAX, History

Bool = npt.NDArray[np.bool_]
Numbers = frozenset[int]
RATIONALE_MAX: Final = 1 + 3 * TRIGGERS_TOLD + 1 + len(PAIR_KINDS)
TOKENS_MAX: Final = 3 + POINTS * RATIONALE_MAX + 2 * POINTS + LINES + POINTS * QUERIES_MAX

# What came last. trace: BEGIN. told: POINT in the trace. line, pair: the subject of values. answer: ANSWER.
# point: POINT in the answer. triggers, arrow, queries: in a point.
At = Literal[
    "start", "trace", "told", "line", "pair", "answer", "point", "triggers", "arrow", "queries", "done"
]


class Promise(NamedTuple):
    """What a rationale speaks of: lines, and the query's number."""

    lines: Numbers
    query: int = -1


class State(NamedTuple):
    """Where an output stands. promised: of the rationales so far. points: of the answer, begun. lines: named
    in the open rationale. queries: of the open point. said: rank of the last value among KINDS, −1 for none
    yet of this subject. last: the newest line of the open point. used_lines, used_queries: of the trace, then
    of the answer, so far."""

    at: At = "start"
    promised: tuple[Promise, ...] = ()
    points: int = 0
    lines: int = 0
    queries: int = 0
    said: int = -1
    last: int = 0
    used_lines: Numbers = frozenset()
    used_queries: Numbers = frozenset()


@dataclass(frozen=True)
class Grammar:
    """Of one history. lines: how many it has. known: queries that stand in it. tokens: of the lexicon.
    traced: whether outputs have a trace."""

    lines: int
    known: Numbers
    tokens: int
    traced: bool = True

    @classmethod
    def of(cls, history: History, lexicon: Lexicon, *, traced: bool = True) -> Grammar:
        """For a history."""
        return cls(min(len(history.lines), LINES), lexicon.known(history), lexicon.tokens, traced)

    def allowed(self, state: State) -> Bool:
        """(tokens,) which may come next; at least one until the output is done, then none."""
        found = np.zeros(self.tokens, np.bool_)
        match state.at:
            case "start":
                found[BEGIN] = True
            case "trace" | "line" | "pair":
                self._in_trace(state, found)
            case "told":
                self._free_lines(state, found)
            case "answer":
                self._next_point(state, found)
            case "point" | "triggers":
                self._trigger(state, found)
            case "arrow":
                self._first_query(state, found)
            case "queries":
                self._next_point(state, found)
                if state.queries < QUERIES_MAX:
                    self._free_queries(state, found)
        return found

    def step(self, state: State, token: int) -> State:
        """The state after a token that `allowed` allows; after another one it means nothing."""
        line, query, value = line_of(token), query_of(token), value_of(token)
        if line is not None:
            return _line(state, line)
        if query is not None:
            return _query(state, query)
        if value is not None:
            return state._replace(said=KINDS.index(value[0]))
        match token:
            case t if t == POINT:
                return _point(state)
            case t if t == ANSWER:
                return state._replace(at="answer", used_lines=frozenset(), used_queries=frozenset())
            case t if t == ARROW:
                return state._replace(at="arrow", queries=0)
            case t if t == END:
                return state._replace(at="done")
        return state._replace(at="trace")

    def states(self, tokens: Iterable[int]) -> Iterator[State]:
        """The state after each token, up to the first that may not come."""
        state = State()
        for token in tokens:
            if not 0 <= token < self.tokens or not self.allowed(state)[token]:
                return
            state = self.step(state, token)
            yield state

    def accepts(self, tokens: Iterable[int]) -> bool:
        """Whether the tokens are one whole output; what follows END is no part of one."""
        tokens = list(tokens)
        states = list(self.states(tokens))
        return len(states) == len(tokens) > 0 and states[-1].at == "done"

    def _in_trace(self, state: State, found: Bool) -> None:
        paired = state.at == "pair" or (state.at == "line" and state.promised[-1].query >= 0)
        if state.at == "trace" or paired:
            found[ANSWER] = True
            found[POINT] = self.traced and len(state.promised) < POINTS and self._room(state)
        if state.at == "line":
            _values(LINE_KINDS, state, found)
        if state.at == "line" and not paired:
            self._free_queries(state, found)
        if state.at == "pair":
            _values(PAIR_KINDS, state, found)
            if state.lines < TRIGGERS_TOLD:
                self._free_lines(state, found)

    def _next_point(self, state: State, found: Bool) -> None:
        more = state.points < len(state.promised)
        if not self.traced:
            more = state.points < POINTS and self._room(state)
        found[POINT] = more
        found[END] = not self.traced or not more

    def _trigger(self, state: State, found: Bool) -> None:
        """Rising, so none may pass a line that was promised; the arrow when all of these are there."""
        own = state.promised[state.points - 1].lines if self.traced else frozenset()
        open_ = own - state.used_lines
        found[ARROW] = state.at == "triggers" and not open_
        self._free_lines(state, found, state.last, min(open_, default=self.lines))
        for promise in state.promised[state.points :]:
            found[[FIRST_LINE + line - 1 for line in promise.lines]] = False

    def _first_query(self, state: State, found: Bool) -> None:
        if self.traced:
            found[FIRST_QUERY + state.promised[state.points - 1].query] = True
        else:
            self._free_queries(state, found)

    def _room(self, state: State) -> bool:
        """For one more point, or rationale: a line and a query are left."""
        return self.lines > len(state.used_lines) and int(self._new.sum()) > len(state.used_queries)

    def _free_lines(self, state: State, found: Bool, after: int = 0, until: int | None = None) -> None:
        found[FIRST_LINE + after : FIRST_LINE + (self.lines if until is None else until)] = True
        found[[FIRST_LINE + line - 1 for line in state.used_lines]] = False

    def _free_queries(self, state: State, found: Bool) -> None:
        found[FIRST_QUERY:] = self._new
        taken = [*state.used_queries, *(one.query for one in state.promised if one.query >= 0)]
        found[[FIRST_QUERY + query for query in taken]] = False

    @cached_property
    def _new(self) -> Bool:
        new = np.ones(self.tokens - FIRST_QUERY, np.bool_)
        new[list(self.known)] = False
        return new


def _values(kinds: tuple[str, ...], state: State, found: Bool) -> None:
    for rank, kind in enumerate(KINDS):
        if kind in kinds and rank > state.said:
            found[STARTS[kind] : STARTS[kind] + BUCKETS[kind]] = True


def _line(state: State, line: int) -> State:
    used = state.used_lines | {line}
    if state.at in ("point", "triggers"):
        return state._replace(at="triggers", last=line, used_lines=used)
    *before, own = state.promised
    promised = (*before, own._replace(lines=own.lines | {line}))
    return state._replace(at="line", promised=promised, lines=state.lines + 1, said=-1, used_lines=used)


def _query(state: State, query: int) -> State:
    used = state.used_queries | {query}
    if state.at in ("arrow", "queries"):
        return state._replace(at="queries", queries=state.queries + 1, used_queries=used)
    *before, own = state.promised
    return state._replace(
        at="pair", promised=(*before, own._replace(query=query)), said=-1, used_queries=used
    )


def _point(state: State) -> State:
    """A rationale, or a point of the answer, is opened."""
    if state.at in ("trace", "line", "pair"):
        promised = (*state.promised, Promise(frozenset()))
        return state._replace(at="told", promised=promised, lines=0, said=-1)
    return state._replace(at="point", points=state.points + 1, last=0)
