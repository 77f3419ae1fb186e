"""Reference interest points {T_k → Q_k} of a history, read off what its shopper did next.

The paper takes (T_k, Q_k) as given (§3.4.2, Eq. 7) and does not say how they are made; this is ours:

1. The queries are what was bought in the days after the history and does not stand in it.
2. lift(t, q) is the association's shrunk lift, in one basket or in a later one
   (training.think.mining.scores). A query without a line of lift ≥ LIFT_MIN belongs to no point: nothing in
the history speaks for it. 3. A query's supporters are the texts of its SUPPORTERS largest lifts, down to
   SUPPORT times the largest; the first of them is its home. Each home with its queries is a need.
4. The two closest needs become one while their closeness is at least CLOSE: the share of the pairs of their
   homes that have a lift ≥ TIED, either way round, plus the Jaccard index of their queries' supporters.
5. Each supporter goes to the need whose queries it speaks for most, Σ_q score(t, q). T_k are its lines, Q_k
   its queries by Σ_t score(t, q), at most 10. Points stand in order of their sums, at most POINTS.

Rationales are made of facts alone (training.think.mining.facts).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import combinations, product
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from streams.query_text import normalise_query
from training.think.mining.association import Association
from training.think.mining.facts import FactBook, rationale_of
from training.think.mining.histories import Case
from training.think.points import QUERIES_MAX, History, InterestPoint, Reasoned

Float64 = npt.NDArray[np.float64]
Bool = npt.NDArray[np.bool_]

LIFT_MIN: Final = 2.5
SUPPORTERS: Final = 3
SUPPORT: Final = 0.6
TIED: Final = 4.0
CLOSE: Final = 0.6
POINTS: Final = 8
TRIGGERS_TOLD: Final = 2  # of a point, in its rationale


class _Ties(NamedTuple):
    """Of n texts of a history and m new queries: lifts, scores (n, m), tied (n, n)."""

    lifts: Float64
    scores: Float64
    tied: Bool


@dataclass(frozen=True, slots=True)
class _Need:
    """homes, supporters: places of texts. queries: places of queries."""

    homes: frozenset[int]
    queries: frozenset[int]
    supporters: frozenset[int]

    def joined(self, other: _Need) -> _Need:
        """Both as one."""
        return _Need(
            self.homes | other.homes, self.queries | other.queries, self.supporters | other.supporters
        )


def reference_points(cases: Iterable[Case], association: Association) -> Iterator[Reasoned]:
    """The reference of each case, in order; without points when nothing new followed that a line speaks for.

    association: of a log that ends with the training span, whatever part the cases are of.
    """
    book = FactBook(association)
    for case in cases:
        points = _points(case, association, book)
        problem = "" if points else "Nothing that was bought next goes with what stands in the history."
        yield Reasoned(history=case.history.name, points=points, problem=problem)


def _points(case: Case, association: Association, book: FactBook) -> tuple[InterestPoint, ...]:
    texts = list({normalise_query(line.text): line.text for line in case.history.lines}.values())
    queries = _new_queries(case)
    ties = _Ties(
        association.shrunk_lifts(texts, queries),
        association.strengths(texts, queries),
        association.shrunk_lifts(texts, texts) >= TIED,
    )
    needs = _merged(_needs(ties), ties)
    votes = _votes(needs, ties)
    ranked = sorted((place for place in range(len(needs)) if votes[place]), key=lambda at: _rank(votes[at]))
    return tuple(
        _point(case.history, votes[at], sorted(needs[at].queries), ties, texts, queries, book)
        for at in ranked[:POINTS]
    )


def _new_queries(case: Case) -> list[str]:
    """What was bought next and does not stand in the history, each once, in order of time."""
    known = {normalise_query(line.text) for line in case.history.lines}
    new: dict[str, str] = {}
    for text, _ in case.bought:
        new.setdefault(normalise_query(text), text)
    return [text for normal, text in new.items() if normal not in known]


def _needs(ties: _Ties) -> list[_Need]:
    """One for each home, in order of the homes."""
    found: dict[int, _Need] = {}
    for query, lifts in enumerate(ties.lifts.T):
        best = np.argsort(-lifts, kind="stable")[:SUPPORTERS].tolist()
        if not best or lifts[best[0]] < LIFT_MIN:
            continue
        supporters = frozenset(text for text in best if lifts[text] >= SUPPORT * lifts[best[0]])
        need = _Need(frozenset(best[:1]), frozenset([query]), supporters)
        found[best[0]] = found[best[0]].joined(need) if best[0] in found else need
    return [found[home] for home in sorted(found)]


def _merged(needs: list[_Need], ties: _Ties) -> list[_Need]:
    while len(needs) > 1:
        a, b = max(combinations(needs, 2), key=lambda pair: _closeness(pair[0], pair[1], ties))
        if _closeness(a, b, ties) < CLOSE:
            break
        needs = [need for need in needs if need is not a and need is not b] + [a.joined(b)]
    return needs


def _closeness(a: _Need, b: _Need, ties: _Ties) -> float:
    pairs = list(product(a.homes, b.homes))
    tied = sum(bool(ties.tied[one, other] or ties.tied[other, one]) for one, other in pairs)
    common = len(a.supporters & b.supporters) / len(a.supporters | b.supporters)
    return tied / len(pairs) + common


def _votes(needs: list[_Need], ties: _Ties) -> list[dict[int, float]]:
    """For each need its supporters with Σ_q score; a supporter of several goes to where that is largest."""
    votes: list[dict[int, float]] = [{} for _ in needs]
    for text in sorted(frozenset().union(*(need.supporters for need in needs))):
        own = [place for place, need in enumerate(needs) if text in need.supporters]
        sums = [float(ties.scores[text, sorted(needs[place].queries)].sum()) for place in own]
        best = int(np.argmax(sums))
        votes[own[best]][text] = sums[best]
    return votes


def _rank(votes: dict[int, float]) -> tuple[float, int]:
    return -sum(votes.values()), min(votes)


def _point(
    history: History,
    votes: dict[int, float],
    asked: list[int],
    ties: _Ties,
    texts: list[str],
    queries: list[str],
    book: FactBook,
) -> InterestPoint:
    triggers = [texts[at] for at in sorted(votes, key=lambda at: (-votes[at], at))]
    sums = ties.scores[np.ix_(sorted(votes), asked)].sum(axis=0)
    wanted = [queries[asked[at]] for at in np.argsort(-sums, kind="stable")[:QUERIES_MAX]]
    chosen = {normalise_query(text) for text in triggers}
    facts = book.of_point(history, triggers[:TRIGGERS_TOLD], wanted[0])
    return InterestPoint(
        triggers=tuple(line.index for line in history.lines if normalise_query(line.text) in chosen),
        queries=tuple(wanted),
        rationale=rationale_of(facts),
        facts=facts,
    )
