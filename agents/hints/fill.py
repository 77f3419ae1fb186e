"""Fill up a list that the filters left short, from Think's entries for its triggers.

Pure: which mapping version, and what it says, comes in as an argument, so that live and offline give the same
list for the same mapping. What is filled in passes the same filters, stands behind the generator's own hints,
and names its trigger and its version; a reader leaves it out once its user sees another version
(streams.hint_answer). The paper has no such filling: Think is a recall source of its own there (§4.2). Ours.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from agents.hints.bundle import Bundle
from agents.hints.compose import Composed
from agents.hints.filters import DOUBLES, filter_candidates
from agents.hints.generator import Candidate
from streams.deny_rules import NO_RULES, DenyRules
from streams.hint_list import Hint
from streams.query_text import normalise_query
from streams.think_merge import TriggerEntries, in_turn


def missing(composed: Composed, bundle: Bundle) -> int:
    """How many of the bundle's K hints a list lacks; held ones are there."""
    return max(0, bundle.manifest.shapes.K - len(composed.hints.hints))


def filled(
    composed: Composed, think: TriggerEntries, bundle: Bundle, denied: DenyRules = NO_RULES
) -> Composed:
    """The list with as many of Think's hints as it lacks, as far as there are any.

    A mapping's queries were reviewed for results; what was denied since is dropped, and counted.
    """
    places = missing(composed, bundle)
    if not places:
        return composed
    suggested = {normalise_query(one.suggestion.query): one for one in in_turn(think)}
    offered = [Candidate(one.suggestion.query, one.suggestion.score) for one in suggested.values()]
    there = [Candidate(hint.query, hint.score) for hint in composed.hints.hints]
    kept, dropped = filter_candidates(offered, composed.hints.held, denied, beside=there)
    unfit = Counter({reason: count for reason, count in dropped.items() if reason not in DOUBLES})
    composed = replace(composed, dropped=dict(Counter(composed.dropped) + unfit))
    hints = tuple(
        Hint(
            query=one.query,
            score=one.score,
            source="think",
            why=suggested[normalise_query(one.query)].trigger,
            held_until=one.held_until_ms,
            mapping=think.mapping,
        )
        for one in kept[:places]
    )
    if not hints:
        return composed
    update = {"hints": (*composed.hints.hints, *hints), "mapping": think.mapping}
    return replace(composed, hints=composed.hints.model_copy(update=update))
