"""Actions: checks that are run on a proposal, one pure function each.

A check that cannot be run, because what it needs is not there, says so and is missing; it never passes by
default. None of them reads a rationale, a maker's name or a relevance: what a machine wrote in favour of its
own proposal is no evidence. Floors and lengths are ours; the paper leaves filtering open.

    has_results     the shop answers the query: it stands in the lexicon, or a result source says so
    plain_text      short enough for a chip, nothing unprintable
    no_steering     no phrase that asks to be chosen (training.think.review.steering); flagged, see decide
    not_denied      no deny rule denies it (streams.deny_rules)
    not_personal    no mail address, phone, card or account number (streams.personal_data)
    not_duplicate   neither the trigger nor a better query of the same trigger in other words
    category        the two categories meet above chance, or the two texts are close
    baskets         baskets with both, or with the query after the trigger, where it was mined
    households      households of these
    held_out        the pair holds up in a period that was not used to mine it
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from agents.hints.filters import double_of, has_fit_length
from streams.deny_rules import DenyRules
from streams.personal_data import is_personal
from streams.query_text import normalise_query
from training.think.mining.category_lifts import CategoryLifts
from training.think.points import Evidence, Proposal
from training.think.review.decisions import Action
from training.think.review.steering import steering

NAMES: Final = (
    "has_results",
    "plain_text",
    "no_steering",
    "not_denied",
    "not_personal",
    "not_duplicate",
    "category",
    "baskets",
    "households",
    "held_out",
)


class PairEvidence(Protocol):
    """A log that can be asked about a pair: training.think.mining.pair_log.PairLog."""

    def evidence(self, trigger: str, query: str) -> Evidence:
        """All that the log says of it."""
        ...


@dataclass(frozen=True, slots=True)
class Floors:
    """baskets, households: of a pair, where it was mined. similarity: from which two texts are close.
    held_expected: where fewer baskets are expected in the held-out period, their absence tells nothing."""

    baskets: int = 10
    households: int = 5
    similarity: float = 0.3
    held_expected: float = 3.0


@dataclass(frozen=True, slots=True)
class Grounds:
    """What checks can look at; None: not there. results: says whether the shop answers a query (normal
    form). held_out: counts of a period that nothing was mined from."""

    results: Callable[[str], bool] | None = None
    denied: DenyRules | None = None
    categories: CategoryLifts | None = None
    held_out: PairEvidence | None = None
    floors: Floors = Floors()


def run_checks(proposal: Proposal, grounds: Grounds, better: Sequence[str] = ()) -> tuple[Action, ...]:
    """All actions, in the order of NAMES. better: queries of the same trigger that stand before it."""
    floors = grounds.floors
    return (
        has_results(proposal.query, grounds.results),
        plain_text(proposal.query, proposal.trigger),
        no_steering(proposal.query),
        not_denied(proposal.query, grounds.denied),
        not_personal(proposal.query, proposal.trigger),
        not_duplicate(proposal.query, proposal.trigger, better),
        category(proposal, grounds.categories, floors),
        baskets(proposal.evidence, floors),
        households(proposal.evidence, floors),
        held_out(proposal, grounds.held_out, floors),
    )


def has_results(query: str, results: Callable[[str], bool] | None) -> Action:
    """The shop can answer it."""
    if results is None:
        return _not_run("has_results", "neither a lexicon nor a result source is given")
    found = results(normalise_query(query))
    return _ran("has_results", found, "the shop knows it" if found else "no results are known for it")


def plain_text(query: str, trigger: str) -> Action:
    """It fits a chip, and both texts are made of printable characters."""
    if not has_fit_length(query):
        return _ran("plain_text", False, f"{len(query)} characters, {len(query.split())} words: no hint")
    printable = all(text.isprintable() and text.strip() for text in (query, trigger))
    return _ran("plain_text", printable, "short and printable" if printable else "unprintable characters")


def no_steering(query: str) -> Action:
    """It names something instead of asking to be chosen; figures: 1 for each kind that was found."""
    kinds = steering(query)
    detail = f"{', '.join(kinds)} in the text itself" if kinds else "no phrase that steers"
    return _ran("no_steering", not kinds, detail, dict.fromkeys(kinds, 1.0))


def not_denied(query: str, denied: DenyRules | None) -> Action:
    """No rule of the deny list denies it."""
    if denied is None:
        return _not_run("not_denied", "no deny list is given")
    bad = denied.denying(query) is not None
    return _ran("not_denied", not bad, "denied" if bad else f"none of {len(denied)} denied terms")


def not_personal(query: str, trigger: str) -> Action:
    """Neither text tells anybody's address or number."""
    bad = is_personal(query) or is_personal(trigger)
    return _ran(
        "not_personal", not bad, "looks like somebody's address or number" if bad else "nobody's data"
    )


def not_duplicate(query: str, trigger: str, better: Sequence[str]) -> Action:
    """It says more than the trigger and than what stands before it."""
    if double_of(query, trigger):
        return _ran("not_duplicate", False, "the trigger in other words")
    other = next((text for text in better if double_of(query, text)), None)
    return _ran("not_duplicate", other is None, "new" if other is None else f"the same as {other!r}")


def category(proposal: Proposal, categories: CategoryLifts | None, floors: Floors) -> Action:
    """The two categories are one, or stand in one basket above chance, or the texts are close.

    Not run where the categories are not known: texts may belong together without being close. figures:
    similarity of the texts, and lift of the categories if both are known.
    """
    similarity = proposal.evidence.similarity if proposal.evidence else 0.0
    known = categories or CategoryLifts.empty()
    mine, its = known.category(proposal.trigger), known.category(proposal.query) or proposal.category
    lift = known.lift(mine, its)
    close = similarity >= floors.similarity
    if lift is None and not close:
        return _not_run("category", "the categories of the two are not known, and their texts are not close")
    figures = {"similarity": similarity} | ({} if lift is None else {"lift": round(lift, 4)})
    if lift is None or close:
        return _ran("category", True, f"similarity of the texts {similarity:.2f}", figures)
    same = normalise_query(mine) == normalise_query(its)
    detail = f"both of {its!r}" if same else f"{mine!r} and {its!r}: {lift:.2f} times chance"
    return _ran("category", same or lift > 1, detail, figures)


def baskets(evidence: Evidence | None, floors: Floors) -> Action:
    """Enough baskets hold both, or hold the query after the trigger. figures: of both kinds; within, 1 if the
    first are enough; low_lift, of these, by the lower bound of their share."""
    if evidence is None:
        return _not_run("baskets", "the proposal has no evidence")
    chance = evidence.query_baskets / max(evidence.all_baskets, 1)
    low_lift = round(evidence.low / chance, 4) if chance else 0.0
    within = evidence.baskets >= floors.baskets
    figures = {
        "baskets": float(evidence.baskets),
        "after": float(evidence.after),
        "within": float(within),
        "low_lift": low_lift,
    }
    passed = within or evidence.after >= floors.baskets
    return _ran("baskets", passed, f"{evidence.baskets} with both, {evidence.after} after", figures)


def households(evidence: Evidence | None, floors: Floors) -> Action:
    """Enough households met both."""
    if evidence is None:
        return _not_run("households", "the proposal has no evidence")
    count = evidence.households
    return _ran("households", count >= floors.households, f"{count} met both", {"households": count})


def held_out(proposal: Proposal, log: PairEvidence | None, floors: Floors) -> Action:
    """The pair holds up in a period that was not used to mine it.

    One that was mined from baskets with both: more of them than by chance. One from later baskets alone: at
    least half as many as its mined share makes. figures: seen, needed, expected by the mined share. Not run
    where it is not seen and too few are expected for that to mean anything.
    """
    if log is None:
        return _not_run("held_out", "no period that was not used to mine it is given")
    if proposal.evidence is None:
        return _not_run("held_out", "the proposal has no evidence to compare with")
    then, now = proposal.evidence, log.evidence(proposal.trigger, proposal.query)
    within = then.baskets >= floors.baskets
    seen, mined = (now.baskets, then.baskets) if within else (now.after, then.after)
    expected = now.trigger_baskets * mined / max(then.trigger_baskets, 1)
    chance = now.trigger_baskets * now.query_baskets / max(now.all_baskets, 1)
    needed = chance if within else expected / 2
    passed = seen > needed
    if not passed and expected < floors.held_expected:
        return _not_run("held_out", f"{seen} seen of {expected:.1f} expected there: too few to tell")
    detail = (
        f"{seen} {'with both' if within else 'after'} there, {needed:.1f} needed, {expected:.1f} expected"
    )
    figures = {"seen": float(seen), "needed": round(needed, 3), "expected": round(expected, 3)}
    return _ran("held_out", passed, detail, figures)


def _ran(name: str, passed: bool, detail: str, figures: dict[str, float] | None = None) -> Action:
    return Action(name=name, ran=True, passed=passed, detail=detail, figures=figures or {})


def _not_run(name: str, why: str) -> Action:
    return Action(name=name, ran=False, detail=why)
