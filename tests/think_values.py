"""Proposals, decisions and versions of Think, for tests of what becomes of them."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

from training.think.points import Evidence, Proposal, TriggerKind, write_lines
from training.think.review.decisions import DECISIONS, Action, Decision, Verdict
from training.think.versions.build_version import BuildSettings, build_version


def evidence(**counts: Any) -> Evidence:
    """Of 1000 baskets 100 hold the trigger, 50 the query, 20 both: a lift of (20 / 100) / (50 / 1000) = 4."""
    found = Evidence(
        until_ms=1_000,
        days=7,
        baskets=20,
        after=4,
        households=9,
        trigger_baskets=100,
        query_baskets=50,
        all_baskets=1_000,
        decayed=12.5,
        low=0.13,
        lift=4.0,
        later=40,
        newest_days=2,
        similarity=0.5,
        click=0.1,
        examples=("abc",),
    )
    return found.model_copy(update=counts)


class OtherPeriod:
    """A log that says the same of every pair; counts: as `evidence` takes them."""

    def __init__(self, **counts: Any) -> None:
        self._found = evidence(**counts)

    def evidence(self, trigger: str, query: str) -> Evidence:  # noqa: ARG002 - the same of all
        return self._found


def proposal(
    trigger: str, query: str, relevance: float = 0.5, *, kind: TriggerKind = "item", **fields: Any
) -> Proposal:
    values: dict[str, Any] = {"makers": ("association",), "evidence": evidence(), "category": "food"}
    return Proposal(trigger=trigger, kind=kind, query=query, relevance=relevance, **(values | fields))


def decision(one: Proposal, verdict: Verdict = "approve") -> Decision:
    looked = (Action(name="baskets", ran=True, passed=True),)
    return Decision(
        proposal=one, verdict=verdict, actions=looked, factors=(), by="rules", reason="Enough.", at_ms=1
    )


def work_of(folder: Path, *decisions: Decision) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    write_lines(folder / DECISIONS, decisions)
    return folder


def build(work: Path, root: Path, **fields: Any) -> str:
    values: dict[str, Any] = {"created": date(2026, 1, 1), "command": "aigq think build"}
    settings = BuildSettings(alpha=fields.pop("alpha", 0.5), queries_max=fields.pop("queries_max", 10))
    return build_version(work, root, settings, **(values | fields)).version
