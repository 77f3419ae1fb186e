"""The last behaviours of a user, newest first, within a count and a byte budget.

The window depends only on the set of behaviours, never on the order of their arrival: behaviours are
ordered by (time, action, text) and the window is the longest newest-first run that fits.

It stays packed as a state stores it: an event looks for its id, puts a few bytes of its own in their place
and unpacks what leaves. All of it is unpacked for a hint request alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Final

from agents.session.rows import place_of_row
from streams.hint_request import Behaviour

WINDOW_LIMIT: Final = 32  # L
TEXT_LIMIT_BYTES: Final = 80
WINDOW_LIMIT_BYTES: Final = 1216
KEY_BYTES: Final = 6
EVENT_ID_BYTES: Final = 6  # 2^-48: one false duplicate in about 10^13 events
BEHAVIOUR_HEAD_BYTES: Final = KEY_BYTES + EVENT_ID_BYTES + 1
NO_EVENT_ID: Final = bytes(EVENT_ID_BYTES)

_ACTION_BITS: Final = 3
_ACTION_MASK: Final = 2**_ACTION_BITS - 1
_LATEST_MS: Final = 2 ** (8 * KEY_BYTES - _ACTION_BITS) - 1  # in the year 3084: what is later counts as then
_ACTIONS: Final = bytes(byte for byte in range(256) if 1 <= byte & _ACTION_MASK <= 5)


@dataclass(frozen=True, slots=True)
class Window:
    """Behaviours as columns of bytes, newest first.

    keys: time and action of each, big-endian, so that of two keys the later is the greater. event_ids:
    digests. lengths: bytes of each text. texts: UTF-8, without anything between them.
    """

    keys: bytes = b""
    event_ids: bytes = b""
    lengths: bytes = b""
    texts: bytes = b""

    @classmethod
    def of(cls, behaviours: Sequence[Behaviour], event_ids: Sequence[bytes]) -> Window:
        """Behaviours that are in order and fit, and the digests of their events' ids."""
        texts = [behaviour.text.encode("utf-8", "replace") for behaviour in behaviours]
        keys = b"".join(map(_key, behaviours))
        return cls(keys, b"".join(event_ids), bytes(map(len, texts)), b"".join(texts))

    def __len__(self) -> int:
        return len(self.lengths)

    def __iter__(self) -> Iterator[Behaviour]:
        return iter(self.behaviours())

    def behaviours(self, first: int = 0) -> tuple[Behaviour, ...]:
        """Unpacked, newest first, from the `first` on."""
        behaviours = []
        place, start = first * KEY_BYTES, sum(self.lengths[:first])
        for length in self.lengths[first:]:
            key = int.from_bytes(self.keys[place : place + KEY_BYTES], "big")
            text = self.texts[start : start + length].decode()
            behaviours.append(Behaviour(key & _ACTION_MASK, key >> _ACTION_BITS, text))
            place, start = place + KEY_BYTES, start + length
        return tuple(behaviours)

    def ids(self) -> tuple[bytes, ...]:
        """The digests of the events' ids, aligned with `behaviours`."""
        starts = range(0, len(self.event_ids), EVENT_ID_BYTES)
        return tuple(self.event_ids[start : start + EVENT_ID_BYTES] for start in starts)

    def holds(self, event_id: bytes) -> bool:
        """Whether the event of that digest is in it."""
        return place_of_row(self.event_ids, event_id, EVENT_ID_BYTES) >= 0

    def with_behaviour(
        self, behaviour: Behaviour, event_id: bytes = NO_EVENT_ID
    ) -> tuple[Window, tuple[Behaviour, ...]] | None:
        """The window with one more behaviour, and what leaves it for that, newest first.

        None: the behaviour is older than all of a full window.
        """
        text, key = behaviour.text.encode("utf-8", "replace"), _key(behaviour)
        place, stays = self._place_of(key, text), self._room_beside(len(text))
        if place > stays:
            return None
        left = self.behaviours(stays) if stays < len(self) else ()
        start, end = sum(self.lengths[:place]), len(self.texts) - sum(self.lengths[stays:])
        keys, ids, lengths, texts = self.keys, self.event_ids, self.lengths, self.texts
        longer = Window(
            keys[: place * KEY_BYTES] + key + keys[place * KEY_BYTES : stays * KEY_BYTES],
            ids[: place * EVENT_ID_BYTES] + event_id + ids[place * EVENT_ID_BYTES : stays * EVENT_ID_BYTES],
            lengths[:place] + bytes((len(text),)) + lengths[place:stays],
            texts[:start] + text + texts[start:end],
        )
        return longer, left

    def _place_of(self, key: bytes, text: bytes) -> int:
        """Behind how many the behaviour belongs."""
        place = start = 0
        while (other := self.keys[place * KEY_BYTES :][:KEY_BYTES]) >= key:
            end = start + self.lengths[place]
            if other == key and self.texts[start:end] >= text:
                break
            place, start = place + 1, end
        return place

    def _room_beside(self, length: int) -> int:
        """How many of the newest fit together with one more, whose text has `length` bytes."""
        stays = len(self)
        used_bytes = BEHAVIOUR_HEAD_BYTES * (stays + 1) + len(self.texts) + length
        while stays >= WINDOW_LIMIT or used_bytes > WINDOW_LIMIT_BYTES:
            stays -= 1
            used_bytes -= BEHAVIOUR_HEAD_BYTES + self.lengths[stays]
        return stays

    def pack(self) -> bytes:
        """To bytes; `unpack` is its inverse."""
        return self.keys + self.event_ids + self.lengths + self.texts

    @classmethod
    def unpack(cls, data: bytes, place: int, count: int) -> tuple[Window, int]:
        """The `count` behaviours that stand at `place`, and where they end, which may be behind the data.

        Raises ValueError for what could not be unpacked later.
        """
        ids = place + count * KEY_BYTES
        lengths = ids + count * EVENT_ID_BYTES
        texts = lengths + count
        end = texts + sum(data[lengths:texts])
        window = cls(data[place:ids], data[ids:lengths], data[lengths:texts], data[texts:end])
        if window.keys[KEY_BYTES - 1 :: KEY_BYTES].translate(None, _ACTIONS):
            raise ValueError("there is no such action")
        if end <= len(data) and not window.texts.isascii():
            for start, after in pairwise(accumulate(window.lengths, initial=0)):
                window.texts[start:after].decode()
        return window, end


def clip_text(text: str) -> str:
    """`text` cut to the window's limit at a character boundary."""
    raw = text.encode("utf-8", "replace")
    return raw[:TEXT_LIMIT_BYTES].decode("utf-8", "ignore") if len(raw) > TEXT_LIMIT_BYTES else text


def _key(behaviour: Behaviour) -> bytes:
    moment = min(behaviour.at_ms, _LATEST_MS)
    return (moment << _ACTION_BITS | behaviour.action).to_bytes(KEY_BYTES, "big")
