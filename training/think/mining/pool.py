"""From interest points to proposals: entries are pooled per trigger over all shoppers (§4.2).

Each text of T_k is mapped to the whole Q_k. The paper names S_rel, how strongly the reasoning ties a query
to a trigger, without a formula; ours, over the points p that hold the trigger x, with a(p) the age of p's
history before the newest one:

    w_p         = 2^(−a(p) / 90 days)
    place(p, q) = 1 / log2(2 + rank of q in Q_p, from 0);  0 when Q_p does not hold q
    S_rel(x, q) = Σ_p w_p · place(p, q) / (PRIOR + Σ_p w_p)

PRIOR points without the query stand beside each trigger, so that one shopper's point proves little. The
category of a line is a trigger as well, unless it has the line's own text.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from math import log2
from typing import Final

from streams.query_text import normalise_query
from training.datasets.complete_journey import HABIT_HALF_LIFE_MS
from training.think.mining.pair_log import PairLog
from training.think.points import History, HistoryLine, InterestPoint, Proposal, Reasoned, TriggerKind

PRIOR: Final = 2.0


@dataclass(slots=True)
class _Pool:
    """What the points say of one trigger. By the query's normal form: votes, texts, the best rationale."""

    text: str
    kind: TriggerKind
    points: float = 0.0
    votes: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    queries: dict[str, str] = field(default_factory=dict)
    rationales: dict[str, tuple[float, str]] = field(default_factory=dict)


def pool(
    histories: Iterable[History],
    reasoned: Iterable[Reasoned],
    maker: str,
    *,
    half_life_ms: int = HABIT_HALF_LIFE_MS,
) -> list[Proposal]:
    """One proposal for each trigger and query of the points, by trigger, the strongest first; no evidence.

    Answers of unknown histories, and line numbers that a history does not have, count for nothing.
    """
    known = {history.name: history for history in histories}
    newest_ms = max((history.as_of_ms for history in known.values()), default=0)
    pools: dict[str, _Pool] = {}
    for answer in reasoned:
        history = known.get(answer.history)
        if history is None:
            continue
        weight = 2.0 ** ((history.as_of_ms - newest_ms) / half_life_ms)
        for point in answer.points:
            _add(pools, history, point, weight)
    return [proposal for key in sorted(pools) for proposal in _proposals(pools[key], maker)]


def with_evidence(proposals: Iterable[Proposal], log: PairLog) -> list[Proposal]:
    """The proposals with what the log says of each, and the query's category; same order."""
    return [
        proposal.model_copy(
            update={
                "evidence": log.evidence(proposal.trigger, proposal.query),
                "category": log.category(proposal.query) or proposal.category,
                "kind": log.kind(proposal.trigger) or proposal.kind,
            }
        )
        for proposal in proposals
    ]


def _add(pools: dict[str, _Pool], history: History, point: InterestPoint, weight: float) -> None:
    """One vote of the point for each of its triggers, however many lines hold it."""
    lines = [line for line in history.lines if line.index in set(point.triggers)]
    for text, kind in _triggers(lines).items():
        found = pools.setdefault(normalise_query(text), _Pool(text, kind))
        found.points += weight
        found.kind = min(found.kind, kind, key=_SPECIFIC.index)
        for rank, query in enumerate(dict.fromkeys(point.queries)):
            _vote(found, query, weight / log2(2 + rank), point.rationale)


def _vote(found: _Pool, query: str, vote: float, rationale: str) -> None:
    key = normalise_query(query)
    if key == normalise_query(found.text):
        return
    found.queries.setdefault(key, query)
    found.votes[key] += vote
    found.rationales[key] = max(found.rationales.get(key, (0.0, "")), (vote, rationale))


def _triggers(lines: Sequence[HistoryLine]) -> dict[str, TriggerKind]:
    found: dict[str, tuple[str, TriggerKind]] = {}
    for line in lines:
        own: TriggerKind = "query" if line.action == "search" else "item"
        found.setdefault(normalise_query(line.text), (line.text, own))
    for line in lines:
        if line.category:
            found.setdefault(normalise_query(line.category), (line.category, "category"))
    return dict(found.values())


def _proposals(found: _Pool, maker: str) -> list[Proposal]:
    scores = {key: found.votes[key] / (PRIOR + found.points) for key in found.queries}
    return [
        Proposal(
            trigger=found.text,
            kind=found.kind,
            query=found.queries[key],
            relevance=round(scores[key], 6),
            makers=(maker,),
            rationale=found.rationales[key][1],
        )
        for key in sorted(scores, key=lambda key: (-scores[key], key))
    ]


_SPECIFIC: Final[tuple[TriggerKind, ...]] = ("item", "query", "category")
