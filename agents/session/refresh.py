"""When a user's hints are renewed, and why, or why not.

The paper fires on "meaningful behavioral signals" (§4.1) and leaves signals, debounce and limits open;
all of this is ours. Decisions use event time only, so a replayed log decides alike.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, NamedTuple

from streams.records import Action


class Reason(StrEnum):
    """Why a list is renewed, why not though wanted, or that nothing called for it. Append only."""

    FIRST = "first"
    SEARCH = "search"
    PURCHASE = "purchase"
    DRIFT = "drift"
    STALE = "stale"
    MODEL = "model"
    COOLDOWN = "cooldown"
    BUDGET = "budget"
    BOT = "bot"
    CONSENT = "consent"
    STEADY = "steady"
    IDENTIFY = "identify"


# Codes are stored in session states: append only.
REASON_CODES: Final = tuple(Reason)
SUPPRESSIONS: Final = frozenset({Reason.COOLDOWN, Reason.BUDGET, Reason.BOT, Reason.CONSENT})


@dataclass(frozen=True, slots=True)
class RefreshPolicy:
    """Thresholds; times in ms of event time."""

    drift_threshold: float = 0.15
    cooldown_ms: int = 30_000
    stale_after_ms: int = 2 * 86_400_000
    lists_per_day: int = 50
    bot_events_per_minute: int = 120


class Decision(NamedTuple):
    """`wanted` is the reason for a refresh had nothing suppressed it; STEADY: none."""

    refresh: bool
    reason: Reason
    wanted: Reason


class Standing(NamedTuple):
    """What the decision looks at, apart from the event. Times in ms; `listed_at_ms` 0: no list yet.

    drift: gives it; a search or a purchase is reason enough and does not ask.
    """

    now_ms: int
    drift: Callable[[], float]
    listed_at_ms: int
    same_bundle: bool
    lists_today: int
    events_this_minute: int
    consent: bool


def decide_refresh(standing: Standing, action: str, policy: RefreshPolicy) -> Decision:
    """Renew the list now? The first rule that holds gives the reason."""
    if not standing.consent:
        return Decision(False, Reason.CONSENT, Reason.STEADY)
    wanted = _wanted(standing, action, policy)
    if wanted is Reason.STEADY:
        return Decision(False, Reason.STEADY, wanted)
    suppressed = _suppressed(standing, policy)
    if suppressed is not None:
        return Decision(False, suppressed, wanted)
    return Decision(True, wanted, wanted)


def _wanted(standing: Standing, action: str, policy: RefreshPolicy) -> Reason:
    if standing.listed_at_ms == 0:
        return Reason.FIRST
    if not standing.same_bundle:
        return Reason.MODEL
    if action == Action.SEARCH:
        return Reason.SEARCH
    if action == Action.PURCHASE:
        return Reason.PURCHASE
    if standing.drift() >= policy.drift_threshold:
        return Reason.DRIFT
    if standing.now_ms - standing.listed_at_ms >= policy.stale_after_ms:
        return Reason.STALE
    return Reason.STEADY


def _suppressed(standing: Standing, policy: RefreshPolicy) -> Reason | None:
    if standing.events_this_minute > policy.bot_events_per_minute:
        return Reason.BOT
    if standing.lists_today >= policy.lists_per_day:
        return Reason.BUDGET
    if standing.listed_at_ms and standing.now_ms - standing.listed_at_ms < policy.cooldown_ms:
        return Reason.COOLDOWN
    return None
