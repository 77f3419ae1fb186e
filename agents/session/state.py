"""What is kept per user, and its one compact binary form in the Faust table and its changelog.

About 1.2 KB at 32 behaviours and D = 64 (of which 256 bytes are the two sums), at most about 1.7 KB, and 8
bytes for each text of habit, at most 96 of them.
Layout: a fixed head, the sums' steps (2·D int16, aligned), the visit's interest of the newest list (D int8),
offsets, application and locale, the window's columns, bounds where there are any, habit. Times are absolute,
so what an event does not change is copied as it stands.
Little-endian, but for the window's keys and habit. A first byte of another value is another version, and
refused, never guessed.
"""

from __future__ import annotations

import hashlib
import struct
from functools import lru_cache
from typing import Final, NamedTuple

import numpy as np

from agents.session.bounds import NO_BOUNDS, Bounds, pack_bounds, unpack_bounds
from agents.session.habit import NO_HABIT
from agents.session.interest import FULL, VISIT, Interest
from agents.session.refresh import REASON_CODES
from agents.session.state_parts import NOT_OWED, Counts, Listed, Owed
from agents.session.window import EVENT_ID_BYTES, Window
from streams.errors import CodecError
from streams.hint_request import HABIT_BYTES, Version
from streams.limits import LAST_MS

STATE_VERSION: Final = 4
MARK_BYTES: Final = 8

_LISTED: Final = 2
_BOUNDED: Final = 4
_STEP: Final = np.dtype("<i2")
_COARSEST: Final = 1e12  # no person's sums come near it
_HEAD: Final = struct.Struct("<BBH q qqBf qB IHIH 8s8s BBH BB ddHH")
_DUE: Final = struct.Struct("<xBHq21xq29xB")  # of the head: flags, D, newest time, due time, offsets
_OFFSET: Final = struct.Struct("<Hq")


class SessionState(NamedTuple):
    """All that one user's next decision and next list depend on. A tuple, since one is made for every event.

    encoder: mark of the text encoder that the sums were made with. offsets: last offset applied per
    source partition, so that a replay changes nothing. habit: what has left the window. bounds: what may not
    be used. application, locale: of the newest event that named them.
    """

    encoder: bytes
    interest: Interest
    window: Window = Window()
    listed: Listed | None = None
    owed: Owed = NOT_OWED
    counts: Counts = Counts()
    consent: bool = True
    offsets: dict[int, int] = {}  # noqa: RUF012 - never changed in place
    application: str = ""
    locale: str = ""
    habit: bytes = NO_HABIT
    bounds: Bounds = NO_BOUNDS

    @property
    def due_ms(self) -> int:
        """When something is due without another event: an owed refresh, or the state's end. 0: nothing."""
        return self.owed.due_ms or self.bounds.ends_ms

    def moved(self) -> float:
        """Drift from the newest list's interest, 0 to 2; 1 without a list."""
        return self.listed.moved(self.interest.unit_of(VISIT)) if self.listed else 1.0


class Due(NamedTuple):
    """What a worker that starts needs of a state. newest_ms: event time of the newest behaviour."""

    due_ms: int
    is_end: bool
    newest_ms: int
    partitions: tuple[int, ...]


def event_digest(event_id: str) -> bytes:
    """The few bytes of an event id that a state keeps."""
    return hashlib.blake2b(event_id.encode("utf-8", "replace"), digest_size=EVENT_ID_BYTES).digest()


@lru_cache(maxsize=64)
def mark(name: str) -> bytes:
    """A bundle's or encoder's name as the 8 bytes that a state keeps."""
    return hashlib.blake2b(name.encode(), digest_size=MARK_BYTES).digest()


def encode_state(state: SessionState) -> bytes:
    """State to bytes; `decode_state` is its inverse."""
    listed, counts = state.listed, state.counts
    bounded = state.bounds != NO_BOUNDS
    application, locale = _short(state.application), _short(state.locale)
    version = listed.version if listed else Version(0, 0)
    head = _HEAD.pack(
        STATE_VERSION,
        state.consent | (_LISTED if listed else 0) | (_BOUNDED if bounded else 0),
        state.interest.dim,
        state.interest.at_ms,
        version.as_of_ms,
        version.offset,
        REASON_CODES.index(listed.reason) if listed else 0,
        listed.drift if listed else 0.0,
        state.owed.due_ms,
        REASON_CODES.index(state.owed.reason),
        *counts,
        state.encoder,
        listed.bundle if listed else b"",
        len(state.offsets),
        len(state.window),
        len(state.habit) // HABIT_BYTES,
        len(application),
        len(locale),
        *state.interest.scales,
        *state.interest.bounds,
    )
    return b"".join(
        (
            head,
            state.interest.steps.astype(_STEP, copy=False).tobytes(),
            listed.visit if listed else b"",
            *[_OFFSET.pack(partition, offset) for partition, offset in state.offsets.items()],
            application,
            locale,
            state.window.pack(),
            pack_bounds(state.bounds) if bounded else b"",
            state.habit,
        )
    )


def _short(text: str) -> bytes:
    raw = text.encode("utf-8", "replace")
    if len(raw) > 255:  # cut between two characters, or the text that is read back is another one
        raw = raw[:255].decode("utf-8", "ignore").encode()
    return raw


def decode_state(data: bytes) -> SessionState:
    """Bytes to state. Raises CodecError for anything that `encode_state` did not write."""
    try:
        return _decode(data)
    except (struct.error, ValueError, IndexError) as error:
        raise _refused(error) from error


def _refused(error: Exception) -> CodecError:
    return CodecError(
        f"Not a session state of version {STATE_VERSION}: {error}.",
        action="The user starts anew; give the application a new name to rebuild all states.",
    )


def _decode(data: bytes) -> SessionState:
    (
        version, flags, dim, at_ms, as_of_ms, offset, reason, moved, due_ms, owed_reason,
        day, lists, minute, events, encoder, bundle, offset_count, window_count, habit_count,
        application_bytes, locale_bytes, visit, shopper, visit_bound, shopper_bound,
    ) = _HEAD.unpack_from(data)  # fmt: skip
    if version != STATE_VERSION:
        raise ValueError(f"its version is {version}")
    place = _HEAD.size + 4 * dim
    steps = np.frombuffer(data, _STEP, 2 * dim, _HEAD.size).reshape(2, dim)
    listed = None
    if flags & _LISTED:
        listed_visit = data[place : place + dim]
        place += dim
        listed = Listed(Version(as_of_ms, offset), REASON_CODES[reason], moved, listed_visit, bundle)
    end = place + offset_count * _OFFSET.size
    offsets = dict(_OFFSET.iter_unpack(data[place:end]))
    place, end = end, end + application_bytes
    application = data[place:end].decode("utf-8", "ignore")
    place, end = end, end + locale_bytes
    locale = data[place:end].decode("utf-8", "ignore")
    window, place = Window.unpack(data, end, window_count)
    bounds = NO_BOUNDS
    if flags & _BOUNDED:
        bounds, place = unpack_bounds(data, place)
    habit = data[place : place + habit_count * HABIT_BYTES]
    place += habit_count * HABIT_BYTES
    if place != len(data):
        raise ValueError(f"{len(data) - place} bytes too many")
    # A state that can be read but not be written again would make a dead letter of every later event.
    if not (0 <= visit < _COARSEST and 0 <= shopper < _COARSEST and 0 <= moved <= 2):
        raise ValueError("a sum's scale or the drift is no such number")
    if max(visit_bound, shopper_bound) > FULL:
        raise ValueError("a sum's bound is no such number")
    if not (0 <= at_ms <= LAST_MS and 0 <= as_of_ms <= LAST_MS and 0 <= due_ms <= LAST_MS):
        raise ValueError("a time is no such time")
    return SessionState(
        encoder,
        Interest(steps, (visit, shopper), (visit_bound, shopper_bound), at_ms),
        window,
        listed,
        Owed(due_ms, REASON_CODES[owed_reason]),
        Counts(day, lists, minute, events),
        bool(flags & 1),
        offsets,
        application,
        locale,
        habit,
        bounds,
    )


def due_of(data: bytes) -> Due:
    """What is due for a stored state, in a fraction of the time of `decode_state`. Raises CodecError."""
    try:
        flags, dim, newest_ms, due_ms, count = _DUE.unpack_from(data)
        if data[0] != STATE_VERSION or flags & _BOUNDED:
            state = _decode(data)
            is_end = state.bounds.ends_ms > 0 and not state.owed.due_ms
            return Due(state.due_ms, is_end, state.interest.at_ms, tuple(state.offsets))
        if not (0 <= newest_ms <= LAST_MS and 0 <= due_ms <= LAST_MS):
            raise ValueError("a time is no such time")
        place = _HEAD.size + (5 if flags & _LISTED else 4) * dim
        offsets = _OFFSET.iter_unpack(data[place : place + count * _OFFSET.size])
        return Due(due_ms, False, newest_ms, tuple([partition for partition, _ in offsets]))
    except (struct.error, ValueError, IndexError) as error:
        raise _refused(error) from error
