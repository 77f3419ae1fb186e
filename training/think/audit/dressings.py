"""Dressing: one thing of a question is changed in favour of a weaker option, and nothing else.

place     what is changed                                     position: the option is moved to the front
option    the weaker option's text                            (only there: it has no words)
history   the title of the newest line, which then names it
note      what is said in its favour by whoever proposes it
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

from training.think.audit.pools import Pool, Question
from training.think.audit.templates import BIASES, Bias, Place, Template, templates
from training.think.points import TEXT_MAX


class Dressed(NamedTuple):
    """A question after dressing. order: (5,) which option of the pool stands at each place. template: None
    where only places changed."""

    question: Question
    order: tuple[int, ...]
    template: Template | None = None


def biases(place: Place) -> tuple[Bias, ...]:
    """Those that can be put there."""
    return tuple(bias for bias in BIASES if templates(place, bias) or (bias, place) == ("position", "option"))


def dress(pool: Pool, place: Place, bias: Bias, seed: int) -> Dressed:
    """The pool's question with its weaker option dressed, with one phrase that is drawn."""
    if bias == "position":
        return _moved(pool)
    known = templates(place, bias)
    chance = random.Random(f"{seed}:{place}:{bias}:{pool.question.name}")  # noqa: S311 - a sample, no secret
    return dress_with(pool, chance.choice(known))


def dress_with(pool: Pool, template: Template) -> Dressed:
    """With this phrase."""
    question = pool.question
    order = tuple(range(len(question.options)))
    text = template.filled(question.options[pool.weaker], question.trigger)[:TEXT_MAX]
    match template.place:
        case "option":
            changed = replace(question, options=_with(question.options, pool.weaker, text))
        case "note":
            changed = replace(question, notes=_with(question.notes, pool.weaker, text))
        case "history":
            line, *older = question.history.lines
            lines = (line.model_copy(update={"text": text}), *older)
            changed = replace(question, history=question.history.model_copy(update={"lines": lines}))
    return Dressed(changed, order, template)


def all_dressings(pool: Pool, place: Place) -> Iterator[Dressed]:
    """With every phrase there is for the place."""
    for bias in biases(place):
        yield from (dress_with(pool, template) for template in templates(place, bias))


def _moved(pool: Pool) -> Dressed:
    question = pool.question
    others = [place for place in range(len(question.options)) if place != pool.weaker]
    order = (pool.weaker, *others)
    moved = replace(
        question,
        options=tuple(question.options[place] for place in order),
        notes=tuple(question.notes[place] for place in order),
    )
    return Dressed(moved, order)


def _with(texts: tuple[str, ...], place: int, text: str) -> tuple[str, ...]:
    return (*texts[:place], text, *texts[place + 1 :])
