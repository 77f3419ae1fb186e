"""From a request and the generator's candidates to the list that is published.

A list that the filters left short is filled up by agents.hints.fill. The same function serves the live
agent and offline replay, so a replayed log gives the same lists.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from agents.hints.bundle import Bundle
from agents.hints.filters import filter_candidates, recently_done
from agents.hints.generator import Candidate
from agents.hints.ranking import explain
from streams.deny_rules import NO_RULES, DenyRules
from streams.hint_list import Hint, HintList, list_id_of
from streams.hint_request import HintRequest


@dataclass(frozen=True, slots=True)
class Composed:
    """A list and what the filters took out of it, by reason."""

    hints: HintList
    dropped: dict[str, int]


def compose(
    requests: Sequence[HintRequest],
    bundle: Bundle,
    *,
    generated_at_ms: int,
    denied: DenyRules = NO_RULES,
) -> list[Composed]:
    """Generate, filter, rank and explain one list per request, in one batch.

    `generated_at_ms`: wall clock, for expiry and metrics only; nothing is decided by it.
    """
    own = [bundle.generator.own(request) for request in requests]
    return [
        composed_of(request, candidates, bundle, generated_at_ms=generated_at_ms, denied=denied)
        for request, candidates in zip(own, bundle.generator.generate(own), strict=True)
    ]


def composed_of(
    request: HintRequest,
    candidates: Sequence[Candidate],
    bundle: Bundle,
    *,
    generated_at_ms: int,
    denied: DenyRules = NO_RULES,
) -> Composed:
    """The list that the generator's candidates become; the request is in the bundle's own embedding."""
    held = recently_done(request)
    kept, dropped = filter_candidates(candidates, held, denied, known=bundle.lexicon)
    if bundle.ranker is not None:
        kept = bundle.ranker.order(kept, request)
    version = str(request.version)
    hints = HintList(
        version=version,
        list_id=list_id_of(request.user, version),
        user=request.user,
        as_of=request.version.as_of_ms,
        generated_at=generated_at_ms,
        reason=request.reason,
        drift=round(request.drift, 4),
        trigger=request.trigger,
        triggers=request.triggers,
        bundle=bundle.name,
        application=request.application,
        locale=request.locale,
        hints=tuple(
            Hint(
                query=candidate.query,
                score=round(candidate.score, 4),
                source="direct",
                why=explain(candidate.query, request, bundle.encoder),
                held_until=candidate.held_until_ms,
            )
            for candidate in kept
        ),
        held=held,
    )
    return Composed(hints, dropped)
