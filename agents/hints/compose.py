"""From a request and the generator's candidates to the list that is published.

A list that the filters left short is filled up by agents.hints.fill. The same function serves the live
agent and offline replay, so a replayed log gives the same lists.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from agents.hints.bundle import Bundle
from agents.hints.context import Contexts
from agents.hints.filters import filter_candidates, recently_done
from agents.hints.generator import Candidate
from agents.hints.ranking import explain, orders_of, query_vectors
from streams.deny_rules import NO_RULES, DenyRules
from streams.hint_list import HintList, list_id_of
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
    contexts = bundle.generator.contexts(own)
    written = bundle.generator.write(contexts)
    return composed_of(own, contexts, written, bundle, generated_at_ms=generated_at_ms, denied=denied)


def composed_of(
    requests: Sequence[HintRequest],
    contexts: Contexts,
    written: Sequence[Sequence[Candidate]],
    bundle: Bundle,
    *,
    generated_at_ms: int,
    denied: DenyRules = NO_RULES,
) -> list[Composed]:
    """The lists that what the generator has written becomes. contexts: the requests', as it read them."""
    if not requests:
        return []
    held = [recently_done(request) for request in requests]
    filtered = [
        filter_candidates(candidates, its, denied, known=bundle.lexicon)
        for candidates, its in zip(written, held, strict=True)
    ]
    kept = [candidates for candidates, _ in filtered]
    vectors = query_vectors(kept, bundle.encoder)
    reasons = explain(vectors, requests, contexts)
    orders = orders_of(kept) if bundle.ranker is None else bundle.ranker.orders(kept, vectors, contexts)
    lists = [
        _list(request, candidates, why, order, its, bundle, generated_at_ms)
        for request, candidates, why, order, its in zip(requests, kept, reasons, orders, held, strict=True)
    ]
    return [Composed(one, dropped) for one, (_, dropped) in zip(lists, filtered, strict=True)]


def _list(
    request: HintRequest,
    candidates: Sequence[Candidate],
    reasons: Sequence[str],
    order: Sequence[int],
    held: dict[str, int],
    bundle: Bundle,
    generated_at_ms: int,
) -> HintList:
    version = str(request.version)
    hints = [
        {
            "query": candidates[place].query,
            "score": candidates[place].score,
            "source": "direct",
            "why": reasons[place],
            "held_until": candidates[place].held_until_ms,
        }
        for place in order
    ]
    # Hints as plain values: one call of the validator instead of one for each.
    return HintList.model_validate(
        {
            "version": version,
            "list_id": list_id_of(request.user, version),
            "user": request.user,
            "as_of": request.version.as_of_ms,
            "generated_at": generated_at_ms,
            "reason": request.reason,
            "drift": round(request.drift, 4),
            "trigger": request.trigger,
            "triggers": request.triggers,
            "bundle": bundle.name,
            "application": request.application,
            "locale": request.locale,
            "hints": hints,
            "held": held,
        }
    )
