"""The dialogue with Redis that reads one user's hints, without a connection.

`HintPlan.read` yields the commands of a round trip and is sent their replies; the blocking and the
asynchronous reader both drive it, so there is one truth about what is read and how it is put together.
In steady state it yields once: the entries of all triggers are at hand (streams.reader_memory), or are asked
for along with the rest. A second time only if Think has a place and entries are missing: because another
mapping version came, or the backend named no trigger and those in the user's newest list are new to it.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import chain
from typing import Any, Final

from streams.hint_answer import (
    HintAnswer,
    Tiers,
    merge,
    opened,
    parse_entry,
    parse_pointer,
    parse_popular,
    personal,
    suggested,
)
from streams.own_lists import OwnLists
from streams.reader_memory import DENY_FRESH_S, ENTRIES_KEPT, KEY_KEPT, Entry, Memory
from streams.redis_keys import DENY, THINK_CURRENT, hints_key, popular_key, think_key
from streams.redis_wire import Command as Command
from streams.think_entry import Suggestion, ThinkPointer, mapping_for
from streams.think_merge import THINK_PLACES, TriggerEntries, has_think_place, latest_triggers

Steps = Generator[list[Command], list[Any], HintAnswer]


@dataclass(frozen=True, slots=True)
class Ask:
    """What a backend asks for. triggers: as `latest_triggers` gives them; None: those of the newest list."""

    user: str
    triggers: tuple[str, ...] | None
    application: str
    locale: str
    limit: int
    now_s: float  # monotonic, for the age of the deny set
    now_ms: int  # wall clock, for the age of the list and for hints that are held


@dataclass(slots=True)
class _Think:
    """What Think may say: the version that the user sees and the triggers, the keys, entries at hand."""

    wanted: TriggerEntries
    keys: tuple[bytes, ...]
    known: dict[bytes, Entry]

    @property
    def missing(self) -> list[bytes]:
        """Keys whose entries were not read."""
        return [key for key in self.keys if key not in self.known]

    @property
    def found(self) -> TriggerEntries:
        """With the entries; without any if they were not all read, since none was needed then."""
        if len(self.known) < len(self.keys):
            return self.wanted
        entries = tuple([self.known[key].queries for key in self.keys])
        return TriggerEntries(self.wanted.mapping, self.wanted.triggers, entries)


@dataclass(slots=True)
class _Found:
    """What was read so far."""

    lists: OwnLists
    popular: tuple[Suggestion, ...]
    malformed: int

    @property
    def held(self) -> dict[str, int]:
        """What the user just did, by the newest list."""
        return self.lists.newest.held if self.lists.newest else {}


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
        before = self._memory
        think = _think_of(before, ask, ask.triggers or ())
        asked = think.missing
        commands = _first_commands(ask)
        if ask.now_s - before.denied_at_s >= self._deny_fresh_s:
            commands["denied"] = ("SMEMBERS", DENY)
        replies = yield [*commands.values(), *(("GET", key) for key in asked)]
        told = dict(zip(commands, replies, strict=False))
        memory = _remembered(before, told, ask.now_s)
        if memory is not before:
            self._memory = memory
        _keep(memory, think, asked, replies[len(commands) :], ask)
        found = _found(told)
        if ask.triggers is None or memory.pointer != before.pointer:
            think = _think_of(memory, ask, _triggers(ask, found))
        if (missing := think.missing) and self._has_place(ask, found, think, memory):
            _keep(memory, think, missing, (yield [("GET", key) for key in missing]), ask)
        return self._answer(ask, found, think, memory)

    def _has_place(self, ask: Ask, found: _Found, think: _Think, memory: Memory) -> bool:
        """Whether a place is Think's, or the user's own lists leave one."""
        if has_think_place(range(ask.limit), self._think_places):
            return True
        own = Tiers(personal(found.lists, think.wanted.mapping), held=found.held, apart=True)
        return len(merge(own, memory.denied, ask.limit, ask.now_ms)[0]) < ask.limit

    def _answer(self, ask: Ask, found: _Found, think: _Think, memory: Memory) -> HintAnswer:
        mapping, triggers = think.wanted.mapping, think.wanted.triggers
        held, lists = found.held, found.lists
        tiers = Tiers(
            own=personal(lists, mapping),
            think=opened(
                think.found, lambda query: held.get(query, 0) > ask.now_ms or lists.hold(query, mapping)
            ),
            rest=chain(suggested(found.popular, "popular"), suggested(self._pinned, "pinned")),
            held=held,
            apart=True,
        )
        chosen, denied = merge(tiers, memory.denied, ask.limit, ask.now_ms, think_places=self._think_places)
        newest = found.lists.newest
        return HintAnswer(
            hints=tuple([hint for hint, _ in chosen]),
            list_ids=tuple([list_id for _, list_id in chosen]),
            list_id=newest.list_id if newest else "",
            version=newest.version if newest else "",
            as_of=newest.as_of if newest else None,
            age_ms=max(0, ask.now_ms - newest.generated_at) if newest else None,
            triggers=triggers,
            mapping=mapping,
            denied=denied,
            malformed=found.malformed + found.lists.malformed + sum([e.wrong for e in think.known.values()]),
        )


def wanted_of(pointer: ThinkPointer | None, user: str, triggers: tuple[str, ...]) -> TriggerEntries:
    """The version that the user sees, and the triggers; without entries yet."""
    return TriggerEntries(mapping_for(pointer, user) if pointer else "", triggers)


def entry_keys(wanted: TriggerEntries) -> tuple[bytes, ...]:
    """The keys of the entries, one a trigger; none without a mapping."""
    return tuple([_key(wanted.mapping, one) for one in wanted.triggers]) if wanted.mapping else ()


def entry_commands(wanted: TriggerEntries) -> list[Command]:
    """What reads the entries, a command a trigger; none without a mapping."""
    return [("GET", key) for key in entry_keys(wanted)]


def with_entries(wanted: TriggerEntries, replies: Sequence[Any]) -> tuple[TriggerEntries, int]:
    """The entries from the replies to `entry_commands`, and how many are none."""
    read = [parse_entry(reply) for reply in replies]
    entries = tuple(entry for entry, _ in read) if read else ()
    return replace(wanted, entries=entries), sum(wrong for _, wrong in read)


_kept_key: Final = lru_cache(ENTRIES_KEPT)(think_key)


def _key(mapping: str, trigger: str) -> bytes:
    return _kept_key(mapping, trigger) if len(trigger) <= KEY_KEPT else think_key(mapping, trigger)


def _first_commands(ask: Ask) -> dict[str, Command]:
    commands: dict[str, Command] = {
        "lists": ("LRANGE", hints_key(ask.user), 0, -1),
        "pointer": ("GET", THINK_CURRENT),
        "popular": ("GET", popular_key()),
    }
    if ask.application or ask.locale:
        commands["own_popular"] = ("GET", popular_key(ask.application, ask.locale))
    return commands


def _remembered(memory: Memory, told: dict[str, Any], now_s: float) -> Memory:
    memory = memory.of(told["pointer"])
    return memory.denying(told["denied"], now_s) if "denied" in told else memory


def _think_of(memory: Memory, ask: Ask, triggers: tuple[str, ...]) -> _Think:
    wanted = wanted_of(parse_pointer(memory.pointer)[0], ask.user, triggers)
    keys = entry_keys(wanted)
    return _Think(wanted, keys, memory.entries.known(keys, ask.now_s))


def _triggers(ask: Ask, found: _Found) -> tuple[str, ...]:
    if ask.triggers is not None:
        return ask.triggers
    return latest_triggers(found.lists.newest.latest) if found.lists.newest else ()


def _keep(memory: Memory, think: _Think, keys: Sequence[bytes], replies: Sequence[Any], ask: Ask) -> None:
    for key, reply in zip(keys, replies, strict=True):
        think.known[key] = memory.entries.keep(key, reply, ask.now_s)


def _found(told: dict[str, Any]) -> _Found:
    _, bad_pointer = parse_pointer(told["pointer"])
    own, bad_own = parse_popular(told.get("own_popular"))
    everybody, bad_popular = parse_popular(told["popular"])
    return _Found(OwnLists(told["lists"]), own or everybody, bad_pointer + bad_own + bad_popular)
