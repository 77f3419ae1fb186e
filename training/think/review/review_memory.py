"""Earlier answers that are like a new case, and what they make of it.

    similarity = ( cos(trigger) + 3·cos(query) + 3·cos(category) + 3·(1 − ‖φ − φ'‖ / (2·√F)) ) / 10

cos: of the texts' embeddings, the third of the queries' categories; φ: the F factors' values, 0 for those
that are not there. Of the 9 nearest answers with a similarity of ½ or more, each votes for its verdict with
weight (similarity − ½). With 3 voters or more and 65 % or more of the weight for one verdict, the new case
gets it, unless

    a decisive factor is against it         nothing that a check refused is approved
    it lacks required checks                then only answers for cases that lacked the same checks vote

so each step that people took is checked on the new case. EAFD retrieves by embedding and projects the
checker's path; similarity, vote and constants are ours, chosen on triggers that the report leaves out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Final

import numpy as np
import numpy.typing as npt

from agents.session.step import TextEncoder
from training.think.review.corrections import Correction, forbidden, latest
from training.think.review.decide import REQUIRED, decisive_against
from training.think.review.decisions import Decision

Float64 = npt.NDArray[np.float64]

FACTORS: Final = ("displayable", "answerable", "new", "supported", "holds_up", "fits", "steering")
CHUNK: Final = 512


@dataclass(frozen=True, slots=True)
class MemoryRule:
    """Weights of the likenesses, and who decides; see the module."""

    trigger: float = 1.0
    query: float = 3.0
    category: float = 3.0
    factors: float = 3.0
    nearest: int = 9
    floor: float = 0.5
    voters: int = 3
    agree: float = 0.65


MEMORY_RULE: Final = MemoryRule()


@dataclass(frozen=True, slots=True)
class Similar:
    """An earlier answer, and how like the case it is, at most 1."""

    correction: Correction
    similarity: float


class ReviewMemory:
    """Answers by people, the last for each case; skips are none."""

    def __init__(
        self, corrections: Iterable[Correction], encoder: TextEncoder, rule: MemoryRule = MEMORY_RULE
    ) -> None:
        self.rule = rule
        self._answers = [one for one in latest(corrections).values() if one.second != "skip"]
        self._features = _Features(encoder, rule)
        self._rows = self._features.of(
            [(one.trigger, one.query, one.category, one.factors) for one in self._answers]
        )

    def similar(self, decisions: Sequence[Decision]) -> Iterator[list[Similar]]:
        """Of each case the nearest answers above the floor, nearest first; never an answer to itself."""
        for start in range(0, len(decisions), CHUNK):
            chunk = decisions[start : start + CHUNK]
            cases = self._features.of([_case(decision) for decision in chunk])
            for decision, row in zip(chunk, self._features.similarities(cases, self._rows), strict=True):
                yield self._nearest(decision, row)

    def review(self, decisions: Sequence[Decision]) -> list[Decision]:
        """The decisions as earlier answers change them, in order; what a person decided stays."""
        if not self._answers:
            return list(decisions)
        found = self.similar(decisions)
        return [project(one, near, self.rule) for one, near in zip(decisions, found, strict=True)]

    def _nearest(self, decision: Decision, row: Float64) -> list[Similar]:
        # One more than asked for: the case's own answer may be among them.
        order = np.argsort(-row, kind="stable")[: self.rule.nearest + 1]
        near = [Similar(self._answers[place], float(row[place])) for place in order.tolist()]
        others = [one for one in near if one.correction.key != decision.key]
        return [one for one in others if one.similarity >= self.rule.floor][: self.rule.nearest]


def project(decision: Decision, near: Sequence[Similar], rule: MemoryRule = MEMORY_RULE) -> Decision:
    """The decision that similar answers lead to; the same one when they lead to no other."""
    if decision.by == "person" or decisive_against(decision.factors):
        return decision
    needed = REQUIRED.intersection(decision.missing)
    voters = [one for one in near if needed <= set(one.correction.missing)]
    total = sum(_vote(one, rule) for one in voters)
    if len(voters) < rule.voters or total <= 0:
        return decision
    share = sum(_vote(one, rule) for one in voters if one.correction.second == "approve") / total
    second = "approve" if share >= rule.agree else "reject" if 1 - share >= rule.agree else decision.verdict
    if second == decision.verdict or (second == "approve" and forbidden(decision.actions)):
        return decision
    speakers = [one for one in voters if one.correction.second == second]
    return decision.model_copy(
        update={
            "verdict": second,
            "by": "rules+corrections",
            "reason": f"{_why(speakers, len(voters), second)} Rules: {decision.verdict}. {decision.reason}",
            "corrections": tuple(one.correction.id for one in speakers),
        }
    )


def _vote(one: Similar, rule: MemoryRule) -> float:
    return one.similarity - rule.floor


def _why(speakers: Sequence[Similar], voters: int, second: str) -> str:
    """Who says so, and the reason of the nearest that gave one."""
    named = ", ".join(f"{one.correction.trigger} → {one.correction.query}" for one in speakers[:3])
    given = next((one.correction.reason for one in speakers if one.correction.reason), "")
    reason = f" ({given})" if given else ""
    return f"People said {second} of {len(speakers)} of {voters} similar cases, as {named}{reason}."


_Row = tuple[str, str, str, Mapping[str, float]]


@dataclass(frozen=True, slots=True)
class _Rows:
    texts: tuple[Float64, Float64, Float64]
    factors: Float64


class _Features:
    """Vectors of cases; a text is embedded once."""

    def __init__(self, encoder: TextEncoder, rule: MemoryRule) -> None:
        self._encoder, self._rule = encoder, rule
        self._known: dict[str, Float64] = {}

    def of(self, rows: Sequence[_Row]) -> _Rows:
        texts = (
            self._units([row[0] for row in rows]),
            self._units([row[1] for row in rows]),
            self._units([row[2] for row in rows]),
        )
        values = [[row[3].get(name, 0.0) for name in FACTORS] for row in rows]
        return _Rows(texts, np.array(values, np.float64).reshape(-1, len(FACTORS)))

    def similarities(self, cases: _Rows, answers: _Rows) -> Float64:
        """(cases, answers), at most 1."""
        rule = self._rule
        weights = (rule.trigger, rule.query, rule.category)
        texts = sum(
            weight * (one @ other.T)
            for weight, one, other in zip(weights, cases.texts, answers.texts, strict=True)
        )
        likeness = rule.factors * (1 - _distances(cases.factors, answers.factors) / (2 * sqrt(len(FACTORS))))
        return np.asarray((texts + likeness) / (sum(weights) + rule.factors), np.float64)

    def _units(self, texts: Sequence[str]) -> Float64:
        return np.array([self._unit(text) for text in texts], np.float64).reshape(-1, self._encoder.dim)

    def _unit(self, text: str) -> Float64:
        if text not in self._known:
            vector = self._encoder.embed(text).astype(np.float64)
            self._known[text] = vector / max(float(np.linalg.norm(vector)), 1e-12)
        return self._known[text]


def _distances(one: Float64, other: Float64) -> Float64:
    squares = (one**2).sum(axis=1)[:, None] + (other**2).sum(axis=1)[None, :] - 2 * one @ other.T
    return np.asarray(np.sqrt(np.maximum(squares, 0.0)), np.float64)


def _case(decision: Decision) -> _Row:
    one = decision.proposal
    return one.trigger, one.query, one.category, {factor.name: factor.value for factor in decision.factors}
