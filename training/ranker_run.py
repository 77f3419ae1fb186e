"""Trains the click ranker (training.ranker) by log loss on every hint that was shown."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl
import torch
import torch.nn.functional as F  # noqa: N812 - PyTorch's own convention
from torch import Tensor

from agents.hints.context import Contexts
from streams.errors import TrainingError
from training.base import same_words
from training.checkpoint import Checkpoint, digest
from training.datasets.dataset import Dataset
from training.loop import LossOf, Plan, batch_rows, run_steps
from training.processes import ALONE, World, share
from training.ranker import FEATURES, RANKER_NAME, ClickRanker, HintFeatures, save_ranker
from training.sessions import Samples, taken

CHUNK: Final = 4_096


@dataclass(frozen=True, slots=True)
class RankerConfig:
    """Settings of a run. passes: over all impressions."""

    seed: int = 0
    passes: float = 4.0
    batch: int = 1_024
    learning_rate: float = 3e-3
    weight_decay: float = 1e-4
    threads: int = 1


@dataclass(frozen=True, slots=True)
class Shown:
    """N shown hints: features (N, FEATURES), position (N,), clicked (N,), 0 or 1, households (N,)."""

    features: npt.NDArray[np.float32]
    position: npt.NDArray[np.int32]
    clicked: npt.NDArray[np.float32]
    households: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.clicked)


def run_ranker(
    out: Path,
    base: Checkpoint,
    data: Dataset,
    config: RankerConfig = RankerConfig(),
    world: World = ALONE,
) -> Path:
    """Train on the training span's impressions, or go on with the run in `out`; returns `out`/ranker.pt.

    base: says what is wanted where. Raises TrainingError.
    """
    same_words(base, data)
    torch.manual_seed(config.seed)
    network = ClickRanker(HintFeatures.of(base))
    shown = shown_hints(data, data.samples("train"), "train", network.features)
    plan = Plan(
        steps=max(1, round(config.passes * len(shown) / config.batch)),
        learning_rate=config.learning_rate,
        weight_decay=config.weight_decay,
        seed=config.seed,
        threads=config.threads,
    )
    identity = {"config": asdict(replace(config, threads=0)), "data": data.about["files"]}
    identity |= {"base": digest(base.weights)}
    loss_of = click_loss(network, shown, config, world)
    run_steps(out, network, loss_of, plan, "ranker", identity=identity, world=world)
    if world.writes:
        save_ranker(network, out / RANKER_NAME)
    return out / RANKER_NAME


def click_loss(network: ClickRanker, shown: Shown, config: RankerConfig, world: World) -> LossOf:
    """Mean log loss of a step's impressions."""

    def loss_of(step: int) -> tuple[Tensor, dict[str, float]]:
        rows = share(batch_rows(len(shown), config.batch, config.seed, step), world)
        return log_loss_of(network, shown, rows), {"weight": float(len(rows))}

    return loss_of


def log_loss_of(network: ClickRanker, shown: Shown, rows: npt.NDArray[np.int64]) -> Tensor:
    """Mean log loss of the named impressions, a scalar."""
    features, position, clicked = (
        torch.from_numpy(values[rows]).to(network.device)
        for values in (shown.features, shown.position, shown.clicked)
    )
    return F.binary_cross_entropy_with_logits(network.logits(features, position), clicked)


def shown_hints(data: Dataset, samples: Samples, part: str, features: HintFeatures) -> Shown:
    """The impressions of a part, each with the features of its shopper at that time.

    Raises TrainingError without any.
    """
    span = getattr(data.split, part)
    inside = pl.col("time_ms").is_between(span.start_ms, span.end_ms, closed="left")
    shown = with_features(data.impressions.filter(inside), samples, features)
    if not len(shown):
        raise TrainingError(
            f"No hint was shown in the {part} span, so there is no click to learn from.",
            action="Take a log with hint_impression and hint_click events, or the built-in data.",
        )
    return shown


def with_features(impressions: pl.DataFrame, samples: Samples, features: HintFeatures) -> Shown:
    """Impressions of a data set, in their order; those are left out whose basket has no sample of the same
    task in `samples`, and those of a query that the lexicon lacks."""
    keys = [(one.basket_id, one.task, row) for row, one in enumerate(samples.samples)]
    known = pl.col("number").is_not_null() & pl.col("position").is_not_null()
    rows = impressions.filter(known).join(
        pl.DataFrame(keys, _SAMPLE, orient="row"), on=["basket_id", "task"], maintain_order="left"
    )
    return Shown(
        _features(samples.contexts, rows["row"].to_numpy(), rows["number"].to_numpy(), features),
        rows["position"].to_numpy().astype(np.int32),
        rows["clicked"].to_numpy().astype(np.float32),
        rows["household_id"].to_numpy().astype(np.int64),
    )


_SAMPLE: Final = {"basket_id": pl.Int64, "task": pl.Int64, "row": pl.Int64}


def _features(
    contexts: Contexts,
    places: npt.NDArray[np.int64],
    numbers: npt.NDArray[np.int64],
    features: HintFeatures,
) -> npt.NDArray[np.float32]:
    """(N, FEATURES) of one query for each of N contexts, some at a time."""
    parts = [
        features.of_queries(
            taken(contexts, places[start : start + CHUNK]), numbers[start : start + CHUNK, None]
        )
        for start in range(0, len(places), CHUNK)
    ]
    return np.concatenate(parts)[:, 0] if parts else np.zeros((0, FEATURES), np.float32)
