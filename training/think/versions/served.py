"""Why each entry of a version is served: its evidence and its decision, one line of evidence.jsonl each.

The lines stand in the order of mapping.jsonl, so both can be read side by side.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from streams.query_text import normalise_query
from training.think.points import Evidence, Text, TriggerKind, read_lines
from training.think.review.decisions import Decider, Decision
from training.think.versions.mapping_version import EVIDENCE_FILE
from training.think.versions.rank_entries import Entry, Ranked


class Review(BaseModel):
    """Who approved it, and why; corrections: ids of those that changed the decision."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    by: Decider
    reason: str
    corrections: tuple[str, ...] = ()


class Served(BaseModel):
    """One served entry. relevance, efficiency: S_rel and S_eff of training.think.versions.rank_entries.

    rationale: the reasoner's, where it says more than the evidence.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    trigger: Text
    kind: TriggerKind
    query: Text
    makers: tuple[str, ...] = Field(min_length=1)
    relevance: float
    efficiency: float
    evidence: Evidence
    review: Review
    rationale: str = ""


def served(ranked: Ranked, entry: Entry, decision: Decision, counted_by: str) -> Served:
    """The line of one entry; `counted_by`: the maker whose rationale is the evidence in words."""
    return Served(
        trigger=ranked.trigger,
        kind=ranked.kind,
        query=entry.proposal.query,
        makers=entry.makers,
        relevance=round(entry.relevance, 4),
        efficiency=round(entry.efficiency, 4),
        evidence=entry.evidence,
        review=Review(by=decision.by, reason=decision.reason, corrections=decision.corrections),
        rationale="" if entry.makers == (counted_by,) else entry.proposal.rationale,
    )


def as_line(one: Served) -> dict[str, Any]:
    """As it stands in the file; what is empty is left out."""
    return one.model_dump(exclude_defaults=True)


def read_served(root: Path, version: str, trigger: str | None = None) -> Iterator[Served]:
    """The lines of a version, or those of one trigger. Raises DatasetError: there are none, or a bad one."""
    wanted = None if trigger is None else normalise_query(trigger)
    for one in read_lines(root / version / EVIDENCE_FILE, Served):
        if wanted is None or normalise_query(one.trigger) == wanted:
            yield one
