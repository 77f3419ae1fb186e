"""What rollouts of the Think network earn, each part of an output for itself (§3.5, Eq 10, 16).

    r_trigger(T_k) = ROUGE-L F1 of T_k and the reference's T_k as sequences of indexes            Eq 16
    told line      = 1 if it stands in the reference's T_k, else 0                                 ours
    R_query(q_kj)  = w_hit · hit + w_rouge · ROUGE-L with the reference's q_kj; told queries as q_k1
    fact           = 1 if it is true (training.think.network.told), else 0                         ours
    R_seq(o)       = R_fmt + R_rep
    R_fmt          = −|n − n'| / 8 − |m − m'| / max(m, m'), n points with m queries, the reference
                     n' and m'; the grammar leaves nothing else to break                          ours
    R_rep          = −(share of queries that are like an earlier one)          training.rewards

Point k is compared with the reference's point k, as lists are place by place (§3.5.1); beyond the reference's
end r_trigger and ROUGE are 0. A hit is a query of any of the reference's points: it was bought next, is new
to the history, and a line speaks for it. Of the paper's rewards r_CTR is not there: a history has no context
that the click ranker could read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from rapidfuzz.distance import Indel
from torch import Tensor

from training.grpo_config import GrpoConfig
from training.rewards import QueryTables, query_parts, query_rewards, repetition_reward
from training.think.mining.reference import POINTS, TRIGGERS_TOLD
from training.think.network.roles import SLOTS, Mark
from training.think.network.serialise import WrittenFact, WrittenPoint
from training.think.network.tokens import LINE_KINDS, Lexicon, line_of, query_of, value_of
from training.think.network.told import Book, true_fact
from training.think.points import QUERIES_MAX, History


@dataclass(frozen=True, slots=True)
class Rewards:
    """Of B histories with G rollouts. slots: by role, (B, G, slots). sequence: (B, G)."""

    slots: dict[str, Tensor]
    sequence: Tensor


@dataclass(frozen=True, slots=True)
class Rollout:
    """One output with what was read from it. marks: of each token after the first."""

    tokens: Sequence[int]
    marks: Sequence[Mark]
    points: Sequence[WrittenPoint]


def trigger_reward(written: Sequence[int], reference: Sequence[int]) -> float:
    """ROUGE-L F1 of two index sequences; 0 when one is empty.

    >>> trigger_reward([1, 3, 4], [1, 4, 5]), trigger_reward([], [1])
    (0.6666666666666667, 0.0)
    """
    if not written or not reference:
        return 0.0
    return float(Indel.normalized_similarity(list(written), list(reference)))


def format_reward(points: Sequence[WrittenPoint], reference: Sequence[WrittenPoint]) -> float:
    """R_fmt of an output's points. Without the second part R_rep alone judges the length of lists, and the
    shortest repeat themselves least.

    >>> format_reward([WrittenPoint((1,), ("tea",))], [WrittenPoint((1,), ("tea", "honey"))])
    -0.5
    """
    own, wanted = (sum(len(point.queries) for point in part) for part in (points, reference))
    return -abs(len(points) - len(reference)) / POINTS - abs(own - wanted) / max(own, wanted, 1)


def rewards_of(
    rollouts: Sequence[Sequence[Rollout]],
    histories: Sequence[History],
    references: Sequence[Sequence[WrittenPoint]],
    lexicon: Lexicon,
    tables: QueryTables,
    book: Book,
    config: GrpoConfig,
) -> Rewards:
    """All rewards of B groups of G rollouts."""
    shape = (len(rollouts), len(rollouts[0]))
    slots = {role: torch.zeros((*shape, count)) for role, count in SLOTS.items()}
    lists = torch.full((*shape, SLOTS["query"]), -1)
    told = torch.full((*shape, SLOTS["told_query"]), -1)
    form = torch.zeros(shape)
    for row, (group, history, reference) in enumerate(zip(rollouts, histories, references, strict=True)):
        for place, rollout in enumerate(group):
            lists[row, place], told[row, place] = _queries(rollout)
            _lines(rollout, reference, slots, (row, place))
            _facts(rollout, history, lexicon, book, slots["fact"][row, place])
            form[row, place] = format_reward(rollout.points, reference)
    wanted, bought = _wanted(references, lexicon, len(lexicon.queries))
    slots["query"] = _query_rewards(lists, wanted, bought, tables, config)
    slots["told_query"] = _query_rewards(told, wanted[:, ::QUERIES_MAX], bought, tables, config)
    repeated = repetition_reward(lists, tables.similarity, config.near_duplicate)
    sequence = (form + repeated).clamp(-config.reward_clip, config.reward_clip)
    return Rewards(slots, sequence)


def _query_rewards(
    lists: Tensor, wanted: Tensor, bought: Tensor, tables: QueryTables, config: GrpoConfig
) -> Tensor:
    nobody = torch.zeros(lists.shape)
    return query_rewards(query_parts(lists, nobody, wanted, tables, config, bought=bought), config)


def _queries(rollout: Rollout) -> tuple[Tensor, Tensor]:
    lists, told = torch.full((SLOTS["query"],), -1), torch.full((SLOTS["told_query"],), -1)
    for mark, token in zip(rollout.marks, rollout.tokens[1:], strict=True):
        if mark.role in ("query", "told_query"):
            (lists if mark.role == "query" else told)[mark.slot] = query_of(token) or 0
    return lists, told


def _lines(
    rollout: Rollout, reference: Sequence[WrittenPoint], slots: dict[str, Tensor], at: tuple[int, int]
) -> None:
    for place, (point, wanted) in enumerate(zip(rollout.points, reference, strict=False)):
        slots["trigger"][*at, place] = trigger_reward(point.triggers, wanted.triggers)
    for mark, token in zip(rollout.marks, rollout.tokens[1:], strict=True):
        place = mark.slot // TRIGGERS_TOLD
        if mark.role == "told_line" and place < len(reference):
            slots["told_line"][*at, mark.slot] = float(line_of(token) in reference[place].triggers)


def _facts(rollout: Rollout, history: History, lexicon: Lexicon, book: Book, rewards: Tensor) -> None:
    line, query = 0, ""
    for mark, token in zip(rollout.marks, rollout.tokens[1:], strict=True):
        value = value_of(token)
        if mark.role == "told_line":
            line = line_of(token) or 0
        elif mark.role == "told_query":
            query = lexicon.queries[query_of(token) or 0]
        elif value is not None:
            asked = "" if value[0] in LINE_KINDS else query
            true = true_fact(WrittenFact(value[0], line, asked, value[1]), history, book)
            rewards[mark.slot] = float(true is not None)


def _wanted(
    references: Sequence[Sequence[WrittenPoint]], lexicon: Lexicon, size: int
) -> tuple[Tensor, Tensor]:
    """The reference's query in each slot, (B, slots), −1 for none; and (B, V) which stand in any point."""
    wanted = torch.full((len(references), SLOTS["query"]), -1)
    bought = torch.zeros((len(references), size), dtype=torch.bool)
    for row, points in enumerate(references):
        for place, point in enumerate(points[:POINTS]):
            numbers = [lexicon.number(query) for query in point.queries]
            known = torch.tensor([number for number in numbers if number is not None], dtype=torch.int64)
            wanted[row, place * QUERIES_MAX : place * QUERIES_MAX + len(known)] = known
            bought[row, known] = True
    return wanted, bought
