"""A small shop's data set with simulated hints, and checkpoints that were never trained."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from tests.logs import write_jsonl
from tests.support import DAY_MS, NOON_MS, event_json
from training.base import blank_checkpoint
from training.checkpoint import CHECKPOINT_NAME, load_run, save_checkpoint
from training.datasets.build import build_dataset
from training.datasets.complete_journey import Span
from training.datasets.dataset import Dataset
from training.datasets.dataset_config import PARTS, DatasetConfig
from training.datasets.interface import impressions
from training.network import Shape
from training.ranker import RANKER_NAME, ClickRanker, HintFeatures, save_ranker
from training.sessions import REST

STAPLES = ["milk", "eggs", "bread", "tea", "ground coffee", "soap"]
GOODS = [*STAPLES, "beer", "red wine", "crackers", "cheese", "diapers", "baby wipes", "dog food", "cat food"]
NEW_GOODS = ["mulled wine", "gingerbread"]  # sold from day 75 on: no training basket holds them
DAYS = 90
PEOPLE = 10
TINY = Shape(width=8, heads=2, feed_forward=16, hints=4)


def purchases() -> Iterator[dict[str, Any]]:
    """Ten people with habits of their own buy about every third day."""
    for day in range(DAYS):
        for person in range(PEOPLE):
            chance = random.Random(f"{day}:{person}")
            if chance.random() < 0.65 or (person == PEOPLE - 1 and day < 85):  # the last one is new
                continue
            own = random.Random(person).sample(GOODS, 5)
            goods = chance.sample(own, 3) + chance.sample(GOODS, 2)
            goods += [chance.choice(NEW_GOODS)] * (day >= 75 and chance.random() < 0.5)
            at_ms = NOON_MS + day * DAY_MS + chance.randrange(DAY_MS // 2)
            for place, text in enumerate(dict.fromkeys(goods)):
                yield event_json("purchase", text, at_ms + place * 1000, f"u{person}")


def small_dataset(folder: Path) -> Dataset:
    """Split 80/10/10 by time; its hints are drawn as those of The Complete Journey, with propensities."""
    log = write_jsonl(folder / "shop.jsonl", purchases())
    data = build_dataset(folder / "data", DatasetConfig(log=log))
    return with_simulated_hints(data)


def with_simulated_hints(data: Dataset) -> Dataset:
    """The data set with hints drawn before baskets and in their middle."""
    span = Span(data.split.train.start_ms, data.split.test.end_ms)
    samples = [one for part in PARTS for one in data.samples(part).samples]
    amid = {one.basket_id: one.items for one in samples if one.task == REST}
    shown = impressions(data.purchases, data.queries, span, seed=0, amid=amid)
    return replace(data, impressions=shown)


def blank_run(data: Dataset, folder: Path, seed: int = 0) -> Path:
    """A checkpoint with random weights as `folder`/generator.pt; returns the folder."""
    torch.manual_seed(seed)
    blank = blank_checkpoint(data, TINY)
    save_checkpoint(replace(blank, weights=blank.blank_network().state_dict()), folder / CHECKPOINT_NAME)
    return folder


def blank_ranker(data: Dataset, folder: Path, seed: int = 0) -> Path:
    """A ranker with random weights on a blank base, whose places take away a little each."""
    base = load_run(blank_run(data, folder / "base"))
    torch.manual_seed(seed)
    ranker = ClickRanker(HintFeatures.of(base))
    with torch.no_grad():
        ranker.place.weight[:, 0] = -0.2 * torch.arange(len(ranker.place.weight))
    save_ranker(ranker, folder / RANKER_NAME)
    return folder
