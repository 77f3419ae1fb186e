"""What a target list is made of besides what was bought: clicked hints, and queries that the ranker prefers.

Two kinds of session (§3.3.1), and what fills their lists:

    day      a basket and what led to it, as the paper's Think sessions: clicked ‖ bought ‖ the start's own
             candidates by click probability, none weaker than the rule's `weak`
    direct   a page view with at least one click, as the paper's Direct sessions: clicked ‖ Rank-TopK, the
             ranker's best of what is recalled (Eq 3); what was bought is not looked at
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl
import torch

from agents.hints.context import Contexts
from streams.errors import TrainingError
from training.checkpoint import Checkpoint
from training.datasets.dataset import Dataset
from training.generator import Generator, tensors
from training.grpo_config import Sessions
from training.ranker import ClickRanker
from training.sessions import Samples
from training.targets import TargetRule

GENERATED: Final = 2  # candidates per hint
POPULAR: Final = 100

Clicked = Mapping[tuple[int, int], list[int]]
Int64 = npt.NDArray[np.int64]


def clicked_hints(data: Dataset) -> Clicked:
    """Lexicon numbers of the clicked hints, by the basket and the task that they were shown for."""
    rows = data.impressions.filter(pl.col("clicked") & pl.col("number").is_not_null())
    clicked: defaultdict[tuple[int, int], list[int]] = defaultdict(list)
    for basket, task, number in rows.select("basket_id", "task", "number").iter_rows():
        clicked[basket, task].append(number)
    return dict(clicked)


def sessions_of(samples: Samples, kind: Sessions, clicked: Clicked) -> Samples:
    """The samples that are sessions of a kind. Direct ones hold nothing of the basket.

    Raises TrainingError when there are none.
    """
    if kind == "day":
        return samples
    rows = [row for row, one in enumerate(samples.samples) if (one.basket_id, one.task) in clicked]
    if not rows:
        raise TrainingError(
            "No hint of the training span was clicked, so there are no direct sessions.",
            action="Train on day sessions, or take a log with hint_click events.",
        )
    views = samples.at(np.array(rows, np.int64))
    return Samples([replace(one, items=(), habit=()) for one in views.samples], views.contexts)


@dataclass(frozen=True, slots=True)
class Blocks:
    """The first and the last block of target lists; see the module."""

    kind: Sessions
    clicked: Clicked
    start: Generator
    ranker: ClickRanker

    @classmethod
    def made(cls, data: Dataset, start: Checkpoint, ranker: ClickRanker, kind: Sessions = "day") -> Blocks:
        """Of a data set's impressions and the checkpoint to start from."""
        return cls(kind, clicked_hints(data), start.network(), ranker.eval())

    def of(self, samples: Samples, rule: TargetRule) -> tuple[list[list[int]], list[list[int]]]:
        """Per sample its clicked and its generated queries, the best first."""
        numbers = self._candidates(samples, rule)
        click = self.ranker.clicks(samples.contexts, np.maximum(numbers, 0)).numpy()
        click = np.where(numbers >= 0, click, -1.0)
        weak = rule.weak if self.kind == "day" else 0.0
        order = np.argsort(-click, axis=1, kind="stable")[:, : GENERATED * rule.hints]
        strong = np.take_along_axis(click, order, 1) >= weak
        ranked = np.take_along_axis(numbers, order, 1)
        generated = [row[kept].tolist() for row, kept in zip(ranked, strong, strict=True)]
        return [self.clicked.get((one.basket_id, one.task), []) for one in samples.samples], generated

    def _candidates(self, samples: Samples, rule: TargetRule) -> Int64:
        """(B, N) distinct lexicon numbers, -1 for none."""
        if self.kind == "direct":
            return recalled(samples.contexts, len(self.ranker.features.units))
        with torch.no_grad():
            scores = self.start.scores(**tensors(samples.contexts))
        return scores.topk(min(GENERATED * rule.hints, scores.shape[1])).indices.numpy()


def recalled(contexts: Contexts, lexicon: int) -> Int64:
    """(B, H + POPULAR): the queries of each shopper's past and the most popular ones, -1 for none.

    Some hundred of them, as in the paper's cascade of recall and ranking (Fig 1).
    """
    past = contexts.habits[:, :, 0].astype(np.int64) - 1
    popular = np.broadcast_to(np.arange(min(POPULAR, lexicon)), (len(past), min(POPULAR, lexicon)))
    twice = (popular[:, :, None] == past[:, None, :]).any(2)
    return np.concatenate([past, np.where(twice, -1, popular)], axis=1)
