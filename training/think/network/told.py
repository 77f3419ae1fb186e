"""What a network wrote, held against the log: true facts stay, with the log's own values; the rest goes.

    true        the bucket that was written holds the value that the history, or the log, gives
    false       it does not
    beside      it speaks of a line or a query that is none of its point's, true or not

Only true facts become a rationale, so whatever a network makes up, no sentence says anything false.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from streams.query_text import normalise_query
from training.think.mining.facts import facts_of_line, rationale_of
from training.think.network.serialise import WrittenFact, WrittenPoint
from training.think.network.tokens import LINE_KINDS, bucket
from training.think.points import Fact, History, InterestPoint


class Book(Protocol):
    """Facts of pairs; training.think.mining.facts.FactBook is one."""

    def of_pair(self, trigger: str, query: str) -> tuple[Fact, ...]:
        """`baskets`, `households` and `later`."""
        ...


@dataclass(frozen=True, slots=True)
class FactCounts:
    """Facts that were written, by what became of them."""

    true: int = 0
    false: int = 0
    beside: int = 0

    def __add__(self, other: FactCounts) -> FactCounts:
        return FactCounts(self.true + other.true, self.false + other.false, self.beside + other.beside)

    @property
    def written(self) -> int:
        """All."""
        return self.true + self.false + self.beside

    @property
    def share(self) -> float:
        """Of the written facts, those that were true and to the point; 0 when none was written."""
        return self.true / max(self.written, 1)


def checked(
    points: Sequence[WrittenPoint], history: History, book: Book
) -> tuple[tuple[InterestPoint, ...], FactCounts]:
    """The points with their true facts, and what became of all facts."""
    found, counts = [], FactCounts()
    for point in points:
        kept, own = _kept(point, history, book)
        counts += own
        found.append(
            InterestPoint(
                triggers=point.triggers, queries=point.queries, rationale=rationale_of(kept), facts=kept
            )
        )
    return tuple(found), counts


def true_fact(written: WrittenFact, history: History, book: Book) -> Fact | None:
    """The fact with the log's value, if what was written holds it."""
    if not 1 <= written.line <= len(history.lines):
        return None
    text = history.lines[written.line - 1].text
    known = facts_of_line(history, text) if written.kind in LINE_KINDS else book.of_pair(text, written.query)
    fact = next((fact for fact in known if fact.kind == written.kind), None)
    return fact if fact is not None and bucket(fact.kind, fact.value) == written.bucket else None


def _kept(point: WrittenPoint, history: History, book: Book) -> tuple[tuple[Fact, ...], FactCounts]:
    """True facts of the point, those of lines first, as the reference has them."""
    texts = {normalise_query(history.lines[index - 1].text) for index in point.triggers}
    queries = {normalise_query(query) for query in point.queries}
    true: list[Fact] = []
    false = beside = 0
    for written in dict.fromkeys(point.facts):
        fact = true_fact(written, history, book)
        if not _to_the_point(written, history, texts, queries):
            beside += 1
        elif fact is None:
            false += 1
        else:
            true.append(fact)
    ordered = sorted(true, key=lambda fact: fact.kind not in LINE_KINDS)
    return tuple(ordered), FactCounts(len(true), false, beside)


def _to_the_point(written: WrittenFact, history: History, texts: set[str], queries: set[str]) -> bool:
    if not 1 <= written.line <= len(history.lines):
        return False
    known = normalise_query(history.lines[written.line - 1].text) in texts
    return known and (not written.query or normalise_query(written.query) in queries)
