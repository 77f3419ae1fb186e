from __future__ import annotations

import pytest

from agents.session.refresh import Decision, Reason, RefreshPolicy, Standing, decide_refresh

POLICY = RefreshPolicy()
NOW_MS = 1_512_129_600_000
# A list five minutes old, nothing that calls for another.
STEADY = Standing(
    now_ms=NOW_MS,
    drift=lambda: 0.0,
    listed_at_ms=NOW_MS - 300_000,
    same_bundle=True,
    lists_today=1,
    events_this_minute=1,
    consent=True,
)


def decided(action: str = "view", **changes: object) -> Decision:
    return decide_refresh(STEADY._replace(**changes), action, POLICY)


def test_a_view_that_changes_nothing_renews_nothing() -> None:
    assert decided() == Decision(False, Reason.STEADY, Reason.STEADY)


@pytest.mark.parametrize(
    ("action", "changes", "reason"),
    [
        ("view", {"listed_at_ms": 0}, Reason.FIRST),
        ("view", {"same_bundle": False}, Reason.MODEL),
        ("search", {}, Reason.SEARCH),
        ("purchase", {}, Reason.PURCHASE),
        ("view", {"drift": lambda: POLICY.drift_threshold}, Reason.DRIFT),
        ("view", {"listed_at_ms": NOW_MS - POLICY.stale_after_ms}, Reason.STALE),
    ],
)
def test_each_reason_renews(action: str, changes: dict[str, object], reason: Reason) -> None:
    assert decided(action, **changes) == Decision(True, reason, reason)


@pytest.mark.parametrize(
    ("changes", "refresh"),
    [
        ({"drift": lambda: POLICY.drift_threshold - 1e-9}, False),
        ({"drift": lambda: POLICY.drift_threshold}, True),
        ({"listed_at_ms": NOW_MS - POLICY.stale_after_ms + 1}, False),
        ({"listed_at_ms": NOW_MS - POLICY.stale_after_ms}, True),
    ],
)
def test_thresholds_are_reached_not_passed(changes: dict[str, object], refresh: bool) -> None:
    assert decided("view", **changes).refresh is refresh


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"listed_at_ms": NOW_MS - POLICY.cooldown_ms + 1}, Reason.COOLDOWN),
        ({"lists_today": POLICY.lists_per_day}, Reason.BUDGET),
        ({"events_this_minute": POLICY.bot_events_per_minute + 1}, Reason.BOT),
        ({"consent": False}, Reason.CONSENT),
    ],
)
def test_each_suppression_holds_a_wanted_refresh_back(changes: dict[str, object], reason: Reason) -> None:
    decision = decided("purchase", **changes)
    assert (decision.refresh, decision.reason) == (False, reason)


@pytest.mark.parametrize(
    "changes",
    [
        {"listed_at_ms": NOW_MS - POLICY.cooldown_ms},
        {"lists_today": POLICY.lists_per_day - 1},
        {"events_this_minute": POLICY.bot_events_per_minute},
    ],
)
def test_one_short_of_a_suppression_still_renews(changes: dict[str, object]) -> None:
    assert decided("purchase", **changes) == Decision(True, Reason.PURCHASE, Reason.PURCHASE)


def test_a_suppressed_decision_remembers_what_was_wanted() -> None:
    assert decided("search", listed_at_ms=NOW_MS).wanted is Reason.SEARCH


def test_the_first_list_waits_for_no_cooldown() -> None:
    assert decided("view", listed_at_ms=0, now_ms=1000).refresh


def test_nothing_is_suppressed_when_nothing_is_wanted() -> None:
    assert decided("view", lists_today=POLICY.lists_per_day).reason is Reason.STEADY
