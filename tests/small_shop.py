"""A small shop's log, what its samples are made with, and when two sets of samples are the same."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import fields
from functools import lru_cache
from typing import Any

import numpy as np

from agents.hints.context import Contexts
from tests.support import DAY_MS, NOON_MS, DigestEncoder, event_json
from training.datasets.complete_journey import Span
from training.sessions import SampleMaker, Samples

GOODS = ["milk", "eggs", "beer", "soap", "bread", "tea", "crème brûlée", "ground coffee"]
NUMBERS = {phrase: number for number, phrase in enumerate(GOODS[:-1])}  # one is in no lexicon
DAYS = 100


def shop(changed_from_day: int = DAYS) -> Iterator[dict[str, Any]]:
    """Six people buy every other day; from a day on, other things. Some hints are shown and clicked, and
    before some baskets something is searched, minutes or hours ago."""
    for day in range(DAYS):
        for person in range(6):
            chance = random.Random(f"{day}:{person}")
            if chance.random() < 0.5:
                continue
            at_ms = NOON_MS + day * DAY_MS + chance.randrange(DAY_MS // 2)
            user, goods = f"u{person}", chance.sample(GOODS, chance.randint(1, 5))
            if day >= changed_from_day:
                goods = ["caviar", "champagne"]
            hint = {"objects": [{"title": goods[0]}, {"title": "soap"}]}
            yield event_json("hint_impression", "", at_ms - 2000, user, event_attributes=hint)
            if day % 3 == 0:
                yield event_json("hint_click", goods[0], at_ms - 1000, user)
            if day % 2 == 0:
                yield event_json("search", goods[-1], at_ms - chance.choice([60_000, 10_000_000]), user)
            for place, text in enumerate(goods):
                yield event_json("purchase", text, at_ms + place * 1000, user)


class Remembering(DigestEncoder):
    """Each text is embedded once."""

    embed = lru_cache(DigestEncoder.embed)


ENCODER = Remembering()


def maker(span: Span, **changes: Any) -> SampleMaker:
    """Of the small shop's samples."""
    return SampleMaker(ENCODER, NUMBERS, span, **changes)


def span_of(first_day: int, last_day: int) -> Span:
    """From noon to noon."""
    return Span(NOON_MS + first_day * DAY_MS, NOON_MS + last_day * DAY_MS)


def same(first: Samples, second: Samples) -> bool:
    """All samples and all arrays."""
    return first.samples == second.samples and same_contexts(first.contexts, second.contexts)


def same_contexts(first: Contexts, second: Contexts) -> bool:
    """All arrays, and their types."""
    pairs = [(getattr(first, entry.name), getattr(second, entry.name)) for entry in fields(Contexts)]
    return all(one.dtype == other.dtype and np.array_equal(one, other) for one, other in pairs)
