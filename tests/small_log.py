"""A log of a few baskets, written by hand or drawn, as Think's mining takes it."""

from __future__ import annotations

import random
from collections.abc import Iterable

import polars as pl

from agents.session.interest import ACTION_CODES
from streams.records import Action
from tests.support import DAY_MS
from training.think.mining.scores import MiningRule

NO_FLOORS = MiningRule(trigger_baskets_min=1, pair_baskets_min=1, pair_households_min=1, lift_min=1e-9)
CATEGORY = {"taco shells": "mexican", "salsa": "mexican", "bread": "bakery", "Milk": "dairy", "tea": ""}

Basket = tuple[int, float, list[str]]  # household, day, phrases

_PURCHASES = {
    "household_id": pl.Int64,
    "time_ms": pl.Int64,
    "basket_id": pl.Int64,
    "phrase": pl.String,
    "category_phrase": pl.String,
}
_SEARCHES = {
    "household_id": pl.Int64,
    "time_ms": pl.Int64,
    "at_ms": pl.Int64,
    "basket_id": pl.Int64,
    "action": pl.Int64,
    "text": pl.String,
}

# The worked example: three households, seven baskets, four weeks.
TACO_NIGHTS: list[Basket] = [
    (1, 0, ["taco shells", "salsa"]),
    (1, 3, ["salsa"]),
    (1, 20, ["taco shells"]),
    (2, 1, ["taco shells", "salsa", "bread"]),
    (2, 5, ["bread"]),
    (3, 2, ["bread"]),
    (3, 4, ["salsa"]),
]


def bought(baskets: Iterable[Basket]) -> pl.DataFrame:
    """Purchases; the baskets are numbered from 100."""
    rows = [
        (household, int(day * DAY_MS), number, phrase, CATEGORY.get(phrase.strip(), "other"))
        for number, (household, day, phrases) in enumerate(baskets, 100)
        for phrase in phrases
    ]
    return pl.DataFrame(rows, _PURCHASES, orient="row")


def searched(searches: Iterable[tuple[int, float, int | None, str]]) -> pl.DataFrame:
    """Searches: household, day, number of the basket (None: without one), text."""
    code = ACTION_CODES[Action.SEARCH]
    rows = [
        (household, int(day * DAY_MS), int(day * DAY_MS), basket, code, text)
        for household, day, basket, text in searches
    ]
    return pl.DataFrame(rows, _SEARCHES, orient="row")


def drawn_log(seed: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Purchases and searches of a few weeks: two baskets at one time, texts in two writings, repeats."""
    chance = random.Random(seed)
    texts = ["taco shells", "Taco  Shells", "salsa", "bread", "Milk", "milk", "tea", "mexican"]
    baskets = [
        (chance.randrange(4), chance.randrange(40) / 2, chance.choices(texts, k=chance.randint(1, 4)))
        for _ in range(chance.randint(4, 25))
    ]
    searches: list[tuple[int, float, int | None, str]] = [
        (chance.randrange(4), chance.randrange(40) / 2, None, chance.choice([*texts, "party"]))
        for _ in range(chance.randint(0, 6))
    ]
    for _ in range(chance.randint(0, 4)):
        number = chance.randrange(len(baskets))
        household, day, _ = baskets[number]
        searches.append((household, day, 100 + number, chance.choice([*texts, "party"])))
    return bought(baskets), searched(searches)
