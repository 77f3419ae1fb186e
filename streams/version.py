"""The version of a hint list: what decides which of two lists of a user is newer."""

from __future__ import annotations

from dataclasses import dataclass

from streams.errors import CodecError


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
        try:
            as_of_ms, offset = text.split("-")
            return cls(int(as_of_ms), int(offset))
        except ValueError as error:
            raise CodecError(f"Not a version: {text[:40]!r}.", action="Drop the value.") from error
