"""The version of a hint list: what decides which of two lists of a user is newer."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from streams.errors import CodecError

_TEXT: Final = re.compile("([0-9]{15})-([0-9]{15})")


@dataclass(frozen=True, slots=True, order=True)
class Version:
    """Newer wins: event time that the list is as of (ms), then the offset of the deciding event."""

    as_of_ms: int
    offset: int

    def __str__(self) -> str:
        """Fixed width, so that text order is version order (Redis compares it as text)."""
        return f"{self.as_of_ms:015d}-{self.offset:015d}"

    @classmethod
    def parse(cls, text: str) -> Version:
        """Inverse of `str`; raises CodecError."""
        found = _TEXT.fullmatch(text)
        if found is None:
            raise CodecError("Not a version of two times 15 digits.", action="Drop the value.")
        return cls(int(found[1]), int(found[2]))
