"""What a session's step depends on, and what it gives."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, Protocol

from agents.session.interest import InterestPolicy
from agents.session.refresh import Decision, RefreshPolicy
from agents.session.state import SessionState
from streams.erase_request import EraseRequest
from streams.handover import Handover
from streams.hint_request import HintRequest, Int8

ERASED_KEPT_MS: Final = 7 * 86_400_000


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


@dataclass(frozen=True, slots=True)
class Step:
    """`state` is None when nothing is to be stored; `requests` are in version order.

    erase: the person's lists go. handover: to be confirmed by Kafka before `state` is stored. ended: the
    stored state is to be dropped.
    """

    outcome: Outcome
    state: SessionState | None = None
    decision: Decision | None = None
    drift: float = 0.0
    requests: tuple[HintRequest, ...] = ()
    erase: EraseRequest | None = None
    handover: Handover | None = None
    ended: bool = False
