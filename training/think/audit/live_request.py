"""A history of Think as a live session would hand it to the hints agent.

Each line is embedded by its words and looked up by its whole text, as agents.session does when an event comes
in; the newest is a second old. A household's habit is not in a history, so none is given.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from agents.hints.context import Contexts, QueryIndex, context_arrays
from agents.session.interest import Interest, InterestPolicy
from agents.session.rules import TextEncoder
from agents.session.state_changes import ACTION_BY_NAME
from streams.hint_request import Behaviour, HintRequest, Version
from training.think.mining.occasions import DAY_MS
from training.think.points import History

SECOND_MS: Final = 1_000


def request_of(history: History, encoder: TextEncoder) -> HintRequest:
    """What a session that met these lines would ask with."""
    behaviours = tuple(
        Behaviour(
            ACTION_BY_NAME[line.action],
            history.as_of_ms - line.days_ago * DAY_MS - line.index * SECOND_MS,
            line.text,
        )
        for line in history.lines
    )
    vectors = np.stack([encoder.embed(behaviour.text) for behaviour in behaviours])
    interest = Interest.empty(encoder.dim)
    for behaviour, vector in zip(reversed(behaviours), reversed(vectors), strict=True):
        interest = interest.add(vector, behaviour.action, behaviour.at_ms, InterestPolicy())
    return HintRequest(
        user=history.name,
        version=Version(history.as_of_ms, 0),
        reason="audit",
        drift=0.0,
        encoder=encoder.name,
        behaviours=behaviours,
        vectors=vectors,
        interests=interest.unit(),
    )


def contexts_of(history: History, encoder: TextEncoder, index: QueryIndex) -> Contexts:
    """One context."""
    return context_arrays([request_of(history, encoder)], index)
