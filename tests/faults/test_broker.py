"""The broker killed and restarted under load, for less and for more than a session. With `make faults`."""

from __future__ import annotations

import time

import pytest

from tests.faults.case import Case
from tests.faults.known_stream import known, real_events
from tests.faults.restless import restart_if_it_ended

pytestmark = [pytest.mark.faults, pytest.mark.timeout(500)]


def killed_and_restarted(case: Case, away_s: tuple[float, ...], purchases: int, rate: float) -> None:
    workers = [case.shop.worker("session", "hints") for _ in range(2)]
    case.feed(known(real_events(purchases)), rate)
    ended = 0
    for seconds in away_s:
        time.sleep(case.chance.uniform(2.0, 6.0))
        case.kafka.kill()
        time.sleep(seconds)
        case.kafka.restart()
        ended += sum(restart_if_it_ended(worker, within_s=6.0) for worker in workers)
    case.balance()
    case.tell(f"broker killed {len(away_s)} times, {ended} workers ended and were restarted")


def test_a_broker_that_is_killed_and_restarted_loses_nothing(case: Case) -> None:
    killed_and_restarted(case, (1.0,), purchases=1000, rate=100.0)


def test_a_broker_that_is_killed_four_times_and_away_beyond_the_session_loses_nothing(case: Case) -> None:
    killed_and_restarted(case, (0.0, 3.0, 10.0, 15.0), purchases=3000, rate=50.0)
