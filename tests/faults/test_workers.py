"""Workers killed, frozen, joining and leaving, and states recovered from nothing.

In `make test`: three kills, and one worker frozen beyond its session. The rest with `make faults`.
"""

from __future__ import annotations

import shutil
import time

import pytest

from tests.faults.case import Case
from tests.faults.known_stream import known, real_events
from tests.faults.restless import freeze, restart_if_it_ended, restless, thaw

pytestmark = pytest.mark.timeout(600)
STORES = ("memory", "rocksdb")
FROZEN_S = 10.0  # the session timeout of a test's shop is 6 s


def killed_at_random(case: Case, kills: int, purchases: int, rate: float, **settings: str) -> None:
    """Kill the only worker `kills` times, whatever it is at, and start it again at once."""
    case.feed(known(real_events(purchases)), rate)
    worker = restless(case.shop, **settings)
    for _ in range(kills):
        time.sleep(case.chance.uniform(2.0, 13.0))
        worker.kill()
        worker.start()
    worker.wait_until_ready()
    case.balance()
    case.tell(f"{kills} kills")


def test_a_worker_killed_three_times_at_random_moments_loses_nothing(case: Case) -> None:
    killed_at_random(case, kills=3, purchases=1000, rate=60.0)


@pytest.mark.faults
@pytest.mark.parametrize("store", STORES)
def test_a_worker_killed_twenty_times_at_random_moments_loses_nothing(case: Case, store: str) -> None:
    killed_at_random(case, kills=20, purchases=3000, rate=22.0, AIGQ_STATE_STORE=store)


def frozen_and_thawed(case: Case, times: int, store: str, purchases: int, rate: float) -> None:
    """One of two workers sleeps through its session, wakes and finds its partitions taken."""
    other = case.shop.worker("session", "hints", AIGQ_STATE_STORE=store)
    zombie = case.shop.worker("session", "hints", AIGQ_STATE_STORE=store)
    case.feed(known(real_events(purchases)), rate)
    ended = 0
    for _ in range(times):
        time.sleep(case.chance.uniform(3.0, 5.0))
        freeze(zombie)
        time.sleep(FROZEN_S)
        thaw(zombie)
        ended += restart_if_it_ended(zombie, within_s=12.0)
    other.kill()  # whoever comes next recovers what the zombie left in the changelog
    case.balance()
    case.tell(f"frozen {times} times, ended by itself {ended} times")


def test_a_worker_frozen_beyond_its_session_overwrites_nothing_when_it_wakes(case: Case) -> None:
    frozen_and_thawed(case, times=1, store="memory", purchases=1000, rate=45.0)


@pytest.mark.faults
@pytest.mark.parametrize("store", STORES)
def test_a_worker_frozen_four_times_overwrites_nothing(case: Case, store: str) -> None:
    frozen_and_thawed(case, times=4, store=store, purchases=3000, rate=30.0)


@pytest.mark.faults
@pytest.mark.parametrize("store", STORES)
def test_workers_that_join_and_leave_under_load_lose_nothing(case: Case, store: str) -> None:
    case.feed(known(real_events()), 35.0)
    first = case.shop.worker("session", "hints", AIGQ_STATE_STORE=store)
    second = case.shop.worker("session", "hints", AIGQ_STATE_STORE=store)
    for leaving in (first, second, first, second, first, second):
        time.sleep(case.chance.uniform(1.0, 6.0))
        assert leaving.stop() == 0
        time.sleep(case.chance.uniform(0.0, 3.0))
        leaving.start()
    case.balance()


@pytest.mark.faults
@pytest.mark.parametrize("store", STORES)
def test_the_whole_changelog_replayed_from_zero_gives_the_same_states(case: Case, store: str) -> None:
    case.feed(known(real_events()), 60.0)
    worker = case.shop.worker("session", "hints", AIGQ_STATE_STORE=store)
    for share in (0.3, 0.6, 0.9):
        case.wait_until_sent(share)
        worker.kill()
        shutil.rmtree(worker.data_dir / "state")
        worker.restart()
    case.balance()
