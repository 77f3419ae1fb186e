"""What a session's step depends on, and what it gives."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache
from typing import Final, NamedTuple, Protocol

import numpy as np

from agents.session.interest import ACTION_WEIGHTS, Embedded, Interest, InterestPolicy
from agents.session.refresh import Decision, RefreshPolicy
from agents.session.state import SessionState
from agents.session.state_parts import Listed
from streams.erase_request import EraseRequest
from streams.handover import Handover
from streams.hint_request import Behaviour, HintRequest, Int8

ERASED_KEPT_MS: Final = 7 * 86_400_000
TEXTS_KEPT: Final = 32_768  # of 256 bytes at D = 64


class TextEncoder(Protocol):
    """Turns texts into embeddings; see agents.hints.encoder."""

    @property
    def name(self) -> str:
        """Changes whenever the embedding of any text may change."""

    @property
    def dim(self) -> int:
        """D."""

    def embed(self, text: str) -> Int8:
        """e(text)·127, (D,) int8."""


class Outcome(StrEnum):
    """What became of an event."""

    APPLIED = "applied"
    DUPLICATE = "duplicate"  # its event id was applied before
    REPLAYED = "replayed"  # its offset was applied before: a re-read after a crash or rebalance
    UNKNOWN_ACTION = "unknown_action"
    NOT_A_BEHAVIOUR = "not_a_behaviour"  # hint feedback: another agent's work
    TOO_LATE = "too_late"  # older than all behaviours of a full window: whether it was applied is forgotten
    NO_TEXT = "no_text"  # neither query, title nor category
    WITHDRAWN = "withdrawn"  # consent is withdrawn: not used
    DELETED = "deleted"  # the person asks to be deleted, or was
    FORGOTTEN = "forgotten"  # dated before a deletion, or before consent was given
    IDENTIFIED = "identified"  # says which client a user is
    HANDED_OVER = "handed_over"  # an anonymous behaviour of somebody who is known by now


@dataclass(frozen=True, slots=True)
class Rules:
    """All that a step depends on besides state and event.

    erased_kept_ms: for so long (event time) nothing of a deleted person is used again: at least as long as
    anything older than the deletion can still stand in Kafka.
    """

    encoder: TextEncoder
    bundle: str
    interest: InterestPolicy = field(default_factory=InterestPolicy)
    refresh: RefreshPolicy = field(default_factory=RefreshPolicy)
    erased_kept_ms: int = ERASED_KEPT_MS

    _embedded: Callable[[str], Embedded] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        embed = self.encoder.embed
        embedded = lru_cache(TEXTS_KEPT)(lambda text: Embedded.of(embed(text)))
        object.__setattr__(self, "_embedded", embedded)

    def after(self, interest: Interest, behaviour: Behaviour) -> Interest:
        """The interest with one more behaviour."""
        weight = ACTION_WEIGHTS[behaviour.action]
        return interest.with_embedded(self._embedded(behaviour.text), weight, behaviour.at_ms, self.interest)

    def of_all(self, behaviours: Iterable[Behaviour]) -> Interest:
        """The interest that these behaviours alone make; the first should be the oldest."""
        interest = Interest.empty(self.encoder.dim)
        for behaviour in behaviours:
            interest = self.after(interest, behaviour)
        return interest


class DecidedList(NamedTuple):
    """A list that was decided, and the state as of then. Its request costs more than the decision.

    appended_ms: when Kafka appended the event that asked for it (0: none did).
    """

    state: SessionState
    user: str
    encoder: TextEncoder
    appended_ms: int = 0

    @property
    def listed(self) -> Listed:
        """Version, reason and drift."""
        if self.state.listed is None:
            raise AssertionError("the state is the one after the decision")
        return self.state.listed

    def request(self) -> HintRequest:
        """The request, from the behaviours up to the decision."""
        listed = self.listed
        behaviours = tuple([b for b in self.state.window if b.at_ms <= listed.version.as_of_ms])
        vectors = [self.encoder.embed(behaviour.text) for behaviour in behaviours]
        return HintRequest(
            user=self.user,
            version=listed.version,
            reason=listed.reason,
            drift=listed.drift,
            encoder=self.encoder.name,
            behaviours=behaviours,
            vectors=np.array(vectors, np.int8).reshape(-1, self.encoder.dim),
            interests=self.state.interest.unit(),
            habit=self.state.habit,
            application=self.state.application,
            locale=self.state.locale,
            appended_ms=self.appended_ms,
        )


class Step(NamedTuple):
    """`state` is None when nothing is to be stored; `decided` are in version order.

    erase: the person's lists go. handover: to be confirmed by Kafka before `state` is stored. ended: the
    stored state is to be dropped.
    """

    outcome: Outcome
    state: SessionState | None = None
    decision: Decision | None = None
    decided: tuple[DecidedList, ...] = ()
    erase: EraseRequest | None = None
    handover: Handover | None = None
    ended: bool = False

    @property
    def requests(self) -> tuple[HintRequest, ...]:
        """The decided lists' requests, made anew each time."""
        return tuple([one.request() for one in self.decided])

    @property
    def drift(self) -> float:
        """How far the visit's interest had moved from the list before; 0: nothing was decided."""
        if self.outcome is not Outcome.APPLIED or self.state is None or self.decision is None:
            return 0.0
        listed = self.state.listed
        return listed.drift if listed is not None and self.decision.refresh else self.state.moved()
