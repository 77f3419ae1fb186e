"""A known stream: real purchases and searches, and among them what goes wrong in a shop's data.

Every record carries what it is in the header `ledger`, so that the ledger can hold what became of it against
what it was meant to be: `good`, `copy` (sent before), `late` (older than what was sent before it), or
``bad:`` and the reason for which it must be set aside; `right` (a deletion or a withdrawal, and what comes
after it of the same person).
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import orjson

from streams.records import MAX_EVENT_BYTES
from tests.support import event_json
from training.datasets.events import demo_purchases, events_of

DAY_MS = 86_400_000
HEADER = "ledger"
GOOD, COPY, LATE, RIGHT, BAD = "good", "copy", "late", "right", "bad:"


@dataclass(frozen=True, slots=True)
class Known:
    """One record as it is sent, and what it is."""

    key: bytes
    value: bytes
    what: str = GOOD

    @property
    def headers(self) -> list[tuple[str, bytes]]:
        return [(HEADER, self.what.encode())]


@lru_cache(maxsize=4)
def real_events(purchases: int = 3000, seed: int = 3) -> tuple[dict[str, Any], ...]:
    """About a day of real purchases of some hundred households, and the simulated searches between them."""
    return tuple(events_of(demo_purchases(purchases_min=purchases, households_min=1), seed=seed))


def known(events: Iterable[dict[str, Any]]) -> list[Known]:
    """Good records of these events, in their order."""
    return [Known(event["user_id"].encode(), orjson.dumps(event)) for event in events]


def with_poison(records: Iterable[Known], share: float, seed: int = 1) -> Iterator[Known]:
    """Records that cannot be used, one of each kind in turn, before a `share` of the others."""
    chance, number = random.Random(seed), 0
    for record in records:
        if chance.random() < share:
            reason, make = POISON[number % len(POISON)]
            yield Known(b"poison-%d" % number, make(b"poison-%d" % number), BAD + reason)
            number += 1
        yield record


def with_copies(records: Iterable[Known], share: float, seed: int = 2) -> Iterator[Known]:
    """A `share` of the records a second time, up to 200 records later: a producer that sent again."""
    chance, waiting = random.Random(seed), list[tuple[int, Known]]()
    for place, record in enumerate(records):
        yield record
        if record.what == GOOD and chance.random() < share:
            waiting.append((place + chance.randrange(200), replace(record, what=COPY)))
        yield from (copy for due, copy in waiting if due <= place)
        waiting = [(due, copy) for due, copy in waiting if due > place]
    yield from (copy for _, copy in waiting)


def with_late(records: Iterable[Known], share: float, seed: int = 4) -> Iterator[Known]:
    """A `share` of the records arrives up to five days after its event time: phones that were offline."""
    chance = random.Random(seed)
    for record in records:
        if record.what == GOOD and chance.random() < share:
            event = orjson.loads(record.value)
            event["timestamp"] -= chance.randrange(DAY_MS // 24, 5 * DAY_MS)
            yield Known(record.key, orjson.dumps(event), LATE)
        else:
            yield record


def with_other_clocks(records: Iterable[Known], share: float, seed: int = 5) -> Iterator[Known]:
    """A `share` of the users has two devices: the clock of the second is wrong by up to three hours."""
    chance, wrong_ms = random.Random(seed), dict[bytes, int]()
    for record in records:
        if record.key not in wrong_ms:
            hours_3 = DAY_MS // 8
            wrong_ms[record.key] = chance.randrange(-hours_3, hours_3) if chance.random() < share else 0
        if record.what == GOOD and wrong_ms[record.key] and chance.random() < 0.5:
            event = orjson.loads(record.value)
            event["timestamp"] += wrong_ms[record.key]
            yield Known(record.key, orjson.dumps(event), LATE)
        else:
            yield record


def by_one_user(events: Iterable[dict[str, Any]], user: str, share: float, seed: int = 6) -> list[Known]:
    """The same events, a `share` of them done by one user."""
    chance = random.Random(seed)
    return known(event | {"user_id": user} if chance.random() < share else event for event in events)


def _event(**fields: Any) -> Callable[[bytes], bytes]:
    def make(key: bytes) -> bytes:
        event = event_json(user=key.decode(), event_id=key.decode()) | fields
        return orjson.dumps({name: value for name, value in event.items() if value is not None})

    return make


def _from_the_future(key: bytes) -> bytes:
    return _event(timestamp=time.time_ns() // 1_000_000 + DAY_MS)(key)


POISON: tuple[tuple[str, Callable[[bytes], bytes]], ...] = (
    ("not_json", lambda _: b'{"action_name": "purch'),
    ("empty", lambda _: b""),
    ("bad_event", lambda _: b"[1, 2, 3]"),
    ("bad_timestamp", _event(timestamp="yesterday")),
    ("bad_action_name", _event(action_name=None)),
    ("no_person", _event(user_id=None)),
    ("timestamp_too_old", _event(timestamp=1_512_129_600)),
    ("timestamp_in_future", _from_the_future),
    ("search_without_query", _event(action_name="search")),
    ("wrong_key", _event(user_id="somebody else")),
    ("too_large", _event(locale=None, padding="x" * (MAX_EVENT_BYTES + 1))),
    ("not_json", lambda _: b"\x00\xff\xfe\x80" * 16),
)
