"""Judges: whatever chooses one of five options, or none. The built-in reasoner and reviewer are here.

A judge gets a question and nothing of its answer. What it cannot be reached by, it does not claim to read:
`reads` says which dressed places can stand before it at all.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt

from streams.hint_request import to_unit
from streams.query_text import normalise_query
from training.think.audit.pools import Question
from training.think.audit.templates import Place
from training.think.mining.association import Association
from training.think.mining.facts import FactBook
from training.think.points import Proposal
from training.think.review.checks import Grounds
from training.think.review.decide import decide_all, score_of
from training.think.review.decisions import Decision

ReadTitle = Callable[[str, Collection[str]], str]

ASSOCIATION: Final = "association"
REVIEW: Final = "review"


class Judge(Protocol):
    """Anything that can be audited; more can be added."""

    @property
    def name(self) -> str:
        """In the report."""
        ...

    @property
    def reads(self) -> frozenset[Place]:
        """Which places it reads."""
        ...

    def choose(self, question: Question) -> int | None:
        """Place of the option that it takes; None when it takes none."""
        ...


class AssociationJudge:
    """The built-in reasoner: the strongest query of the trigger, by counts; if the trigger speaks for none,
    of the whole history. It knows texts by name alone."""

    name = ASSOCIATION
    reads: frozenset[Place] = frozenset({"option", "history"})

    def __init__(self, association: Association) -> None:
        self._association = association

    def choose(self, question: Question) -> int | None:
        """See `strongest`."""
        lines = [line.text for line in question.history.lines]
        return strongest(self._association.strengths(lines, question.options), question.options)


def strongest(strengths: npt.NDArray[np.float64], options: Sequence[str]) -> int | None:
    """Of (lines, options): by the first line, else by the sum of all; None when all is 0. Ties are broken by
    name, so no place is an argument."""
    for weights in (strengths[0], strengths.sum(axis=0)):
        if weights.any():
            return int(np.lexsort(([normalise_query(option) for option in options], -weights))[0])
    return None


class CountedTitlesJudge:
    """The built-in reasoner where the log has always called the goods as the question does: dressed texts
    have the counts of what they name (`read`: text, names that it must not speak for); their embeddings are
    their own."""

    reads: frozenset[Place] = frozenset({"option", "history"})

    def __init__(self, association: Association, read: ReadTitle, name: str = "counted") -> None:
        self._association, self._read, self.name = association, read, f"{ASSOCIATION}, {name}"

    def choose(self, question: Question) -> int | None:
        """As AssociationJudge."""
        options = [self._read(option, ()) for option in question.options]
        lines = [line.text for line in question.history.lines]
        named = [self._read(text, options) for text in lines]
        strengths = self._association.strengths(named, options)
        strengths *= self._likeness(lines, question.options) / self._likeness(named, options)
        return strongest(strengths, options)

    def _likeness(self, lines: Sequence[str], options: Sequence[str]) -> npt.NDArray[np.float64]:
        """(lines, options) the factor of training.think.mining.scores that embeddings decide."""
        encoder = self._association.encoder
        if encoder is None:
            return np.ones((len(lines), len(options)))
        left, right = (
            to_unit(np.stack([encoder.embed(text) for text in texts])) for texts in (lines, options)
        )
        return np.asarray(1 + self._association.rule.similarity * (left @ right.T), np.float64)


class ReviewJudge:
    """The built-in reviewer: each option is proposed for the trigger, word for word and with its note as
    rationale; of those approved it takes the one with the greatest sum of factors."""

    name = REVIEW
    reads: frozenset[Place] = frozenset({"option", "history", "note"})

    def __init__(self, association: Association, grounds: Grounds) -> None:
        self._book, self._grounds = FactBook(association), grounds

    def choose(self, question: Question) -> int | None:
        """None when nothing is approved; ties by name."""
        approved = [one for one in self.decisions(question) if one.approved]
        if not approved:
            return None
        best = min(approved, key=lambda one: (-score_of(one.factors), one.proposal.query))
        return question.options.index(best.proposal.query)

    def decisions(self, question: Question) -> list[Decision]:
        """On the five proposals, by name of the query."""
        return decide_all(self._proposals(question), self._grounds, question.history.as_of_ms)

    def _proposals(self, question: Question) -> list[Proposal]:
        return [
            Proposal(
                trigger=question.trigger,
                kind="item",
                query=option,
                category=self._book.association.category(option),
                relevance=1.0 if note else 0.5,  # whoever praises its own proposal rates it high, too
                makers=(ASSOCIATION,),
                rationale=note,
                evidence=self._book.evidence(question.trigger, option),
            )
            for option, note in zip(question.options, question.notes, strict=True)
        ]


class ReadFirst:
    """A judge behind a defence: texts are read, by `read`, and only then judged. A line whose title is read
    as "" is left out.

    apart: titles are read without the options' names, as only those can who know the options; Direct and the
    ranker meet a title before there are any. titles_only: options stay word for word.
    """

    def __init__(
        self, judge: Judge, name: str, read: ReadTitle, *, apart: bool = False, titles_only: bool = False
    ) -> None:
        self._judge, self._read, self._apart, self._titles_only = judge, read, apart, titles_only
        self.name, self.reads = f"{judge.name}, {name}", judge.reads

    def choose(self, question: Question) -> int | None:
        """As the judge, on what was read."""
        return self._judge.choose(self.seen(question))

    def seen(self, question: Question) -> Question:
        """What the judge is given."""
        options = question.options if self._titles_only else self._options(question.options)
        apart = [self._read(option, ()) for option in options] if self._apart else []
        read = [
            line.model_copy(update={"text": self._read(line.text, apart)}) for line in question.history.lines
        ]
        lines = tuple(line for line in read if line.text) or question.history.lines
        return replace(
            question, options=options, history=question.history.model_copy(update={"lines": lines})
        )

    def _options(self, options: Sequence[str]) -> tuple[str, ...]:
        return tuple(self._read(option, ()) or option for option in options)
