"""What stands in Redis for Think: an entry per trigger, the pointer to the version in use, popular lists.

An entry is ``{"trigger": …, "queries": [{"query", "score", …}, …]}``, best first; a popular list is the
array of queries alone. The pointer names the version whose entries count, so swapping a mapping is one
write. It may name a second version, a canary, for a share of the users: `mapping_for` says who sees which.
To change them: new fields are optional with a default, types never change.
"""

from __future__ import annotations

import hashlib
from functools import cached_property
from typing import Final

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from streams.limits import Int64
from streams.query_text import normalise_query

MAX_QUERIES: Final = 100
# No colon: the version stands in the middle of a key. No dot first: it is the name of a folder, too.
MAPPING_VERSION_PATTERN: Final = r"^[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}$"
_PARTS: Final = 2**32


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)


class Suggestion(_Value):
    """A query for a trigger, or for everybody. `support` in baskets and `lift` where it was mined.

    category: the query's own, "" if nobody said.
    """

    query: str = Field(min_length=1)
    score: float = 0.0
    support: Int64 | None = None
    lift: float | None = None
    category: str = ""

    @cached_property
    def normal(self) -> str:
        """The query in normal form; readers keep suggestions and ask for it often."""
        return normalise_query(self.query)


class ThinkEntry(_Value):
    """The queries that follow from one trigger, best first."""

    trigger: str = Field(min_length=1)
    queries: tuple[Suggestion, ...] = Field(max_length=MAX_QUERIES)


class Canary(_Value):
    """A version that a share of the users sees, 0 to 1, while the others see the one in use."""

    version: str = Field(pattern=MAPPING_VERSION_PATTERN)
    share: float = Field(ge=0, le=1)
    digest: str = ""
    triggers: Int64 = 0


class ThinkPointer(_Value):
    """Names the mapping version in use. `digest` tells its content, `previous` what a rollback finds.

    canary: None, or the version on trial. held: versions that people decided against; a loader that finds
    one named in its folder leaves the pointer as it is.
    """

    version: str = Field(pattern=MAPPING_VERSION_PATTERN)
    digest: str = ""
    triggers: Int64 = 0
    previous: str | None = None
    canary: Canary | None = None
    held: tuple[str, ...] = ()


def mapping_for(pointer: ThinkPointer, user: str) -> str:
    """The version that `user` sees: always the same one for the same pointer.

    The first 32 bits of SHA-256("canary version:user"), in UTF-8, over 2^32 lie below the share. So a larger
    share only adds users, the next canary meets other ones, and every language can tell. Nobody ("") is in
    no canary: all who are not known would see it at once.
    """
    canary = pointer.canary
    if canary is None or not user:
        return pointer.version
    text = f"{canary.version}:{user}".encode("utf-8", "surrogatepass")
    place = int.from_bytes(hashlib.sha256(text).digest()[:4], "big")
    return canary.version if place < canary.share * _PARTS else pointer.version


PopularList: Final = TypeAdapter(tuple[Suggestion, ...])
