"""What a language model is asked to answer with: JSON of these models, told to the server as a schema.

Only what can be checked against the history is asked for. The rationale is a list of facts that name a line
and a number; its words are ours (training.think.mining.facts), so no prose of a model is ever kept.
"""

from __future__ import annotations

from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from training.think.points import LINES_MAX, QUERIES_MAX

POINTS_MAX: Final = 8
FACTS_MAX: Final = 6
SCHEMA_NAME: Final = "interest_points"


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class AnsweredFact(_Part):
    """Of the text of a line. times: it stands in the history so often. days: since it did last."""

    kind: Literal["times", "days"]
    line: int = Field(ge=1, le=LINES_MAX)
    value: int = Field(ge=0)


class AnsweredPoint(_Part):
    """One need: the lines that show it, and what its shopper may search for next, best first."""

    triggers: list[int] = Field(min_length=1, max_length=LINES_MAX)
    queries: list[str] = Field(min_length=1, max_length=QUERIES_MAX)
    facts: list[AnsweredFact] = Field(max_length=FACTS_MAX)


class Answer(_Part):
    """The whole."""

    points: list[AnsweredPoint] = Field(max_length=POINTS_MAX)


def json_schema() -> dict[str, Any]:
    """The schema of Answer."""
    return Answer.model_json_schema()


def response_formats() -> list[dict[str, Any]]:
    """Ways to ask for JSON, the strictest first; a server that refuses one is asked in the next."""
    schema = {"name": SCHEMA_NAME, "schema": json_schema(), "strict": True}
    return [{"type": "json_schema", "json_schema": schema}, {"type": "json_object"}, {"type": "text"}]
