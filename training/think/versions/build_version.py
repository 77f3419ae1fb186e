"""``aigq think build``: what the review approved becomes a version.

    WORK/decisions.jsonl ──approved──► ranked inside each trigger, cut ──► ROOT/<version>/

No evidence, no mapping: an approved entry without evidence is left out and counted. Nothing is served by
this; ``current.json`` moves only if it is asked for.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import date
from pathlib import Path
from typing import Any, Final

from streams.errors import MappingError
from training.datasets.whole_files import sha256_of
from training.think.points import Proposal, read_lines
from training.think.review.decisions import DECISIONS, Decision, Key, key_of
from training.think.versions.mapping_version import Mapping as Queries
from training.think.versions.mapping_version import (
    PopularQuery,
    ThinkQuery,
    write_mapping_version,
)
from training.think.versions.rank_entries import Entry, Ranked, rank
from training.think.versions.served import as_line, served

ALPHA: Final = 0.5
ALPHA_SLACK: Final = 0.001
ALPHAS: Final = tuple(place / 10 for place in range(1, 10))  # 0 < α < 1 (§4.2)
COUNTED_BY: Final = "association"


@dataclass(frozen=True, slots=True)
class BuildSettings:
    """alpha: weight of S_rel. queries_max: of a trigger. popular_max: of the popular list."""

    alpha: float = ALPHA
    queries_max: int = 10
    popular_max: int = 20


@dataclass(slots=True)
class Reviewed:
    """What decisions.jsonl holds. verdicts, by: how many of each; unproved: approved without evidence."""

    approved: dict[Key, Decision] = field(default_factory=dict)
    verdicts: Counter[str] = field(default_factory=Counter)
    by: Counter[str] = field(default_factory=Counter)
    unproved: int = 0

    @property
    def proposals(self) -> list[Proposal]:
        """The approved ones."""
        return [decision.proposal for decision in self.approved.values()]


@dataclass(frozen=True, slots=True)
class Built:
    """A version that was written; bytes: of all its files."""

    version: str
    triggers: int
    entries: int
    queries: int
    bytes: int
    alpha: float
    current: bool
    metrics: dict[str, Any]


def read_reviewed(work: Path) -> Reviewed:
    """All decisions of WORK; of several on one key the last counts. Raises DatasetError."""
    last: dict[Key, Decision] = {}
    for decision in read_lines(work / DECISIONS, Decision):
        last[decision.key] = decision
    found = Reviewed()
    for key, decision in last.items():
        found.verdicts[decision.verdict] += 1
        if not decision.approved:
            continue
        if decision.proposal.evidence is None:
            found.unproved += 1
            continue
        found.by[decision.by] += 1
        found.approved[key] = decision
    return found


def build_version(
    work: Path,
    root: Path,
    settings: BuildSettings,
    *,
    created: date,
    command: str,
    popular: list[PopularQuery] | None = None,
    metrics: Mapping[str, Any] | None = None,
    current: bool = False,
) -> Built:
    """Write a version of WORK's approved entries. popular: None: what the evidence says of its queries.

    Raises DatasetError (decisions.jsonl), MappingError (nothing is approved).
    """
    reviewed = read_reviewed(work)
    ranked = rank(reviewed.proposals, alpha=settings.alpha, queries_max=settings.queries_max)
    if not ranked:
        raise MappingError(
            f"No entry of {work / DECISIONS} is approved and has evidence. No version was written.",
            action="Review the proposals first: `aigq think review WORK --auto`.",
        )
    shown = popular_of(reviewed.proposals) if popular is None else popular
    version = write_mapping_version(
        root,
        mapping=queries_of(ranked),
        popular=shown[: settings.popular_max],
        created=created,
        provenance=_provenance(work, settings, reviewed, ranked, command, dict(metrics or {})),
        evidence=_evidence(ranked, reviewed),
        current=current,
    )
    return _built(root / version, ranked, settings, current, dict(metrics or {}))


def queries_of(ranked: Sequence[Ranked]) -> Queries:
    """Trigger → queries, as the version holds them."""
    return {one.trigger: [_query(entry) for entry in one.entries] for one in ranked}


def popular_of(proposals: Sequence[Proposal]) -> list[PopularQuery]:
    """The queries that most baskets hold, best first, ties by name; score: their share of the baskets."""
    shares: dict[str, float] = {}
    for one in proposals:
        if one.evidence is not None:
            shares[one.query] = one.evidence.query_baskets / max(one.evidence.all_baskets, 1)
    best = sorted(shares, key=lambda query: (-shares[query], query))
    return [PopularQuery(query=query, score=round(shares[query], 3)) for query in best]


def best_alpha(sweep: Mapping[float, float]) -> float:
    """The greatest α, the most reasoned one, of those that meet within ALPHA_SLACK of the most."""
    most = max(sweep.values())
    return max(alpha for alpha, recall in sweep.items() if recall >= most - ALPHA_SLACK)


def _query(entry: Entry) -> ThinkQuery:
    found = ThinkQuery(
        query=entry.proposal.query,
        score=round(entry.score, 3),
        support=entry.evidence.baskets,
        lift=round(entry.evidence.lift, 2),
    )
    if entry.proposal.category:
        found["category"] = entry.proposal.category
    return found


def _evidence(ranked: Sequence[Ranked], reviewed: Reviewed) -> Iterator[dict[str, Any]]:
    for one in ranked:
        for entry in one.entries:
            decision = reviewed.approved[key_of(entry.proposal)]
            yield as_line(served(one, entry, decision, COUNTED_BY))


def _provenance(
    work: Path,
    settings: BuildSettings,
    reviewed: Reviewed,
    ranked: Sequence[Ranked],
    command: str,
    metrics: dict[str, Any],
) -> dict[str, Any]:
    entries = [entry for one in ranked for entry in one.entries]
    inputs = sorted([work / DECISIONS, *work.glob("proposals-*.jsonl")])
    return {
        "inputs": {path.name: {"sha256": sha256_of(path)} for path in inputs},
        "command": command,
        "settings": asdict(settings),
        "counts": {
            "triggers": dict(Counter(one.kind for one in ranked)),
            "entries": len(entries),
            "queries": len({entry.proposal.query for entry in entries}),
            "makers": dict(Counter(name for entry in entries for name in entry.makers)),
        },
        "review": {
            "verdicts": dict(reviewed.verdicts),
            "approved_by": dict(reviewed.by),
            "approved_without_evidence": reviewed.unproved,
        },
        "metrics": metrics,
    }


def _built(
    folder: Path, ranked: Sequence[Ranked], settings: BuildSettings, current: bool, metrics: dict[str, Any]
) -> Built:
    return Built(
        version=folder.name,
        triggers=len(ranked),
        entries=sum(len(one.entries) for one in ranked),
        queries=len({entry.proposal.query for one in ranked for entry in one.entries}),
        bytes=sum(path.stat().st_size for path in folder.iterdir()),
        alpha=settings.alpha,
        current=current,
        metrics=metrics,
    )
