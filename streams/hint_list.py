"""A hint list: what one generation wrote for one user, as it stands in Redis (contract version 1).

The value is JSON with ``version`` as its first field at a fixed width, so that a few lines of Lua can
compare two lists without reading them. JSON Schema: ``docs/schema/hint-list.schema.json``.

To change it: new fields are optional with a default, types never change, names are never reused.
"""

from __future__ import annotations

import hashlib
from typing import Final, Literal

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from streams.errors import CodecError
from streams.limits import Int64, Moment, first_problem
from streams.version import Version

LIST_ID_BYTES: Final = 10
MAX_HINTS: Final = 100
VERSION_PATTERN: Final = "^[0-9]{15}-[0-9]{15}$"
# The first bytes of every value of ours; the version's 31 characters follow.
HEAD: Final = b'{"version":"'

Source = Literal["direct", "think", "popular", "pinned"]


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)


class Hint(_Value):
    """One suggested query, and where it comes from."""

    query: str = Field(min_length=1, description="the text to show and to search for")
    score: float = Field(description="the source's own; the list's order need not be the score's")
    source: Source = Field(description="who proposed it")
    why: str = Field("", description="for people: what led to it")
    held_until: Int64 = Field(0, description="epoch ms: the user just did this; not to be shown before")
    mapping: str = Field("", description="of a think hint: the mapping version that it comes from")


class HintList(_Value):
    """One generation's hints for one user, best first."""

    version: str = Field(
        pattern=VERSION_PATTERN,
        description="event time in ms, then offset, both 15 digits: greater text is newer; first field",
    )
    list_id: str = Field(min_length=1, description="digest of user and version; send it back in hint events")
    user: str = Field(min_length=1, description="user_id, else client_id")
    as_of: Moment = Field(description="event time in ms of the newest behaviour that the list knows")
    generated_at: Moment = Field(description="wall clock in ms, for expiry and metrics only")
    reason: str = Field(description="why the list was renewed")
    drift: float = Field(description="how far the interest had moved, 0 to 2")
    trigger: str = Field(description="text of the newest behaviour: the key of its Think entry")
    triggers: tuple[str, ...] = Field((), description="texts of the latest behaviours, newest first")
    bundle: str = Field(description="the bundle that generated it")
    mapping: str | None = Field(None, description="the Think mapping version that filled it up, if any")
    arm: str = Field("", description="experiment arm")
    application: str = ""
    locale: str = ""
    hints: tuple[Hint, ...] = Field((), max_length=MAX_HINTS, description="best first")
    held: dict[str, Int64] = Field(
        default_factory=dict,
        description="query in normal form → epoch ms: the user just did this; from no source before",
    )

    @property
    def latest(self) -> tuple[str, ...]:
        """The triggers, newest first; lists of older writers know one."""
        return self.triggers or ((self.trigger,) if self.trigger else ())

    def to_json(self) -> bytes:
        """The value in Redis: UTF-8 JSON, fields in the order above; a hint's mapping where it has one."""
        value = self.model_dump()
        for hint in value["hints"]:
            if not hint["mapping"]:
                del hint["mapping"]
        return orjson.dumps(value)

    @classmethod
    def from_json(cls, data: bytes | str) -> HintList:
        """Inverse of `to_json`; unknown fields are skipped. Raises CodecError."""
        try:
            return cls.model_validate_json(data)
        except ValidationError as error:
            raise CodecError(
                f"Not a hint list of contract version 1: {first_problem(error)}.", action="Skip the value."
            ) from error


def list_id_of(user: str, version: Version | str) -> str:
    """20 hexadecimal digits that stand for one generation: the same user and version, the same id."""
    text = f"{version}\0{user}".encode("utf-8", "surrogatepass")
    return hashlib.blake2b(text, digest_size=LIST_ID_BYTES).hexdigest()
