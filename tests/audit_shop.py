"""A shop in which one query goes with a trigger a little better than the others, and real spellings of it."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import polars as pl

from agents.hints.bundle import parse_lexicon
from tests.support import DAY_MS, NOON_MS
from training.datasets.complete_journey import Span
from training.datasets.dataset import Dataset
from training.datasets.dataset_config import Split
from training.think.audit.pools import Pool, PoolRule, Question
from training.think.points import History, HistoryLine

BUNDLE = Path("exported_models/complete-journey")
TRIGGER, BEST = "white bread", "butter"
OTHERS = [
    *("apples", "carrots", "celery", "diapers", "mustard", "salsa", "tortilla chips", "yogurt", "bagels"),
    *("bacon", "paper towels", "spices", "cat litter", "gum", "ground beef", "broccoli", "avocados"),
    *("lemons", "cucumbers", "strawberries"),
]
DAYS, PEOPLE = 90, 300
RULE = PoolRule(low=0.05, high=0.4, popularity=3.0, z=1.0, trigger_baskets=200, baskets=2, per_trigger=100)


def audit_dataset(purchases: pl.DataFrame | None = None, split: Split | None = None) -> Dataset:
    """With the committed bundle's lexicon and encoder; days 60 to 90 are the validation span."""
    ends = [NOON_MS + day * DAY_MS for day in (0, 60, DAYS, DAYS + 1)]
    return Dataset(
        BUNDLE,
        {},
        split or Split(*(Span(*ends[at : at + 2]) for at in range(3))),
        _shopping() if purchases is None else purchases,
        pl.DataFrame(),
        list(parse_lexicon((BUNDLE / "lexicon.tsv").read_bytes()).items()),
        (BUNDLE / "tokenizer.json").read_bytes(),
        np.load(BUNDLE / "embeddings.npy"),
    )


def pool(weaker: int = 2) -> Pool:
    """After white bread and milk, butter is the best of five; it stands second."""
    texts = (TRIGGER, "milk")
    lines = [HistoryLine(index=at, days_ago=at, action="purchase", text=t) for at, t in enumerate(texts, 1)]
    history = History(name="h", as_of_ms=NOON_MS, lines=tuple(lines))
    question = Question("q", history, ("apples", BEST, "salsa", "gum", "mustard"))
    return Pool(question, 1, weaker, (0.1, 0.2, 0.1, 0.1, 0.1), 7)


def _shopping() -> pl.DataFrame:
    """Each household comes every two weeks; every other basket has the trigger. With it butter is in four
    of ten baskets and each other in one of seven; without it in one of twenty and one of ten."""
    rows = []
    for person in range(PEOPLE):
        for day in range(person % 14, DAYS, 14):
            chance = random.Random(f"{person}:{day}")
            with_trigger = chance.random() < 0.5
            likely = dict.fromkeys(OTHERS, 0.14 if with_trigger else 0.1)
            likely[BEST] = 0.4 if with_trigger else 0.05
            goods = [TRIGGER if with_trigger else "milk"]
            goods += [text for text, share in likely.items() if chance.random() < share]
            time_ms = NOON_MS + day * DAY_MS
            rows += [(person, person * DAYS + day, time_ms, text, "food") for text in goods]
    columns = ("household_id", "basket_id", "time_ms", "phrase", "category_phrase")
    return pl.DataFrame(rows, schema=columns, orient="row")
