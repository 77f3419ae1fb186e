"""A shop whose baskets have themes: what belongs together is known, and shoppers meet new goods each week."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.logs import write_jsonl
from tests.support import DAY_MS, NOON_MS, event_json
from training.datasets.build import build_dataset
from training.datasets.dataset import Dataset
from training.datasets.dataset_config import DatasetConfig

THEMES = {
    "taco night": "taco shells,salsa,ground beef,sour cream,tortilla chips,refried beans,limes,avocado",
    "new baby": "diapers,baby wipes,baby food,baby formula,baby lotion,pacifier,bibs,rattle",
    "breakfast": "milk,eggs,bacon,bagels,orange juice,pancake mix,butter,syrup",
    "spring cleaning": "sponges,bleach,mop,glass cleaner,trash bags,rubber gloves,broom,dish soap",
    "dog": "dry dog food,dog treats,dog toys,dog collar,flea treatment,dog bed,leash,dog shampoo",
    "baking": "flour,sugar,baking powder,vanilla,chocolate chips,cake mix,frosting,sprinkles",
}
GOODS = {theme: texts.split(",") for theme, texts in THEMES.items()}
DAYS = 110
PEOPLE = 40


def shopping() -> Iterator[dict[str, Any]]:
    """About every fourth day somebody buys three goods of one theme; some search for it first."""
    for day in range(DAYS):
        for person in range(PEOPLE):
            chance = random.Random(f"{day}:{person}")
            if chance.random() < 0.75:
                continue
            theme = chance.choice(list(GOODS))
            at_ms = NOON_MS + day * DAY_MS + chance.randrange(DAY_MS // 2)
            if chance.random() < 0.4:
                yield event_json("search", theme, at_ms - 60_000, f"u{person}")
            for place, text in enumerate(chance.sample(GOODS[theme], 3)):
                yield event_json("purchase", text, at_ms + place * 1000, f"u{person}")


def themed_dataset(folder: Path) -> Dataset:
    """Eleven weeks to train on, three to validate, ten days to test."""
    log = write_jsonl(folder / "themed.jsonl", shopping())
    spans = {"validate_from_ms": NOON_MS + 77 * DAY_MS, "test_from_ms": NOON_MS + 100 * DAY_MS}
    return build_dataset(folder / "data", DatasetConfig(log=log, **spans))


def theme_of(text: str) -> str:
    """The theme that a good or a search belongs to."""
    return next(theme for theme, goods in GOODS.items() if text in (theme, *goods))
