"""The last behaviours of a user, newest first, within a count and a byte budget.

The window depends only on the set of behaviours, never on the order of their arrival: behaviours are
ordered by (time, action, text) and the window is the longest newest-first run that fits.
"""

from __future__ import annotations

import bisect
from typing import Final

from streams.hint_request import Behaviour

WINDOW_LIMIT: Final = 32  # L
TEXT_LIMIT_BYTES: Final = 80
WINDOW_LIMIT_BYTES: Final = 1216
BEHAVIOUR_HEAD_BYTES: Final = 13  # action, age, length of the text, event id; see state.py


def clip_text(text: str) -> str:
    """`text` cut to the window's limit at a character boundary."""
    raw = text.encode("utf-8", "replace")
    return raw[:TEXT_LIMIT_BYTES].decode("utf-8", "ignore") if len(raw) > TEXT_LIMIT_BYTES else text


def insert(window: tuple[Behaviour, ...], behaviour: Behaviour) -> tuple[Behaviour, ...]:
    """`window` with one more behaviour in its place, cut to the limits at the old end."""
    place = place_of(window, behaviour)
    return _fit((*window[:place], behaviour, *window[place:]))


def place_of(window: tuple[Behaviour, ...], behaviour: Behaviour) -> int:
    """Where in `window` the behaviour belongs; its length: older than all."""
    return bisect.bisect_left(window, _newest_first(behaviour), key=_newest_first)


def _newest_first(behaviour: Behaviour) -> tuple[int, int, str]:
    return (-behaviour.at_ms, -behaviour.action, behaviour.text)


def _fit(window: tuple[Behaviour, ...]) -> tuple[Behaviour, ...]:
    used_bytes = 0
    for count, behaviour in enumerate(window):
        used_bytes += BEHAVIOUR_HEAD_BYTES + len(behaviour.text.encode())
        if count == WINDOW_LIMIT or used_bytes > WINDOW_LIMIT_BYTES:
            return window[:count]
    return window
