"""What became of one hint: shown, clicked or dismissed, beside the list that it came from.

Outcomes are for reports on what was shown, so each carries what the list knew: version of bundle
and mapping, why it was renewed, place and score. One that could not be joined says why.
To change the record: new fields are optional with a default, types never change.
"""

from __future__ import annotations

from enum import StrEnum

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from streams.errors import CodecError
from streams.hint_list import Source
from streams.limits import Int64, first_problem


class Outcome(StrEnum):
    """What the user did with the hint."""

    SHOWN = "shown"
    CLICKED = "clicked"
    DISMISSED = "dismissed"


class WhyNot(StrEnum):
    """Why an outcome has no list; JOINED: it has one."""

    JOINED = ""
    LIST_GONE = "list_gone"  # the event names a list that is no longer kept
    NOT_LISTED = "not_listed"  # in no list of the user: a Think, popular or pinned hint of the reader
    NO_QUERY = "no_query"  # the event says neither the text nor a place in a known list


class HintOutcome(BaseModel):
    """One hint's outcome. Times in event-time ms; `ordinal` is the place where it was shown, first 1.

    as_of … score: from the list that the outcome is joined to; empty or None where it is not.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)

    user: str
    list_id: str = Field(description="of the joined list, else what the event says")
    query: str
    ordinal: Int64 | None = None
    outcome: Outcome
    at_ms: Int64
    event_id: str = Field("", description="of the feedback event; repeats have the same")
    as_of: Int64 | None = None
    reason: str = ""
    bundle: str = ""
    mapping: str | None = None
    arm: str = ""
    source: Source | None = None
    score: float | None = None
    joined: bool = False
    why_not: WhyNot = WhyNot.JOINED

    def key(self) -> bytes:
        """Record key: JSON array of user, list, query and outcome, so that compaction keeps one of each."""
        return orjson.dumps([self.user, self.list_id, self.query, self.outcome])

    def to_json(self) -> bytes:
        """Record value, fields in the order above."""
        return orjson.dumps(self.model_dump())

    @classmethod
    def from_json(cls, data: bytes | str) -> HintOutcome:
        """Inverse of `to_json`. Raises CodecError."""
        try:
            return cls.model_validate_json(data)
        except ValidationError as error:
            raise CodecError(
                f"Not a hint outcome: {first_problem(error)}.", action="Skip the record."
            ) from error
