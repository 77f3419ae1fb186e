"""Deletions and withdrawals while workers die: each is carried out once and for all, and has its receipt.

In `make test`: with one kill. With `make faults` twenty kills in one run, and anonymous histories, too.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterable
from typing import Any

import orjson
import pytest

from agents.erasure.deletion import find_receipts
from agents.erasure.receipt import is_genuine, subject_of
from agents.erasure.traces import DEAD_LETTERS, OUTCOMES, STATE, find_people, stores_of
from agents.session.state import decode_state
from tests.faults.case import Case
from tests.faults.known_stream import RIGHT, Known, known, real_events
from tests.shop import wait_until

pytestmark = pytest.mark.timeout(500)
ROLES = ("session", "hints", "erasure")
RATE = 120.0


def with_rights(
    events: tuple[dict[str, Any], ...], share: float, chance: random.Random
) -> tuple[list[Known], set[str], set[str]]:
    """The stream, in which a share of the users is deleted in the middle and one withdraws consent; and both.

    All records of theirs after that may become anything but applied.
    """
    users = sorted({event["user_id"] for event in events})
    chosen = chance.sample(users, int(len(users) * share))
    deleted, withdrawn = set(chosen[::2]), set(chosen[1::2])
    seen: dict[str, int] = {}
    done: set[str] = set()
    records: list[Known] = []
    for event in events:
        user = event["user_id"]
        seen[user] = seen.get(user, 0) + 1
        records += known([event]) if user not in done else _as_right([event])
        if user in deleted | withdrawn and user not in done and seen[user] == 2:
            done.add(user)
            last = {"user_id": user, "timestamp": event["timestamp"] + 1, "event_id": f"right-{user}"}
            how = (
                {"action_name": "user_delete"} if user in deleted else {"action_name": "x", "consent": False}
            )
            records += _as_right([last | how])
    return records, deleted & done, withdrawn & done


def _as_right(events: Iterable[dict[str, Any]]) -> list[Known]:
    return [Known(event["user_id"].encode(), orjson.dumps(event), RIGHT) for event in events]


def kill_some(case: Case, kills: int) -> None:
    """One of two workers is killed and started again, so many times while the stream flows."""
    for number in range(kills):
        case.wait_until_sent((number + 1) / (kills + 1))
        time.sleep(case.chance.random())
        victim = case.chance.choice(case.shop.workers)
        victim.kill()
        victim.start()


def assert_forgotten(case: Case, deleted: set[str], withdrawn: set[str]) -> None:
    """By inspection of every store, and by the receipts."""
    wait_until(lambda: deleted_subjects(case) >= {subject_of(one) for one in deleted}, "the receipts", 120)
    found = find_people(case.shop.settings, deleted | withdrawn, stores_of(case.shop.settings))
    for person in deleted | withdrawn:
        state = decode_state(found[person].of(STATE)[-1].value or b"")
        assert (len(state.window), len(state.habit), state.consent) == (0, 0, False)
        assert [one.hints for one in case.shop.reader.lists(person)] == [()]
    for person in deleted:
        assert (found[person].of(DEAD_LETTERS), found[person].of(OUTCOMES)) == ([], [])
    for receipt in find_receipts(case.shop.settings):
        assert is_genuine(receipt) and receipt.is_complete


def deleted_subjects(case: Case) -> set[str]:
    return {receipt.subject for receipt in find_receipts(case.shop.settings)}


def through_kills(case: Case, purchases: int, kills: int) -> None:
    records, deleted, withdrawn = with_rights(real_events(purchases), 0.3, case.chance)
    assert len(deleted) > 10 and len(withdrawn) > 10
    for _ in range(2):
        case.shop.worker(*ROLES)
    case.feed(records, RATE)
    kill_some(case, kills)
    account = case.balance()
    assert account.outcomes["deleted"] >= len(deleted)
    assert_forgotten(case, deleted, withdrawn)


def test_who_is_deleted_while_a_worker_dies_is_deleted_and_nobody_else(case: Case) -> None:
    through_kills(case, purchases=1000, kills=1)


@pytest.mark.faults
def test_twenty_kills_leave_no_deletion_half_done(case: Case) -> None:
    through_kills(case, purchases=4000, kills=20)


@pytest.mark.faults
def test_anonymous_histories_are_joined_once_though_workers_die(case: Case) -> None:
    """Every household browses as a client first; its `identify` stands in the middle of the stream."""
    records, households, half = list[Known](), dict[str, list[str]](), set[str]()
    events = real_events(1500)
    for number, event in enumerate(events):
        user, text = event["user_id"], event.get("user_query") or event["event_attributes"]["object"]["title"]
        households.setdefault(user, []).append(text)
        if number >= len(events) // 2 and user not in half:
            half.add(user)
            joined = {"action_name": "identify", "user_id": user, "client_id": f"c-{user}"}
            records += [Known(user.encode(), orjson.dumps(joined | {"timestamp": event["timestamp"]}), RIGHT)]
        if user in half:
            records += known([event])
        else:
            anonymous = {k: v for k, v in event.items() if k != "user_id"} | {"client_id": f"c-{user}"}
            records += [Known(f"c-{user}".encode(), orjson.dumps(anonymous), RIGHT)]
    for _ in range(2):
        case.shop.worker("session", "hints")
    feed = case.feed(records, RATE)
    kill_some(case, 3)
    feed.finish()
    case.shop.wait_until_quiet(150)
    found = find_people(case.shop.settings, half, stores_of(case.shop.settings))
    for user in half:
        window = decode_state(found[user].of(STATE)[-1].value or b"").window
        texts = sorted(" ".join(text.split()) for text in households[user])
        if len(texts) <= 30:  # else some have left the window
            assert sorted(one.text for one in window) == texts, user
        assert [one.hints for one in case.shop.reader.lists(f"c-{user}")] in ([], [()])
