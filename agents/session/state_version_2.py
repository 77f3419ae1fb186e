"""Session states of version 2: read, never written.

The same parts in another order, and the window as records one after the other, with ages instead of times.
"""

from __future__ import annotations

import struct
from typing import Final

from agents.session.window import Window
from streams.hint_request import Behaviour

STATE_VERSION_2: Final = 2

_HEAD: Final = struct.Struct("<xBHq58xBB2x")  # flags, D, newest time, offsets, behaviours
_BEHAVIOUR: Final = struct.Struct("<BIB6sB")  # action, age (40 bits as 32 + 8), event id, bytes of the text
_LISTED: Final = 2
_OFFSET_BYTES: Final = 10


def as_version_3(data: bytes) -> bytes:
    """The same state in the layout of version 3. Raises struct.error, ValueError, IndexError."""
    flags, dim, newest_ms, offsets, behaviours = _HEAD.unpack_from(data)
    application, place = _text(data, _HEAD.size)
    locale, start = _text(data, place)
    place = start + (10 if flags & _LISTED else 8) * dim + offsets * _OFFSET_BYTES
    arrays = data[start:place]
    window, place = _window(data, place, behaviours, newest_ms)
    if place > len(data):
        raise ValueError(f"{place - len(data)} bytes are missing")
    lengths = bytes((len(application), len(locale)))
    head = b"\x03" + data[1 : _HEAD.size] + lengths
    return b"".join((head, arrays, application, locale, window.pack(), data[place:]))


def _text(data: bytes, place: int) -> tuple[bytes, int]:
    end = place + 1 + data[place]
    return data[place + 1 : end], end


def _window(data: bytes, place: int, count: int, newest_ms: int) -> tuple[Window, int]:
    behaviours, event_ids = [], []
    for _ in range(count):
        action, age_low, age_high, event_id, length = _BEHAVIOUR.unpack_from(data, place)
        place += _BEHAVIOUR.size
        if not 1 <= action <= 5:
            raise ValueError(f"there is no action {action}")
        at_ms = max(0, newest_ms - (age_high << 32 | age_low))
        behaviours.append(Behaviour(action, at_ms, data[place : place + length].decode()))
        event_ids.append(event_id)
        place += length
    return Window.of(behaviours, event_ids), place
