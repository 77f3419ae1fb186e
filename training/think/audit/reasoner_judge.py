"""Any reasoner of Think as a judge: the Think network, a language model, whatever reads histories.

A reasoner is never shown the options, so its choice is read off its answer: the first option among the
queries of the points that stand on the newest line, then among those of all points. Often it names none of
the five; then it chooses none.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from streams.query_text import normalise_query
from training.think.audit.pools import Question
from training.think.audit.templates import Place
from training.think.points import InterestPoint, Reasoner


class ReasonerJudge:
    """Reads histories alone. Many questions are handed over at once, as reasoners like them."""

    reads: frozenset[Place] = frozenset({"history"})

    def __init__(self, reasoner: Reasoner) -> None:
        self._reasoner, self.name = reasoner, f"{reasoner.name}, written"

    def choose(self, question: Question) -> int | None:
        """See the module."""
        return self.choose_all([question])[0]

    def choose_all(self, questions: Sequence[Question]) -> list[int | None]:
        """Of each, in order. A history that the reasoner has no answer for has no choice."""
        named = [
            replace(question, history=question.history.model_copy(update={"name": f"{place}"}))
            for place, question in enumerate(questions)
        ]
        answers = self._reasoner.points([question.history for question in named])
        points = {answer.history: answer.points for answer in answers}
        return [_chosen(question, points.get(question.history.name, ())) for question in named]


def _chosen(question: Question, points: Sequence[InterestPoint]) -> int | None:
    places = {normalise_query(option): place for place, option in enumerate(question.options)}
    named = (places.get(normalise_query(query)) for query in _queries(question, points))
    return next((place for place in named if place is not None), None)


def _queries(question: Question, points: Sequence[InterestPoint]) -> Iterator[str]:
    newest = question.history.lines[0].index
    for point in sorted(points, key=lambda point: newest not in point.triggers):
        yield from point.queries
