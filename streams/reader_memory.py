"""What a reader keeps from one answer to the next, because all its users share it.

Think's entries stay as long as the pointer to the mapping versions keeps its very bytes, and a minute at
most; within a version nothing else changes them but a withdrawal, and the deny set knows that first.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any, Final, NamedTuple

from streams.errors import StoreRefusedError
from streams.hint_answer import parse_denied, parse_entry
from streams.redis_errors import is_wrong_type
from streams.redis_keys import DENY
from streams.think_entry import Suggestion

DENY_FRESH_S: Final = 2.0
ENTRY_FRESH_S: Final = 60.0
ENTRIES_KEPT: Final = 4_096
KEY_KEPT: Final = 500  # bytes; strangers type triggers, and a long one is not worth its memory


class Entry(NamedTuple):
    """What stood at an entry's key, when (monotonic), and whether it was none (1)."""

    queries: tuple[Suggestion, ...]
    wrong: int
    at_s: float


class Entries:
    """Think's entries by their keys, of one pointer."""

    def __init__(self) -> None:
        self._kept: dict[bytes, Entry] = {}

    def known(self, keys: Iterable[bytes], now_s: float) -> dict[bytes, Entry]:
        """Those that are at hand and fresh."""
        kept, oldest_s = self._kept, now_s - ENTRY_FRESH_S
        return {key: one for key in keys if (one := kept.get(key)) and one.at_s > oldest_s}

    def keep(self, key: bytes, reply: Any, now_s: float) -> Entry:
        """The entry in GET's reply. When there are too many, all are forgotten: threads share them."""
        entry = Entry(*parse_entry(reply), now_s)
        if len(self._kept) >= ENTRIES_KEPT:
            self._kept.clear()
        if len(key) <= KEY_KEPT:
            self._kept[key] = entry
        return entry


@dataclass(frozen=True, slots=True)
class Memory:
    """pointer: as it stood in Redis. members: the deny set as it stood there; denied: in normal form."""

    pointer: Any = None
    entries: Entries = field(default_factory=Entries)
    members: frozenset[bytes] = frozenset()
    denied: frozenset[str] = frozenset()
    denied_at_s: float = -math.inf

    def of(self, pointer: Any) -> Memory:
        """With what stands at the pointer's key now."""
        return self if pointer == self.pointer else replace(self, pointer=pointer, entries=Entries())

    def denying(self, members: Any, now_s: float) -> Memory:
        """With SMEMBERS' reply. Raises StoreRefusedError if the deny set is no set."""
        if is_wrong_type(members):
            # Without the deny set nothing may be shown: better no hints than a forbidden one.
            raise StoreRefusedError(
                f"{DENY.decode()} is no set in Redis, so nobody can tell what is denied; no hints were read.",
                action="Delete the key and add the denied queries with SADD.",
            )
        members = frozenset(members)
        denied = self.denied if members == self.members else parse_denied(members)
        return replace(self, members=members, denied=denied, denied_at_s=now_s)
