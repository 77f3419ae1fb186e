"""The order of the queries inside a trigger (paper §4.2): how well reasoned, and how good for the shop.

    S_final(x, q) = α · S_rel(x, q) + (1 − α) · S_eff(x, q)

S_rel is the proposal's relevance (training.think.mining.pool, training.think.mining.association) over the
greatest of its trigger, so that reasoners with scales of their own can stand side by side; of several that
propose the same query the highest counts. S_eff is the mean of the business signals that are known, each over
the greatest of its trigger:

    support     share of the trigger's baskets that hold the query as well
    popularity  share of all baskets that hold the query
    click       the CTR ranker's mean p̂ for the query after the trigger

The paper says "normalised business signals such as page views and predicted CTR" and leaves formulas, α
and list caps open; these are ours. Both parts are 0 to 1; S_rel is 1 for the best of a trigger, S_eff for
one that is best in each signal.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from streams.query_text import normalise_query
from training.think.points import Evidence, Proposal, TriggerKind

SPECIFIC: Final[tuple[TriggerKind, ...]] = ("item", "query", "category")


class Signals(NamedTuple):
    """What speaks for a query from the shop's side; None: not known."""

    support: float
    popularity: float
    click: float | None


@dataclass(frozen=True, slots=True)
class Entry:
    """A query of a trigger with its scores. makers: of all proposals for it; evidence: the proposal's."""

    proposal: Proposal
    evidence: Evidence
    makers: tuple[str, ...]
    relevance: float
    efficiency: float
    score: float


@dataclass(frozen=True, slots=True)
class Ranked:
    """A trigger with its entries, best first."""

    trigger: str
    kind: TriggerKind
    entries: tuple[Entry, ...]


def rank(proposals: Iterable[Proposal], *, alpha: float, queries_max: int) -> list[Ranked]:
    """Triggers by name, each with its best `queries_max` queries; proposals without evidence are left out.

    Triggers and queries are the same if their normal forms are; a trigger is what is most specific of its
    kinds (item, query, category); ties go by name.
    """
    by_trigger: defaultdict[str, list[Proposal]] = defaultdict(list)
    for proposal in proposals:
        if proposal.evidence is not None:
            by_trigger[normalise_query(proposal.trigger)].append(proposal)
    found = [_ranked(by_trigger[key], alpha, queries_max) for key in sorted(by_trigger)]
    return [one for one in found if one.entries]


def signals(evidence: Evidence) -> Signals:
    """The business signals of one entry; shares of 0 when nothing was counted."""
    return Signals(
        support=evidence.baskets / max(evidence.trigger_baskets, 1),
        popularity=evidence.query_baskets / max(evidence.all_baskets, 1),
        click=evidence.click,
    )


def efficiency(rows: Sequence[Signals]) -> list[float]:
    """S_eff of the queries of one trigger, 0 to 1, in their order."""
    best = Signals(
        support=max((row.support for row in rows), default=0.0),
        popularity=max((row.popularity for row in rows), default=0.0),
        click=max((row.click for row in rows if row.click is not None), default=None),
    )
    return [_mean_share(row, best) for row in rows]


def _mean_share(row: Signals, best: Signals) -> float:
    shares = [
        value / most if most > 0 else 0.0
        for value, most in zip(row, best, strict=True)
        if value is not None and most is not None
    ]
    return sum(shares) / len(shares)


def _ranked(proposals: Sequence[Proposal], alpha: float, queries_max: int) -> Ranked:
    chosen, makers = _merged(proposals)
    proved = [(one, one.evidence) for one in chosen if one.evidence is not None]
    relevances = _over_greatest([one.relevance for one, _ in proved])
    efficiencies = efficiency([signals(evidence) for _, evidence in proved])
    entries = [
        Entry(one, evidence, makers[normalise_query(one.query)], rel, eff, alpha * rel + (1 - alpha) * eff)
        for (one, evidence), rel, eff in zip(proved, relevances, efficiencies, strict=True)
    ]
    entries.sort(key=lambda entry: (-entry.score, entry.proposal.query))
    kind = min((one.kind for one in proposals), key=SPECIFIC.index)
    return Ranked(proposals[0].trigger, kind, tuple(entries[:queries_max]))


def _merged(proposals: Sequence[Proposal]) -> tuple[list[Proposal], dict[str, tuple[str, ...]]]:
    """The strongest proposal for each query, and who proposed it; never the trigger itself."""
    best: dict[str, Proposal] = {}
    makers: defaultdict[str, set[str]] = defaultdict(set)
    for one in proposals:
        query = normalise_query(one.query)
        if query == normalise_query(one.trigger):
            continue
        makers[query].update(one.makers)
        if query not in best or one.relevance > best[query].relevance:
            best[query] = one
    return list(best.values()), {query: tuple(sorted(names)) for query, names in makers.items()}


def _over_greatest(values: Sequence[float]) -> list[float]:
    greatest = max(values, default=0.0)
    return [value / greatest if greatest > 0 else 0.0 for value in values]
