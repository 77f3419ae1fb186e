"""Which part of an output each token is, and which slot of the group it is compared in.

    role        tokens                                              slot
    structure   POINT, ANSWER, END                                  –
    trigger     the lines of T_k, and the ARROW that ends them      k
    told_line   the lines that rationale k speaks of                (k, n)
    query       the queries of Q_k                                  (k, j)
    told_query  the query that rationale k speaks of                k
    fact        values in rationale k                               (k, n, kind)

The arrow belongs to T_k: it alone decides how long T_k is, and nothing else in the output knows of that.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal, NamedTuple

import torch
from torch import Tensor

from training.think.mining.reference import POINTS, TRIGGERS_TOLD
from training.think.network.grammar import State
from training.think.network.tokens import ARROW, LINE_KINDS, PAIR_KINDS, line_of, query_of, value_of
from training.think.points import QUERIES_MAX

Role = Literal["structure", "trigger", "told_line", "query", "told_query", "fact"]

ROLES: Final[tuple[Role, ...]] = ("structure", "trigger", "told_line", "query", "told_query", "fact")
FACTS: Final = len(LINE_KINDS) * TRIGGERS_TOLD + len(PAIR_KINDS)
SLOTS: Final = {
    "structure": 1,
    "trigger": POINTS,
    "told_line": POINTS * TRIGGERS_TOLD,
    "query": POINTS * QUERIES_MAX,
    "told_query": POINTS,
    "fact": POINTS * FACTS,
}


class Mark(NamedTuple):
    """slot: within the role, from 0."""

    role: Role
    slot: int


def marks_of(states: Sequence[State], tokens: Sequence[int]) -> list[Mark]:
    """Of each token; states: after each of them (Grammar.states)."""
    return [_mark(state, token) for state, token in zip(states, tokens, strict=True)]


def as_tensors(marks: Sequence[Sequence[Mark]]) -> tuple[Tensor, Tensor]:
    """(N, T) int64 both: places among ROLES, −1 behind the end of an output, and slots."""
    length = max(map(len, marks), default=0)
    roles, slots = torch.full((len(marks), length), -1), torch.zeros((len(marks), length), dtype=torch.int64)
    for row, own in enumerate(marks):
        roles[row, : len(own)] = torch.tensor([ROLES.index(mark.role) for mark in own])
        slots[row, : len(own)] = torch.tensor([mark.slot for mark in own])
    return roles, slots


def _mark(state: State, token: int) -> Mark:
    answer = state.at in ("triggers", "arrow", "queries")
    place = (state.points if answer else len(state.promised)) - 1
    if token == ARROW:
        return Mark("trigger", place)
    value = value_of(token)
    if value is not None:
        line = state.lines - 1
        of_line = value[0] in LINE_KINDS
        at = LINE_KINDS.index(value[0]) if of_line else PAIR_KINDS.index(value[0])
        first = len(LINE_KINDS) * (line if of_line else TRIGGERS_TOLD)
        return Mark("fact", place * FACTS + first + at)
    if line_of(token) is not None:
        return Mark("trigger", place) if answer else Mark(
            "told_line", place * TRIGGERS_TOLD + state.lines - 1
        )  # fmt: skip
    if query_of(token) is not None:
        return Mark("query", place * QUERIES_MAX + state.queries - 1) if answer else Mark("told_query", place)
    return Mark("structure", 0)
