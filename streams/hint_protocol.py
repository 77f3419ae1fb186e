"""The dialogue with Redis that reads one user's hints, without a connection.

`HintPlan.read` yields the commands of a round trip and is sent their replies; the blocking and the
asynchronous reader both drive it, so there is one truth about what is read and how it is put together.
In steady state it yields once. A second time only if hints are still missing and the trigger's entry
was not asked for: because the mapping was swapped, or the trigger stands in the user's newest list.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any, Final

from streams.errors import StoreRefusedError
from streams.hint_answer import (
    HintAnswer,
    merge,
    parse_denied,
    parse_entry,
    parse_lists,
    parse_pointer,
    parse_popular,
    personal,
    suggested,
)
from streams.hint_list import HintList
from streams.redis_errors import is_wrong_type
from streams.redis_keys import DENY, THINK_CURRENT, hints_key, popular_key, think_key
from streams.think_entry import Suggestion

DENY_FRESH_S: Final = 2.0

Command = tuple[str | bytes | int, ...]
Steps = Generator[list[Command], list[Any], HintAnswer]


@dataclass(frozen=True, slots=True)
class Ask:
    """What a backend asks for. trigger None: the one of the user's newest list; "": none."""

    user: str
    trigger: str | None
    application: str
    locale: str
    limit: int
    now_s: float  # monotonic, for the age of the deny set
    now_ms: int  # wall clock, for the age of the list and for hints that are held


@dataclass(frozen=True, slots=True)
class Memory:
    """What a reader keeps from one call to the next: the mapping version in use, the deny set."""

    mapping: str = ""
    denied: frozenset[str] = frozenset()
    denied_at_s: float = -math.inf


@dataclass(frozen=True, slots=True)
class _Found:
    """What was read so far. entry: the Think queries under `entry_key`; None: none was asked for."""

    lists: list[HintList]
    mapping: str
    popular: tuple[Suggestion, ...]
    entry_key: bytes | None
    entry: tuple[Suggestion, ...]
    malformed: int


class HintPlan:
    """How one reader reads; threads may share it, since its memory is replaced as a whole."""

    def __init__(self, pinned: Sequence[str] = (), deny_fresh_s: float = DENY_FRESH_S) -> None:
        self._pinned = tuple(Suggestion(query=query) for query in pinned)
        self._deny_fresh_s = deny_fresh_s
        self._memory = Memory()

    def read(self, ask: Ask) -> Steps:
        """The dialogue for one answer. Raises StoreRefusedError if the deny set is no set."""
        memory = self._memory
        entry_key = _entry_key(memory.mapping, ask.trigger)
        commands = _first_commands(ask, entry_key)
        if ask.now_s - memory.denied_at_s >= self._deny_fresh_s:
            commands["denied"] = ("SMEMBERS", DENY)
        replies = dict(zip(commands, (yield list(commands.values())), strict=True))
        found = _found(replies, entry_key)
        self._memory = memory = _remember(memory, replies, found.mapping, ask.now_s)
        trigger = _trigger(ask, found)
        entry_key = _entry_key(found.mapping, trigger)
        if entry_key != found.entry_key:
            found = replace(found, entry=())
            if entry_key is not None and self._is_short(ask, found, memory):
                (reply,) = yield [("GET", entry_key)]
                entry, wrong = parse_entry(reply)
                found = replace(found, entry=entry, malformed=found.malformed + wrong)
        return self._answer(ask, found, memory, trigger)

    def _is_short(self, ask: Ask, found: _Found, memory: Memory) -> bool:
        """Whether the user's own lists leave places for Think."""
        return len(merge(personal(found.lists), memory.denied, ask.limit, ask.now_ms)[0]) < ask.limit

    def _answer(self, ask: Ask, found: _Found, memory: Memory, trigger: str) -> HintAnswer:
        candidates = chain(
            personal(found.lists),
            suggested(found.entry, "think", why=trigger),
            suggested(found.popular, "popular"),
            suggested(self._pinned, "pinned"),
        )
        chosen, denied = merge(candidates, memory.denied, ask.limit, ask.now_ms)
        newest = found.lists[0] if found.lists else None
        return HintAnswer(
            hints=tuple(one.hint for one in chosen),
            list_ids=tuple(one.list_id for one in chosen),
            list_id=newest.list_id if newest else "",
            version=newest.version if newest else "",
            as_of=newest.as_of if newest else None,
            age_ms=max(0, ask.now_ms - newest.generated_at) if newest else None,
            trigger=trigger,
            mapping=found.mapping,
            denied=denied,
            malformed=found.malformed,
        )


def _entry_key(mapping: str, trigger: str | None) -> bytes | None:
    return think_key(mapping, trigger) if mapping and trigger else None


def _trigger(ask: Ask, found: _Found) -> str:
    if ask.trigger is not None:
        return ask.trigger
    return found.lists[0].trigger if found.lists else ""


def _first_commands(ask: Ask, entry_key: bytes | None) -> dict[str, Command]:
    commands: dict[str, Command] = {
        "lists": ("LRANGE", hints_key(ask.user), 0, -1),
        "pointer": ("GET", THINK_CURRENT),
        "popular": ("GET", popular_key()),
    }
    if ask.application or ask.locale:
        commands["own_popular"] = ("GET", popular_key(ask.application, ask.locale))
    if entry_key is not None:
        commands["entry"] = ("GET", entry_key)
    return commands


def _found(replies: dict[str, Any], entry_key: bytes | None) -> _Found:
    lists, bad_lists = parse_lists(replies["lists"])
    mapping, bad_pointer = parse_pointer(replies["pointer"])
    own, bad_own = parse_popular(replies.get("own_popular"))
    everybody, bad_popular = parse_popular(replies["popular"])
    entry, bad_entry = parse_entry(replies.get("entry"))
    malformed = bad_lists + bad_pointer + bad_own + bad_popular + bad_entry
    return _Found(lists, mapping, own or everybody, entry_key, entry, malformed)


def _remember(memory: Memory, replies: dict[str, Any], mapping: str, now_s: float) -> Memory:
    if "denied" not in replies:
        return replace(memory, mapping=mapping)
    if is_wrong_type(replies["denied"]):
        # Without the deny set nothing may be shown: better no hints than a forbidden one.
        raise StoreRefusedError(
            f"{DENY.decode()} is no set in Redis, so nobody can tell what is denied; no hints were read.",
            action="Delete the key and add the denied queries with SADD.",
        )
    return Memory(mapping, parse_denied(replies["denied"]), now_s)
