"""The ledger: after something broke, what became of every event, and is it what an undisturbed run gives?

The truth is what stands in the topic of events, put through the live functions in this process, in the order
of each partition (`agents.offline_sessions`), without broker, Redis, crash or clock. Against it are held the
changelog (states, byte for byte), Redis (lists), and the dead letters (record for record, with the reason).
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from agents.hints.bundle import Bundle
from agents.hints.compose import compose
from agents.offline_sessions import OfflineSessions
from agents.serving import open_bundle, rules_of
from agents.session.state import SessionState, decode_state
from agents.session.turn import decoded
from streams.errors import EventError
from streams.hint_list import HintList
from streams.hint_request import decode_request
from streams.received import Received
from streams.records import BehaviorEvent
from streams.replay_order import ReplayRecord
from tests.faults.known_stream import BAD, COPY, GOOD, HEADER, LATE, RIGHT
from tests.shop import Shop

SCORE_TOLERANCE = 2e-3  # the last bits of a sum may differ with the size of the batch
# What may become of a record of each kind.
EXPECTED = {
    GOOD: {"applied", "too_late"},
    COPY: {"duplicate", "too_late"},
    LATE: {"applied", "too_late"},
    RIGHT: {"deleted", "withdrawn", "forgotten"},
}
Place = tuple[int, int]  # partition and offset


@dataclass(slots=True)
class Truth:
    """What an undisturbed run makes of the records: states, lists, outcome of each record, reasons."""

    states: dict[bytes, bytes] = field(default_factory=dict)
    lists: tuple[HintList, ...] = ()
    outcomes: dict[Place, str] = field(default_factory=dict)
    set_aside: dict[Place, str] = field(default_factory=dict)
    kinds: dict[Place, str] = field(default_factory=dict)


@dataclass(slots=True)
class Account:
    """The figures of a run whose books are in order."""

    events: int
    outcomes: Counter[str]
    users: int
    lists: int
    dead_letters: Counter[str]
    dead_letters_twice: int
    changelog_records: int

    def __str__(self) -> str:
        became = ", ".join(f"{count} {name}" for name, count in sorted(self.outcomes.items()))
        return (
            f"{self.events} events: {became}; {self.users} users, {self.lists} lists right, "
            f"{self.dead_letters_twice} dead letters twice, {self.changelog_records} changelog records, "
            "0 lost, 0 applied twice, 0 states stale"
        )


class Ledger:
    """Reads what a shop's run left behind and holds it against the truth."""

    def __init__(self, shop: Shop) -> None:
        self.shop = shop
        self._bundle: Bundle | None = None

    @property
    def bundle(self) -> Bundle:
        """The bundle that the shop's workers have."""
        if self._bundle is None:
            self._bundle = open_bundle(self.shop.settings)
        return self._bundle

    def truth(self) -> Truth:
        """The topic's records through the live functions, one after another."""
        shop, truth = self.shop, Truth()
        rules = rules_of(shop.settings, self.bundle.encoder, self.bundle.name)
        sessions = OfflineSessions(rules, shop.topics.events, shop.settings.partitions, None)
        for record in in_order(shop.records(shop.topics.events)):
            place = (record.partition, record.offset)
            truth.kinds[place] = dict(record.headers or ()).get(HEADER, GOOD.encode()).decode()
            ready = as_agent_reads(record)
            if ready.error is not None:
                truth.set_aside[place] = ready.error.reason
            before = sessions.outcomes.copy()
            sessions.apply(ready)
            (truth.outcomes[place],) = map(str, sessions.outcomes - before)
        sessions.settle_owed()
        truth.states, truth.lists = sessions.states, self._lists(sessions)
        return truth

    def _lists(self, sessions: OfflineSessions) -> tuple[HintList, ...]:
        requests = [decode_request(data) for _, (_, data) in sorted(sessions.requests.items())]
        step = self.shop.settings.batch_limit
        batches = (requests[first : first + step] for first in range(0, len(requests), step))
        return tuple(one.hints for batch in batches for one in compose(batch, self.bundle, generated_at_ms=0))

    def account(self, sent: int | None = None) -> Account:
        """Balance the books. Raises AssertionError that says what is lost, stale, or not as it should be.

        sent: records that the sender was told were taken; there may be no fewer in the topic.
        """
        truth = self.truth()
        assert sent is None or len(truth.outcomes) >= sent, "the broker lost what it acknowledged"
        assert_meant(truth)
        written = self.check_changelog(truth)
        self.check_lists(truth)
        return Account(
            events=len(truth.outcomes),
            outcomes=Counter(truth.outcomes.values()),
            users=len(truth.states),
            lists=len(truth.lists),
            dead_letters=Counter(truth.set_aside.values()),
            dead_letters_twice=self.check_dead_letters(truth),
            changelog_records=written,
        )

    def check_changelog(self, truth: Truth) -> int:
        """The newest record of each user is the true state, and none stands after a newer one."""
        newest: dict[bytes, bytes] = {}
        offsets: dict[bytes, dict[int, int]] = {}
        stale, records = [], in_order(self.shop.records(self.shop.topics.changelog))
        for record in records:
            state = decode_state(record.value)
            before = offsets.get(record.key, {})
            if any(state.offsets.get(partition, -1) < offset for partition, offset in before.items()):
                stale.append((record.partition, record.offset, before, state.offsets))
            offsets[record.key] = state.offsets
            newest[record.key] = record.value
        assert not stale, f"{len(stale)} stale states in the changelog, e.g. (place, newer, older) {stale[0]}"
        assert_same_states(newest, truth.states)
        return len(records)

    def check_lists(self, truth: Truth) -> None:
        """Each user's newest list in Redis is the true one."""
        assert_same_lists(self.shop, truth.lists)

    def check_dead_letters(self, truth: Truth) -> int:
        """Each bad record was set aside with its reason and its bytes; returns how many stand there twice."""
        found: Counter[tuple[Place, str]] = Counter()
        for record in self.shop.records(self.shop.topics.dead_letters):
            headers = dict(record.headers)
            if headers["__streams.errors.topic"].decode() != self.shop.topics.events:
                raise AssertionError(f"a dead letter of our own: {headers}")
            place = tuple(int(headers[f"__streams.errors.{name}"]) for name in ("partition", "offset"))
            found[(place[0], place[1]), headers["aigq.reason"].decode()] += 1
        wanted = set(truth.set_aside.items())
        assert not wanted - found.keys(), f"not set aside: {sorted(wanted - found.keys())[:5]}"
        assert not found.keys() - wanted, f"set aside for nothing: {sorted(found.keys() - wanted)[:5]}"
        return found.total() - len(found)


def in_order(records: list[Any]) -> list[Any]:
    """Kafka records by partition and offset."""
    return sorted(records, key=lambda record: (record.partition, record.offset))


def as_agent_reads(record: Any) -> ReplayRecord:
    """A record of the topic, decoded as the session agent does it."""
    event: BehaviorEvent | None = None
    error: EventError | None = None
    try:
        _, event = decoded(Received.of_record(record))
    except EventError as unusable:
        error = unusable
    return ReplayRecord(record.offset, 0, record.key, record.value, [], event, error)


def assert_meant(truth: Truth) -> None:
    """Every record became what it was sent as: bad ones their reason, copies no second application."""
    for place, kind in truth.kinds.items():
        if kind.startswith(BAD):
            assert truth.set_aside.get(place) == kind.removeprefix(BAD), (place, kind, truth.outcomes[place])
        else:
            assert truth.outcomes[place] in EXPECTED[kind], (place, kind, truth.outcomes[place])


def assert_same_states(got: dict[bytes, bytes], wanted: dict[bytes, bytes]) -> None:
    """The same users with the same bytes; else says which fields of how many users differ."""
    assert not wanted.keys() - got.keys(), f"without a state: {sorted(wanted.keys() - got.keys())[:5]}"
    assert not got.keys() - wanted.keys(), (
        f"with a state for nothing: {sorted(got.keys() - wanted.keys())[:5]}"
    )
    different = [key for key, data in wanted.items() if got[key] != data]
    if different:
        key = different[0]
        found = "; ".join(differences(decode_state(got[key]), decode_state(wanted[key])))
        raise AssertionError(f"{len(different)} of {len(wanted)} states differ, e.g. {key!r}: {found}")


def differences(got: SessionState, wanted: SessionState) -> list[str]:
    """Field by field, what is there and what should be."""
    return [
        f"{name}: {one}, should be {other}"
        for name, one, other in zip(SessionState._fields, got, wanted, strict=True)
        if not _equal(one, other)
    ] or ["only the bytes, not the fields"]


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, np.ndarray):
        return one.tobytes() == other.tobytes()
    if isinstance(one, tuple) and type(one) is type(other):
        return all(map(_equal, one, other))
    return bool(one == other)


def assert_same_lists(shop: Shop, expected: tuple[HintList, ...]) -> None:
    """Each user's newest list in Redis is the one expected, but for when it was made."""
    pairs = [(wanted, shop.newest(wanted.user)) for wanted in expected]
    different = [(wanted, got) for wanted, got in pairs if got is None or not same_list(got, wanted)]
    assert not different, f"{len(different)} of {len(expected)} lists differ, e.g. {different[0]}"


def same_list(got: HintList, wanted: HintList) -> bool:
    """Everything but `generated_at`, and the scores up to rounding."""
    kept = {"generated_at", "hints"}
    return (
        got.model_dump(exclude=kept) == wanted.model_dump(exclude=kept)
        and [(h.query, h.why, h.source) for h in got.hints]
        == [(h.query, h.why, h.source) for h in wanted.hints]
        and all(
            abs(a.score - b.score) < SCORE_TOLERANCE for a, b in zip(got.hints, wanted.hints, strict=True)
        )
    )
