"""What is taken at once and not yet written: events, dues, and what cannot be written."""

from __future__ import annotations

import orjson
import pytest

from agents.session.rules import Outcome, Rules
from agents.session.state import SessionState
from agents.session.step import apply_due, apply_event
from agents.session.turn import Changed, Turn, decoded_due
from streams.received import Received
from streams.records import BehaviorEvent, Source
from tests.support import NOON_MS, DigestEncoder, event_of

RULES = Rules(DigestEncoder(), "bundle-1")
KEY = b"u1"


def record(offset: int, value: bytes = b"{}", key: bytes | None = KEY) -> Received:
    return Received(Source("t", 0, offset), key, value, {})


def bought(seconds: int, text: str = "milk") -> BehaviorEvent:
    return event_of(at_ms=NOON_MS + 1000 * seconds, text=text, event_id=f"{text}-{seconds}")


def owing() -> SessionState:
    """A state whose second purchase waits for the cooldown's end."""
    state = None
    for offset, event in enumerate([bought(0), bought(5, "bread")]):
        state = apply_event(state, event, Source("t", 0, offset), RULES).state
    assert state is not None
    assert state.owed.due_ms
    return state


def turn_on(states: dict[bytes, SessionState]) -> Turn:
    return Turn(lambda key, _partition: states.get(key))


def test_a_due_leaves_the_state_and_the_list_that_it_alone_would_leave() -> None:
    state, turn = owing(), turn_on({KEY: owing()})
    step = turn.settle(record(0), KEY, "u1", state.owed.due_ms, RULES)
    alone = apply_due(state, "u1", state.owed.due_ms, RULES)
    change = turn.taken()[KEY]
    assert step.outcome is Outcome.APPLIED
    assert change.decided is not None
    assert change.decided.listed == alone.decided[0].listed
    assert change.decided.request().trigger == "bread"
    assert not change.is_new
    assert turn.tally.settled == {"purchase": 1}
    assert not turn.tally.outcomes  # no event came


def test_a_due_that_comes_twice_at_once_asks_once() -> None:
    state, turn = owing(), turn_on({KEY: owing()})
    for offset in range(2):
        turn.settle(record(offset), KEY, "u1", state.owed.due_ms, RULES)
    assert turn.tally.settled == {"purchase": 1}
    assert turn.tally.superseded == 0
    assert turn.taken()[KEY].decided is not None


def test_of_a_users_lists_the_newest_alone_is_asked_for_and_the_others_are_counted() -> None:
    turn = turn_on({})
    for offset in range(4):
        turn.apply(record(offset), KEY, bought(60 * offset, f"text {offset}"), RULES)
    change = turn.taken()[KEY]
    assert change.decided is not None
    assert change.decided.request().trigger == "text 3"
    assert turn.tally.superseded == 3
    assert change.is_new
    assert not turn.taken()


def test_who_cannot_be_written_is_bad_with_all_their_records_and_the_others_are_written() -> None:
    turn, written = turn_on({}), list[bytes]()
    for offset, user in enumerate(["u1", "u2", "u1"]):
        event = event_of(user=user, at_ms=NOON_MS + offset, text="milk", event_id=str(offset))
        turn.apply(record(offset, key=user.encode()), user.encode(), event, RULES)

    def write(key: bytes, _change: Changed) -> None:
        if key == b"u1":
            raise ValueError("no")
        written.append(key)

    done = turn.each(turn.taken(), write)
    assert (list(done), written) == ([b"u2"], [b"u2"])
    assert [(one.source.offset, str(error)) for one, error in turn.bad] == [(0, "no"), (2, "no")]


def test_a_due_is_read_from_its_record() -> None:
    assert decoded_due(record(0, orjson.dumps({"due_ms": 7}))) == (KEY, "u1", 7)


@pytest.mark.parametrize("value", [b"", b"{}", b"[]", b'{"due_ms": "x"}'])
def test_what_is_no_due_is_told(value: bytes) -> None:
    with pytest.raises((ValueError, KeyError, TypeError)):
        decoded_due(record(0, value))
