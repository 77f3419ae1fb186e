"""Facts that a rationale may be made of, where they come from, and the sentence that says them.

A rationale says nothing that a log, or the history itself, cannot be asked about: how often and how long ago
the trigger was met, in how many baskets and households it stood beside the query, and in which order.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from streams.query_text import normalise_query
from training.think.mining.association import Association
from training.think.points import Evidence, Fact, History


class FactBook:
    """Evidence and facts of pairs, each counted once and then remembered."""

    def __init__(self, association: Association) -> None:
        self.association = association
        self._evidence: dict[tuple[str, str], Evidence] = {}
        self._facts: dict[tuple[str, str], tuple[Fact, ...]] = {}

    def evidence(self, trigger: str, query: str) -> Evidence:
        """As Association.evidence."""
        key = (trigger, query)
        if key not in self._evidence:
            self._evidence[key] = self.association.evidence(trigger, query)
        return self._evidence[key]

    def of_pair(self, trigger: str, query: str) -> tuple[Fact, ...]:
        """`baskets`, `households` and `later` of the pair, as Fact says."""
        key = (trigger, query)
        if key not in self._facts:
            known = self.evidence(trigger, query)
            together = self.association.together(trigger, query)
            self._facts[key] = (
                Fact(kind="baskets", trigger=trigger, query=query, value=known.baskets),
                Fact(kind="households", trigger=trigger, query=query, value=together),
                Fact(kind="later", trigger=trigger, query=query, value=known.later),
            )
        return self._facts[key]

    def of_point(self, history: History, triggers: Sequence[str], query: str) -> tuple[Fact, ...]:
        """Of the triggers in the history, and of the first trigger with the query."""
        return (
            *(fact for trigger in triggers for fact in facts_of_line(history, trigger)),
            *self.of_pair(triggers[0], query),
        )


def facts_of_line(history: History, trigger: str) -> tuple[Fact, ...]:
    """`times` and `days` of a text in a history; none when it does not stand there."""
    own = normalise_query(trigger)
    days = [line.days_ago for line in history.lines if normalise_query(line.text) == own]
    if not days:
        return ()
    return (
        Fact(kind="times", trigger=trigger, value=len(days)),
        Fact(kind="days", trigger=trigger, value=min(days)),
    )


def rationale_of(facts: Iterable[Fact]) -> str:
    """The facts as sentences, in their order."""
    return " ".join(_sentence(fact) for fact in facts)


def _sentence(fact: Fact) -> str:
    value = fact.value
    match fact.kind:
        case "times":
            return f"{fact.trigger}: {_counted(value, 'time')} in this history."
        case "days":
            when = "today" if value == 0 else f"{_counted(value, 'day')} ago"
            return f"{fact.trigger}: last {when}."
        case "baskets":
            return f"{fact.trigger} and {fact.query}: together in {_counted(value, 'basket')}."
        case "households":
            return f"{fact.trigger} and {fact.query}: together for {_counted(value, 'household')}."
        case "later":
            return f"{fact.query} came after {fact.trigger} for {value} % of the households with both."


def _counted(value: int, name: str) -> str:
    return f"{value} {name}" if value == 1 else f"{value} {name}s"
