"""The dialogue with Redis that reads one user's hints, without a connection.

`HintPlan.read` yields the commands of a round trip and is sent their replies; the blocking and the
asynchronous reader both drive it, so there is one truth about what is read and how it is put together.
In steady state it yields once: the entries of all triggers are asked for along with the rest. A second time
only if Think has a place and its entries were not asked for: because another mapping version came, or the
backend named no trigger and they stand in the user's newest list.
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
    Tiers,
    merge,
    opened,
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
from streams.think_entry import Suggestion, ThinkPointer, mapping_for
from streams.think_merge import THINK_PLACES, TriggerEntries, has_think_place, latest_triggers

DENY_FRESH_S: Final = 2.0

Command = tuple[str | bytes | int, ...]
Steps = Generator[list[Command], list[Any], HintAnswer]


@dataclass(frozen=True, slots=True)
class Ask:
    """What a backend asks for. triggers, newest first; None: those of the user's newest list."""

    user: str
    triggers: tuple[str, ...] | None
    application: str
    locale: str
    limit: int
    now_s: float  # monotonic, for the age of the deny set
    now_ms: int  # wall clock, for the age of the list and for hints that are held


@dataclass(frozen=True, slots=True)
class Memory:
    """What a reader keeps from one call to the next: the pointer to the mapping versions, the deny set."""

    pointer: ThinkPointer | None = None
    denied: frozenset[str] = frozenset()
    denied_at_s: float = -math.inf


@dataclass(frozen=True, slots=True)
class _Found:
    """What was read so far. think: what the entries that were asked for say."""

    lists: list[HintList]
    pointer: ThinkPointer | None
    popular: tuple[Suggestion, ...]
    think: TriggerEntries
    malformed: int


class HintPlan:
    """How one reader reads; threads may share it, since its memory is replaced as a whole."""

    def __init__(
        self,
        pinned: Sequence[str] = (),
        deny_fresh_s: float = DENY_FRESH_S,
        think_places: int = THINK_PLACES,
    ) -> None:
        self._pinned = tuple(Suggestion(query=query) for query in pinned)
        self._deny_fresh_s = deny_fresh_s
        self._think_places = think_places
        self._memory = Memory()

    def read(self, ask: Ask) -> Steps:
        """The dialogue for one answer. Raises StoreRefusedError if the deny set is no set."""
        memory = self._memory
        asked = wanted_of(memory.pointer, ask.user, ask.triggers or ())
        commands = _first_commands(ask)
        if ask.now_s - memory.denied_at_s >= self._deny_fresh_s:
            commands["denied"] = ("SMEMBERS", DENY)
        values = yield [*commands.values(), *entry_commands(asked)]
        replies = dict(zip(commands, values, strict=False))
        found = _found(replies, asked, values[len(commands) :])
        self._memory = memory = _remember(memory, replies, found.pointer, ask.now_s)
        triggers = found.lists[0].latest if ask.triggers is None and found.lists else ask.triggers or ()
        wanted = wanted_of(found.pointer, ask.user, latest_triggers(triggers))
        if wanted != asked:
            found = replace(found, think=wanted)
            if entry_commands(wanted) and self._has_place(ask, found, memory):
                found = _with_entries(found, wanted, (yield entry_commands(wanted)))
        return self._answer(ask, found, memory)

    def _has_place(self, ask: Ask, found: _Found, memory: Memory) -> bool:
        """Whether a place is Think's, or the user's own lists leave one."""
        if has_think_place(range(ask.limit), self._think_places):
            return True
        own = Tiers(tuple(personal(found.lists, found.think.mapping)), held=_held(found))
        return len(merge(own, memory.denied, ask.limit, ask.now_ms)[0]) < ask.limit

    def _answer(self, ask: Ask, found: _Found, memory: Memory) -> HintAnswer:
        tiers = Tiers(
            own=tuple(personal(found.lists, found.think.mapping)),
            think=opened(found.think),
            rest=chain(suggested(found.popular, "popular"), suggested(self._pinned, "pinned")),
            held=_held(found),
        )
        chosen, denied = merge(tiers, memory.denied, ask.limit, ask.now_ms, think_places=self._think_places)
        newest = found.lists[0] if found.lists else None
        return HintAnswer(
            hints=tuple(one.hint for one in chosen),
            list_ids=tuple(one.list_id for one in chosen),
            list_id=newest.list_id if newest else "",
            version=newest.version if newest else "",
            as_of=newest.as_of if newest else None,
            age_ms=max(0, ask.now_ms - newest.generated_at) if newest else None,
            triggers=found.think.triggers,
            mapping=found.think.mapping,
            denied=denied,
            malformed=found.malformed,
        )


def wanted_of(pointer: ThinkPointer | None, user: str, triggers: tuple[str, ...]) -> TriggerEntries:
    """The version that the user sees, and the triggers; without entries yet."""
    return TriggerEntries(mapping_for(pointer, user) if pointer else "", triggers)


def entry_commands(wanted: TriggerEntries) -> list[Command]:
    """What reads the entries, a command a trigger; none without a mapping."""
    return [("GET", think_key(wanted.mapping, one)) for one in wanted.triggers if wanted.mapping]


def with_entries(wanted: TriggerEntries, replies: Sequence[Any]) -> tuple[TriggerEntries, int]:
    """The entries from the replies to `entry_commands`, and how many are none."""
    read = [parse_entry(reply) for reply in replies]
    entries = tuple(entry for entry, _ in read) if read else ()
    return replace(wanted, entries=entries), sum(wrong for _, wrong in read)


def _held(found: _Found) -> dict[str, int]:
    return found.lists[0].held if found.lists else {}


def _first_commands(ask: Ask) -> dict[str, Command]:
    commands: dict[str, Command] = {
        "lists": ("LRANGE", hints_key(ask.user), 0, -1),
        "pointer": ("GET", THINK_CURRENT),
        "popular": ("GET", popular_key()),
    }
    if ask.application or ask.locale:
        commands["own_popular"] = ("GET", popular_key(ask.application, ask.locale))
    return commands


def _found(replies: dict[str, Any], asked: TriggerEntries, entries: Sequence[Any]) -> _Found:
    lists, bad_lists = parse_lists(replies["lists"])
    pointer, bad_pointer = parse_pointer(replies["pointer"])
    own, bad_own = parse_popular(replies.get("own_popular"))
    everybody, bad_popular = parse_popular(replies["popular"])
    found = _Found(lists, pointer, own or everybody, asked, bad_lists + bad_pointer + bad_own + bad_popular)
    return _with_entries(found, asked, entries)


def _with_entries(found: _Found, wanted: TriggerEntries, replies: Sequence[Any]) -> _Found:
    think, wrong = with_entries(wanted, replies)
    return replace(found, think=think, malformed=found.malformed + wrong)


def _remember(memory: Memory, replies: dict[str, Any], pointer: ThinkPointer | None, now_s: float) -> Memory:
    if "denied" not in replies:
        return replace(memory, pointer=pointer)
    if is_wrong_type(replies["denied"]):
        # Without the deny set nothing may be shown: better no hints than a forbidden one.
        raise StoreRefusedError(
            f"{DENY.decode()} is no set in Redis, so nobody can tell what is denied; no hints were read.",
            action="Delete the key and add the denied queries with SADD.",
        )
    return Memory(pointer, parse_denied(replies["denied"]), now_s)
