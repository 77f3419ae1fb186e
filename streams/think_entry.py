"""What stands in Redis for Think: an entry per trigger, the pointer to the version in use, popular lists.

An entry is ``{"trigger": …, "queries": [{"query", "score", …}, …]}``, best first; a popular list is the
array of queries alone. The pointer names the version whose entries count, so swapping a mapping is one
write. To change them: new fields are optional with a default, types never change.
"""

from __future__ import annotations

from typing import Final

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

MAX_QUERIES: Final = 100
# No colon: the version stands in the middle of a key.
MAPPING_VERSION_PATTERN: Final = r"^[A-Za-z0-9._-]{1,64}$"


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)


class Suggestion(_Value):
    """A query for a trigger, or for everybody. `support` in baskets and `lift` where it was mined."""

    query: str = Field(min_length=1)
    score: float = 0.0
    support: int | None = None
    lift: float | None = None


class ThinkEntry(_Value):
    """The queries that follow from one trigger, best first."""

    trigger: str = Field(min_length=1)
    queries: tuple[Suggestion, ...] = Field(max_length=MAX_QUERIES)


class ThinkPointer(_Value):
    """Names the mapping version in use. `digest` tells its content, `previous` what a rollback finds."""

    version: str = Field(pattern=MAPPING_VERSION_PATTERN)
    digest: str = ""
    triggers: int = 0
    previous: str | None = None


PopularList: Final = TypeAdapter(tuple[Suggestion, ...])
