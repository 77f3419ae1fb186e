"""Bad, double, late and strange input: each record becomes what it was meant to, and nothing else changes.

In `make test`: everything at once. With `make faults` each on its own, with a worker killed in the middle.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.faults.case import Case
from tests.faults.known_stream import (
    Known,
    by_one_user,
    known,
    real_events,
    with_copies,
    with_late,
    with_other_clocks,
    with_poison,
)
from tests.faults.ledger import Account

pytestmark = pytest.mark.timeout(400)
RATE = 120.0  # events per second
# Which refresh a cooldown holds back depends on when a late event comes: without one, none is.
NO_COOLDOWN = {"AIGQ_COOLDOWN_S": "0"}


def through_a_kill(case: Case, records: list[Known]) -> Account:
    """Feed the records, kill one of two workers in the middle, and balance the books."""
    case.shop.worker("session", "hints")
    victim = case.shop.worker("session", "hints")
    case.feed(records, RATE)
    case.wait_until_sent(0.5)
    victim.kill()
    return case.balance()


def test_poison_copies_late_events_and_wrong_clocks_all_at_once_are_each_accounted_for(case: Case) -> None:
    case.options |= NO_COOLDOWN
    events = known(real_events(1000))
    case.shop.worker("session", "hints")
    case.feed(list(with_poison(with_copies(with_other_clocks(with_late(events, 0.05), 0.1), 0.2), 0.02)))
    account = case.balance()
    assert sum(account.dead_letters.values()) > 10
    assert account.outcomes["duplicate"] > 100


@pytest.mark.faults
def test_one_percent_of_poison_is_set_aside_with_its_reasons(case: Case) -> None:
    account = through_a_kill(case, list(with_poison(known(real_events()), 0.01)))
    assert sum(account.dead_letters.values()) > 20


@pytest.mark.faults
def test_twenty_percent_of_duplicates_change_nothing(case: Case) -> None:
    account = through_a_kill(case, list(with_copies(known(real_events()), 0.2)))
    assert account.outcomes["duplicate"] > 300


STRANGE_TIMES: dict[str, Callable[[list[Known]], Any]] = {
    "days_late": lambda records: with_late(records, 0.1),
    "clocks_that_disagree": lambda records: with_other_clocks(records, 0.3),
    "both": lambda records: with_other_clocks(with_late(records, 0.1), 0.3),
}


@pytest.mark.faults
@pytest.mark.parametrize("strange", STRANGE_TIMES)
def test_events_with_strange_times_land_where_an_undisturbed_run_puts_them(case: Case, strange: str) -> None:
    case.options |= NO_COOLDOWN
    through_a_kill(case, list(STRANGE_TIMES[strange](known(real_events()))))


@pytest.mark.faults
def test_one_user_who_sends_half_of_all_events_disturbs_nobody(case: Case) -> None:
    through_a_kill(case, by_one_user(real_events(), "hh-busy", 0.5))
