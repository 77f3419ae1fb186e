"""How fresh the first hint after a behaviour is, in event time: with lists alone, and with Think's mapping.

Sessions are replayed with the live functions and the refresh policy (agents.session). A list that includes a
behaviour is asked for at once, when its cooldown is over, with a later behaviour, or never; from then on it
takes what generation takes, which is not in these figures (the demo measures that). A mapping with an entry
for the behaviour's text answers at once, since a reader looks it up by the latest trigger.

    delay = time of the first list that includes it − time of the behaviour     0: at once, ∞: never

Sessions begin empty with the judged span. Deterministic: no clock. Data without clicks (The Complete Journey)
is judged on purchases and on its simulated searches. The paper names the gap (§4.2), and no figure: ours.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

import numpy as np
import polars as pl

from agents.session.interest import ACTION_CODES
from agents.session.refresh import RefreshPolicy
from agents.session.step import Outcome, Rules, apply_due, apply_event
from agents.think.folder_entries import FolderEntries
from streams.hint_request import Behaviour
from streams.records import Action, BehaviorEvent, EventAttributes, EventObject, Source
from training.baskets import household_baskets, logged_baskets
from training.datasets.dataset import Dataset

QUANTILES: Final = (0.5, 0.9, 0.95, 0.99)
ACTION_OF: Final = {code: action for action, code in ACTION_CODES.items()}
USER: Final = "u"


def first_hint(data: Dataset, part: str, entries: FolderEntries) -> dict[str, Any]:
    """Shares and quantiles of the delay in seconds, without and with the mapping; None: never, or nothing."""
    rules = Rules(data.encoder(), bundle="evaluated")
    behaviours: list[Behaviour] = []
    alone: list[float] = []
    for session in sessions_of(data, part):
        behaviours += session
        alone += delays_ms(session, rules)
    answered = [entries.has(behaviour.text) for behaviour in behaviours]
    both = [0.0 if known else delay for known, delay in zip(answered, alone, strict=True)]
    return {
        "behaviours": len(behaviours),
        "answered_by_mapping": _share(answered),
        "lists_alone": figures(alone, rules.refresh),
        "with_think": figures(both, rules.refresh),
    }


def sessions_of(data: Dataset, part: str) -> Iterator[list[Behaviour]]:
    """Each household's behaviours in the part's span, oldest first."""
    span = getattr(data.split, part)
    inside = pl.col("time_ms").is_between(span.start_ms, span.end_ms, closed="left")
    if data.behaviours is not None:
        households = logged_baskets(data.behaviours.filter(inside))
    else:
        households = household_baskets(data.purchases.filter(inside), data.about["seed"])
    for _, baskets in households:
        found = [one for basket in baskets for one in (*basket.searches, *basket.purchases)]
        yield sorted(found, key=lambda one: one.at_ms)


def delays_ms(behaviours: Sequence[Behaviour], rules: Rules) -> list[float]:
    """Of each behaviour of one shopper, oldest first: ms until a list with it is asked for; ∞: never."""
    state, waiting = None, list[int]()
    delays = [math.inf] * len(behaviours)

    def asked(as_of_ms: int) -> None:
        for place in waiting:
            delays[place] = max(0, as_of_ms - behaviours[place].at_ms)
        waiting.clear()

    for place, behaviour in enumerate(behaviours):
        step = apply_event(state, _event(behaviour, place), Source("", 0, place), rules)
        state = step.state or state
        refreshed = step.decision is not None and step.decision.refresh
        # What was owed from before does not know this behaviour; the list that it asks for does.
        for one in step.decided[: len(step.decided) - refreshed]:
            asked(one.listed.version.as_of_ms)
        if step.outcome is Outcome.APPLIED:
            waiting.append(place)
        if refreshed:
            asked(step.decided[-1].listed.version.as_of_ms)
    if state is not None and state.owed.due_ms:
        for one in apply_due(state, USER, state.owed.due_ms, rules).decided:
            asked(one.listed.version.as_of_ms)
    return delays


def figures(delays: Iterable[float], policy: RefreshPolicy) -> dict[str, Any]:
    """Shares by when the list is asked for, and quantiles in seconds."""
    values = np.array(list(delays), np.float64)
    ends = np.isfinite(values)
    quantiles = np.quantile(values, QUANTILES, method="inverted_cdf").tolist() if len(values) else []
    return {
        "at_once": _share(values == 0),
        "after_cooldown": _share((values > 0) & (values <= policy.cooldown_ms)),
        "later": _share(ends & (values > policy.cooldown_ms)),
        "never": _share(~ends),
        "quantiles_s": {
            f"{level:g}": value / 1000 if math.isfinite(value) else None
            for level, value in zip(QUANTILES, quantiles, strict=False)
        },
    }


def _event(behaviour: Behaviour, place: int) -> BehaviorEvent:
    action = ACTION_OF[behaviour.action]
    searched = behaviour.text if action is Action.SEARCH else None
    thing = None if searched else EventObject(title=behaviour.text)
    return BehaviorEvent(
        action_name=action,
        timestamp=behaviour.at_ms,
        user_id=USER,
        event_id=str(place),
        user_query=searched,
        event_attributes=EventAttributes(object=thing),
    )


def _share(chosen: Any) -> float | None:
    """None of no behaviours."""
    values = np.asarray(chosen, np.float64)
    return float(values.mean()) if len(values) else None
