"""However events are cut into batches, users end with the states, lists and counts of one at a time."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson
import pytest

from agents.session.rules import Rules
from agents.session.state import SessionState, decode_state, encode_state
from agents.session.step import apply_event
from agents.session.turn import Turn, is_plain
from streams.hint_request import decode_request, encode_request
from streams.received import Received
from streams.records import BehaviorEvent, Source, decode_event
from tests.support import LATER_MS, NOON_MS, DigestEncoder, event_json

RULES = Rules(DigestEncoder(), "bundle-1")
ACTIONS = ("view", "click", "search", "add_to_cart", "purchase", "hint_click", "juggle")
USERS = 7


def records(seed: int, count: int = 600) -> list[Received]:
    """A few users' events in one partition: late ones, copies, withdrawn and given consent, deletions."""
    chance = random.Random(seed)
    found: list[Received] = []
    at_ms = NOON_MS
    for offset in range(count):
        at_ms += chance.randrange(20_000)
        source = Source("t", 0, offset, LATER_MS)
        if found and chance.random() < 0.1:
            copied = chance.choice(found)
            found.append(Received(source, copied.key, copied.value, {}))
            continue
        user = f"u{chance.randrange(USERS)}"
        fields: dict[str, Any] = {"event_id": f"e{offset}", "user": user}
        fields["at_ms"] = at_ms - chance.choice([0, 0, 0, 0, 100_000, 90_000_000])
        if chance.random() < 0.03:
            fields["consent"] = chance.random() < 0.5
        action = "user_delete" if chance.random() < 0.005 else chance.choice(ACTIONS)
        event = event_json(action=action, text=f"q{chance.randrange(40)}", **fields)
        found.append(Received(source, user.encode(), orjson.dumps(event), {}))
    return found


def event_of(record: Received) -> BehaviorEvent:
    return decode_event(record.value, {}, record.source, LATER_MS)


@dataclass
class Kept:
    """States as bytes, and all that was asked for."""

    states: dict[bytes, bytes] = field(default_factory=dict)
    requests: list[bytes] = field(default_factory=list)
    outcomes: Counter[str] = field(default_factory=Counter)
    written: int = 0
    superseded: int = 0

    def state(self, key: bytes) -> SessionState | None:
        data = self.states.get(key)
        return decode_state(data) if data else None

    def write(self, turn: Turn) -> None:
        for key, change in turn.taken().items():
            if change.decided is not None:
                self.requests.append(encode_request(change.decided.request()))
            self.states[key] = encode_state(change.state)
            self.written += 1


def newest(requests: Sequence[bytes]) -> dict[str, bytes]:
    """What stays of each user's requests, whatever the order between users."""
    asked = [(decode_request(data), data) for data in requests]
    return {one.user: data for one, data in sorted(asked, key=lambda pair: pair[0].version)}


def one_at_a_time(records: Sequence[Received]) -> Kept:
    kept = Kept()
    for record in records:
        assert record.key is not None
        step = apply_event(kept.state(record.key), event_of(record), record.source, RULES)
        kept.outcomes[step.outcome] += 1
        if step.state is not None:
            kept.states[record.key] = encode_state(step.state)
            kept.written += 1
        kept.requests += [encode_request(request) for request in step.requests]
    return kept


def in_batches(records: Sequence[Received], size: Callable[[], int], kept: Kept | None = None) -> Kept:
    """As the agent does it: what takes something away for good is written at once, after what came before."""
    kept, place = kept or Kept(), 0
    while place < len(records):
        turn, end = Turn(lambda key, _partition: kept.state(key)), place + size()
        for record in records[place:end]:
            assert record.key is not None
            step = turn.apply(record, record.key, event_of(record), RULES)
            if not is_plain(step):
                kept.write(turn)
                if step.state is not None:
                    kept.states[record.key] = encode_state(step.state)
                kept.requests += [encode_request(request) for request in step.requests]
        kept.write(turn)
        kept.outcomes.update(turn.tally.outcomes)
        kept.superseded += turn.tally.superseded
        place = end
    return kept


@pytest.mark.parametrize("seed", range(6))
def test_batches_of_any_size_end_where_single_events_end(seed: int) -> None:
    stream = records(seed)
    chance = random.Random(seed)
    single = one_at_a_time(stream)
    batched = in_batches(stream, lambda: chance.randrange(1, 90))
    assert batched.states == single.states
    assert newest(batched.requests) == newest(single.requests)
    assert set(batched.requests) < set(single.requests)
    assert len(batched.requests) + batched.superseded == len(single.requests)
    assert batched.outcomes == single.outcomes
    assert {"applied", "duplicate", "withdrawn", "deleted"} <= set(single.outcomes)
    assert batched.written < single.written / 2


def test_batches_read_again_after_a_crash_end_the_same() -> None:
    stream = records(3)
    kept = in_batches(stream[:300], lambda: 50)
    # What was written but not acknowledged comes again, cut in other places.
    in_batches(stream[200:], lambda: 70, kept)
    assert kept.states == one_at_a_time(stream).states
    assert kept.outcomes["replayed"] > 0
