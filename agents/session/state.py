"""What is kept per user, and its one compact binary form in the Faust table and its changelog.

About 1.5 KB at 32 behaviours and D = 64 (of which 512 bytes are the two sums), at most about 2 KB, and 12
bytes for each text of habit, at most 96 of them.
Layout: a fixed head, application and locale, the sums (2·D float32), the listed interests (2·D int8),
offsets, behaviours, bounds where there are any, habit.
Little-endian. A first byte of another value is another version: refused, never guessed.
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from agents.session.bounds import NO_BOUNDS, Bounds, pack_bounds, unpack_bounds
from agents.session.habit import NO_HABIT
from agents.session.interest import ACTION_CODES, Interest
from agents.session.refresh import REASON_CODES, Reason
from streams.errors import CodecError
from streams.hint_request import HABIT_ENTRY, Behaviour, HabitEntries, Int8, Version
from streams.limits import LAST_MS

STATE_VERSION: Final = 2
EVENT_ID_BYTES: Final = 6  # 2^-48: one false duplicate in about 10^13 events
MARK_BYTES: Final = 8
DAY_MS: Final = 86_400_000
MINUTE_MS: Final = 60_000
OLDEST_MS: Final = 2**40 - 1  # 35 years: a behaviour that is older has this age
LARGEST_SUM: Final = 1e12  # no sum of weighted unit vectors comes near it

_HEAD = struct.Struct("<BBH q qqBf qB IHIH 8s8s BBH")
_OFFSET = struct.Struct("<Hq")
_BEHAVIOUR = struct.Struct("<BIB6sB")  # action, age (40 bits as 32 + 8), event id, bytes of the text


@dataclass(frozen=True, slots=True)
class Listed:
    """The newest list that was asked for: its version, why, and the interests it was made from."""

    version: Version
    reason: Reason
    drift: float
    interests: Int8  # (2, D)
    bundle: bytes


@dataclass(frozen=True, slots=True)
class Owed:
    """A refresh that a cooldown holds back until `due_ms` (event time). 0: nothing is owed."""

    due_ms: int = 0
    reason: Reason = Reason.STEADY


@dataclass(frozen=True, slots=True)
class Counts:
    """Event-time tallies for budget and bot rules: number of the day or minute, and its count."""

    day: int = 0
    lists: int = 0
    minute: int = 0
    events: int = 0

    def with_event(self, at_ms: int) -> Counts:
        """One more event at `at_ms`; an older minute's event is not counted."""
        minute = at_ms // MINUTE_MS
        if minute < self.minute:
            return self
        events = self.events + 1 if minute == self.minute else 1
        return Counts(self.day, self.lists, minute, min(events, 65_535))

    def with_list(self, at_ms: int) -> Counts:
        """One more list at `at_ms`."""
        day = at_ms // DAY_MS
        lists = self.lists + 1 if day == self.day else 1
        return Counts(day, min(lists, 65_535), self.minute, self.events)

    def lists_on(self, at_ms: int) -> int:
        """Lists so far on the day of `at_ms`."""
        return self.lists if at_ms // DAY_MS == self.day else 0


@dataclass(frozen=True, slots=True)
class SessionState:
    """All that one user's next decision and next list depend on.

    encoder: mark of the text encoder that the sums were made with. offsets: last offset applied per
    source partition, so that a replay changes nothing. event_ids: digests, aligned with `window`. habit:
    what has left the window. bounds: what may not be used.
    application, locale: of the newest event that named them.
    """

    encoder: bytes
    interest: Interest
    window: tuple[Behaviour, ...] = ()
    listed: Listed | None = None
    owed: Owed = Owed()
    counts: Counts = Counts()
    consent: bool = True
    offsets: dict[int, int] = field(default_factory=dict)
    event_ids: tuple[bytes, ...] = ()
    application: str = ""
    locale: str = ""
    habit: HabitEntries = field(default_factory=lambda: NO_HABIT)
    bounds: Bounds = NO_BOUNDS

    @property
    def due_ms(self) -> int:
        """When something is due without another event: an owed refresh, or the state's end. 0: nothing."""
        return self.owed.due_ms or self.bounds.ends_ms


def event_digest(event_id: str) -> bytes:
    """The few bytes of an event id that a state keeps."""
    return hashlib.blake2b(event_id.encode("utf-8", "replace"), digest_size=EVENT_ID_BYTES).digest()


def mark(name: str) -> bytes:
    """A bundle's or encoder's name as the 8 bytes that a state keeps."""
    return hashlib.blake2b(name.encode(), digest_size=MARK_BYTES).digest()


def encode_state(state: SessionState) -> bytes:
    """State to bytes; `decode_state` is its inverse."""
    dim = state.interest.sums.shape[1]
    listed = state.listed
    head = _HEAD.pack(
        STATE_VERSION,
        state.consent | (listed is not None) << 1 | (state.bounds != NO_BOUNDS) << 2,
        dim,
        state.interest.at_ms,
        listed.version.as_of_ms if listed else 0,
        listed.version.offset if listed else 0,
        REASON_CODES.index(listed.reason) if listed else 0,
        listed.drift if listed else 0.0,
        state.owed.due_ms,
        REASON_CODES.index(state.owed.reason),
        state.counts.day,
        state.counts.lists,
        state.counts.minute,
        state.counts.events,
        state.encoder,
        listed.bundle if listed else b"",
        len(state.offsets),
        len(state.window),
        len(state.habit),
    )
    parts = [
        head,
        _pack_text(state.application),
        _pack_text(state.locale),
        state.interest.sums.astype("<f4").tobytes(),
    ]
    parts.append(listed.interests.tobytes() if listed else b"")
    parts += [_OFFSET.pack(partition, offset) for partition, offset in state.offsets.items()]
    parts += [
        _pack_behaviour(behaviour, event_id, state.interest.at_ms)
        for behaviour, event_id in zip(state.window, state.event_ids, strict=True)
    ]
    if state.bounds != NO_BOUNDS:
        parts.append(pack_bounds(state.bounds))
    return b"".join((*parts, state.habit.tobytes()))


def _pack_text(text: str) -> bytes:
    raw = text.encode("utf-8", "replace")
    if len(raw) > 255:  # cut between two characters, or the text that is read back is another one
        raw = raw[:255].decode("utf-8", "ignore").encode()
    return bytes((len(raw),)) + raw


def _pack_behaviour(behaviour: Behaviour, event_id: bytes, newest_ms: int) -> bytes:
    age_ms = min(newest_ms - behaviour.at_ms, OLDEST_MS)
    text = behaviour.text.encode("utf-8", "replace")
    head = _BEHAVIOUR.pack(behaviour.action, age_ms & 0xFFFFFFFF, age_ms >> 32, event_id, len(text))
    return head + text


def decode_state(data: bytes) -> SessionState:
    """Bytes to state. Raises CodecError for anything that `encode_state` did not write."""
    try:
        return _decode(data)
    except (struct.error, ValueError, IndexError, UnicodeDecodeError) as error:
        raise CodecError(
            f"Not a session state of version {STATE_VERSION}: {error}.",
            action="The user starts anew; give the application a new name to rebuild all states.",
        ) from error


def _decode(data: bytes) -> SessionState:
    (
        version, flags, dim, at_ms, as_of_ms, offset, reason, drift, due_ms, owed_reason,
        day, lists, minute, events, encoder, bundle, offset_count, window_count, habit_count,
    ) = _HEAD.unpack_from(data)  # fmt: skip
    if version != STATE_VERSION:
        raise ValueError(f"its version is {version}")
    application, place = _unpack_text(data, _HEAD.size)
    locale, place = _unpack_text(data, place)
    sums = np.frombuffer(data, "<f4", 2 * dim, place).reshape(2, dim)
    place += 8 * dim
    listed = None
    if flags & 2:
        interests = np.frombuffer(data, np.int8, 2 * dim, place).reshape(2, dim)
        place += 2 * dim
        listed = Listed(Version(as_of_ms, offset), REASON_CODES[reason], drift, interests, bundle)
    offsets = dict(_OFFSET.unpack_from(data, place + i * _OFFSET.size) for i in range(offset_count))
    place += offset_count * _OFFSET.size
    window, event_ids, place = _unpack_window(data, place, window_count, at_ms)
    bounds = NO_BOUNDS
    if flags & 4:
        bounds, place = unpack_bounds(data, place)
    habit = np.frombuffer(data, HABIT_ENTRY, habit_count, place)
    place += habit.nbytes
    if place != len(data):
        raise ValueError(f"{len(data) - place} bytes too many")
    # A state that can be read but not be written again would make a dead letter of every later event.
    if (
        not np.abs(sums).max(initial=0.0) < LARGEST_SUM or not -0.01 <= drift <= 2.01
    ):  # older states have rounding in it
        raise ValueError("a sum or the drift is no such number")
    if not 0 <= min(at_ms, as_of_ms, due_ms) <= max(at_ms, as_of_ms, due_ms) <= LAST_MS:
        raise ValueError("a time is no such time")
    return SessionState(
        encoder=encoder,
        interest=Interest(sums, at_ms),
        window=window,
        listed=listed,
        owed=Owed(due_ms, REASON_CODES[owed_reason]),
        counts=Counts(day, lists, minute, events),
        consent=bool(flags & 1),
        offsets=offsets,
        event_ids=event_ids,
        application=application,
        locale=locale,
        habit=habit,
        bounds=bounds,
    )


def _unpack_text(data: bytes, place: int) -> tuple[str, int]:
    end = place + 1 + data[place]
    return data[place + 1 : end].decode("utf-8", "ignore"), end


def _unpack_window(
    data: bytes, place: int, count: int, newest_ms: int
) -> tuple[tuple[Behaviour, ...], tuple[bytes, ...], int]:
    window, event_ids = [], []
    for _ in range(count):
        action, age_low, age_high, event_id, length = _BEHAVIOUR.unpack_from(data, place)
        place += _BEHAVIOUR.size
        if not 1 <= action <= len(ACTION_CODES):
            raise ValueError(f"there is no action {action}")
        text = data[place : place + length].decode()
        place += length
        window.append(Behaviour(action, newest_ms - (age_high << 32 | age_low), text))
        event_ids.append(event_id)
    return tuple(window), tuple(event_ids), place
