"""What a review says of a proposal: Evidence → Action → Factor → Decision, after EAFD (arXiv 2603.19267).

    Evidence   what a log says of the pair; stands on the proposal (training.think.points)
    Action     a check that was run on it, or could not be; with what it found (training.think.review.checks)
    Factor     what follows from the actions it names; nothing is judged that no action looked at
    Decision   approve, reject, or request_information, which names the checks that were not run

Decisions are JSON lines (training.think.points.write_lines, read_lines). The scheme is the paper's; the
fields are ours, since its file formats are not published.
"""

from __future__ import annotations

from typing import Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from streams.query_text import normalise_query
from training.think.points import Proposal

DECISIONS: Final = "decisions.jsonl"

Verdict = Literal["approve", "reject", "request_information"]
Decider = Literal["rules", "rules+corrections", "person"]
Key = tuple[str, str]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Action(_Part):
    """One check. ran: false when what it needs was not there, as `detail` says. passed: None unless it ran.
    figures: the numbers it went by; a test counts them again."""

    name: str
    ran: bool
    passed: bool | None = None
    detail: str = ""
    figures: dict[str, float] = {}

    @model_validator(mode="after")
    def _answers_if_it_ran(self) -> Self:
        if self.ran == (self.passed is None):
            raise ValueError("an action passes or fails if it ran, and only then")
        return self


class Factor(_Part):
    """A criterion. value: −1 (against) to 1 (for); 0 says nothing. weight: in the sum; 0 for what is only
    told. decisive: it alone rejects when it is against. actions: what it follows from."""

    name: str
    value: float = Field(ge=-1, le=1)
    weight: float = Field(ge=0)
    decisive: bool = False
    actions: tuple[str, ...] = Field(min_length=1)
    detail: str = ""


class Decision(_Part):
    """missing: names of exactly the checks that were not run. corrections: ids of those that changed it."""

    proposal: Proposal
    verdict: Verdict
    actions: tuple[Action, ...]
    factors: tuple[Factor, ...]
    missing: tuple[str, ...] = ()
    by: Decider
    reason: str
    corrections: tuple[str, ...] = ()
    at_ms: int

    @property
    def key(self) -> Key:
        """What is decided on: normal forms of trigger and query."""
        return key_of(self.proposal)

    @property
    def approved(self) -> bool:
        """Whether a version may hold it."""
        return self.verdict == "approve"

    def action(self, name: str) -> Action | None:
        """The check of that name."""
        return next((action for action in self.actions if action.name == name), None)


def key_of(proposal: Proposal) -> Key:
    """Proposals of one key are one entry, whoever made them."""
    return normalise_query(proposal.trigger), normalise_query(proposal.query)
