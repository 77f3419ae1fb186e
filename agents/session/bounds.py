"""What of a person may not be used, or belongs to somebody else by now: part of the session state.

A deletion, a withdrawal of consent and a hand-over (an anonymous client who turned out to be a user) leave
next to nothing of a state, but one thing must stay: from when on events count again. Else an event that
comes late, or twice, would bring back what was erased. Ours; the paper says nothing of it.
"""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

CLIENT_BYTES: Final = 6
CLIENTS_KEPT: Final = 4

_HEAD = struct.Struct("<qqHB")
_TAKEN = struct.Struct(f"<{CLIENT_BYTES}sq")


class TakenOver(NamedTuple):
    """A client whose history was joined to this user's: digest, and the place of the hand-over's request."""

    client: bytes
    place: int


class Bounds(NamedTuple):
    """Times are event times in ms.

    not_before_ms: behaviours up to then are not used (0: all are). ends_ms: the whole state is dropped then
    (0: it stays). joined_to: the user whom behaviours up to `not_before_ms` belong to; "": nobody.
    taken_over: the clients last joined to this user, newest first, so that nothing is joined twice.
    """

    not_before_ms: int = 0
    ends_ms: int = 0
    joined_to: str = ""
    taken_over: tuple[TakenOver, ...] = ()

    @property
    def is_deleted(self) -> bool:
        """Whether the person was deleted, and did not come back."""
        return self.ends_ms > 0 and not self.joined_to

    def has_taken(self, client: bytes, place: int) -> bool:
        """Whether this hand-over, or a later one of the same client, was joined before."""
        return any(one.client == client and one.place >= place for one in self.taken_over)

    def with_taken(self, client: bytes, place: int) -> tuple[TakenOver, ...]:
        """`taken_over` with one more."""
        others = tuple(one for one in self.taken_over if one.client != client)
        return (TakenOver(client, place), *others)[:CLIENTS_KEPT]


NO_BOUNDS: Final = Bounds()


def pack_bounds(bounds: Bounds) -> bytes:
    """To bytes; `unpack_bounds` is its inverse."""
    user = bounds.joined_to.encode("utf-8", "surrogatepass")
    head = _HEAD.pack(bounds.not_before_ms, bounds.ends_ms, len(user), len(bounds.taken_over))
    return b"".join((head, user, *(_TAKEN.pack(one.client, one.place) for one in bounds.taken_over)))


def unpack_bounds(data: bytes, place: int) -> tuple[Bounds, int]:
    """The bounds at `place`, and where they end. Raises struct.error, UnicodeDecodeError."""
    not_before_ms, ends_ms, length, count = _HEAD.unpack_from(data, place)
    place += _HEAD.size
    user = data[place : place + length].decode("utf-8", "surrogatepass")
    place += length
    taken = tuple(TakenOver(*_TAKEN.unpack_from(data, place + i * _TAKEN.size)) for i in range(count))
    return Bounds(not_before_ms, ends_ms, user, taken), place + count * _TAKEN.size
