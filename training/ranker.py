"""The click ranker: p̂(click | shopper, query, position), from impressions and their clicks.

    p = σ( f(features) + e_position )        e_0 = 0

f is a small network on agents.hints.ranking_features; e is what a position takes away whatever stands there
(the position-based model in logits). Trained by log loss on every hint that was shown. The paper's ranker is
a production model whose form is not given (§3.5.1); it serves as reward (r_CTR, Eq 14) and orders the
published list, and so does ours.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import polars as pl
import torch
import torch.nn.functional as F  # noqa: N812 - PyTorch's own convention
from torch import Tensor, nn

from agents.hints.context import Contexts
from agents.hints.ranking_features import RANKING_FEATURES, ranking_features
from streams.errors import TrainingError
from training.base import blank_checkpoint
from training.checkpoint import Checkpoint
from training.datasets.dataset import Dataset
from training.datasets.whole_files import replaced
from training.loop import LossOf, Plan, batch_rows, run_steps
from training.network import Shape
from training.processes import ALONE, World, share
from training.sessions import NEXT, Samples, taken

RANKER_NAME: Final = "ranker.pt"
POSITIONS: Final = 16
HIDDEN_UNITS: Final = 32
CHUNK: Final = 4_096
FEATURES: Final = len(RANKING_FEATURES)


class ClickRanker(nn.Module):
    """Two hidden layers; the click rate to begin with is 1 in 20."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(FEATURES, HIDDEN_UNITS)
        self.second = nn.Linear(HIDDEN_UNITS, HIDDEN_UNITS)
        self.last = nn.Linear(HIDDEN_UNITS, 1)
        self.place = nn.Embedding(POSITIONS, 1)
        nn.init.zeros_(self.place.weight)
        nn.init.constant_(self.last.bias, -3.0)

    def logits(self, features: Tensor, position: Tensor) -> Tensor:
        """(…, F) float32 features and (…,) int positions to (…,) logits; positions from POSITIONS on count
        as the last."""
        place = self.place.weight - self.place.weight[:1]
        hidden = F.relu(self.second(F.relu(self.first(features))))
        flat = position.clamp(max=POSITIONS - 1).reshape(-1)
        taken_away = place.index_select(0, flat).reshape(position.shape)
        relevance: Tensor = self.last(hidden).squeeze(-1)
        return relevance + taken_away

    def forward(self, features: Tensor, position: Tensor) -> Tensor:
        """Click probabilities, (…,)."""
        return torch.sigmoid(self.logits(features, position))


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
    """N hints that were shown: features (N, F), position (N,), clicked (N,) 0 or 1, households (N,)."""

    features: npt.NDArray[np.float32]
    position: npt.NDArray[np.int32]
    clicked: npt.NDArray[np.float32]
    households: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.clicked)


@dataclass(frozen=True, slots=True)
class LexiconFeatures:
    """Ranking features of contexts for the queries of a lexicon. units: (V, D); log_popularity: (V,)."""

    units: npt.NDArray[np.float32]
    log_popularity: npt.NDArray[np.float32]

    @classmethod
    def of(cls, checkpoint: Checkpoint) -> LexiconFeatures:
        """Of a checkpoint's lexicon."""
        counts = np.array([count for _, count in checkpoint.lexicon], np.float32)
        return cls(checkpoint.query_units(), np.log1p(counts))

    def every(self, contexts: Contexts) -> npt.NDArray[np.float32]:
        """(B, V, F): of every query."""
        return self.of_queries(contexts, np.arange(len(self.units)))

    def of_queries(self, contexts: Contexts, numbers: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        """(B, N, F) of the queries (N,), or (B, N) when each context has its own."""
        return ranking_features(contexts, self.units[numbers], self.log_popularity[numbers], numbers)


def clicks_of(
    ranker: ClickRanker, lexicon: LexiconFeatures, contexts: Contexts, numbers: npt.NDArray[np.int64]
) -> Tensor:
    """p̂ (B, N) of each context's own queries (B, N), each as on the first place."""
    features = torch.from_numpy(lexicon.of_queries(contexts, numbers))
    with torch.no_grad():
        p: Tensor = ranker(features, torch.zeros(features.shape[:2], dtype=torch.int32))
    return p


def run_ranker(out: Path, data: Dataset, config: RankerConfig = RankerConfig(), world: World = ALONE) -> Path:
    """Train on the training span's impressions, or go on with the run in `out`; returns `out`/ranker.pt.

    Raises TrainingError.
    """
    torch.manual_seed(config.seed)
    shown = shown_hints(data, data.samples("train"), "train")
    network = ClickRanker()
    plan = Plan(
        steps=max(1, round(config.passes * len(shown) / config.batch)),
        learning_rate=config.learning_rate,
        weight_decay=config.weight_decay,
        seed=config.seed,
        threads=config.threads,
    )
    identity = {"config": asdict(replace(config, threads=0)), "data": data.about["files"]}
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
    logits = network.logits(torch.from_numpy(shown.features[rows]), torch.from_numpy(shown.position[rows]))
    return F.binary_cross_entropy_with_logits(logits, torch.from_numpy(shown.clicked[rows]))


def shown_hints(data: Dataset, samples: Samples, part: str) -> Shown:
    """The impressions of a part, each with the features of its shopper when the shop was opened.

    An impression belongs to the next-basket sample of the same basket. Raises TrainingError without any.
    """
    span = getattr(data.split, part)
    inside = pl.col("time_ms").is_between(span.start_ms, span.end_ms, closed="left")
    shown = with_features(data.impressions.filter(inside), samples, data)
    if not len(shown):
        raise TrainingError(
            f"No hint was shown in the {part} span, so there is no click to learn from.",
            action="Take a log with hint_impression and hint_click events, or the built-in data.",
        )
    return shown


def with_features(impressions: pl.DataFrame, samples: Samples, data: Dataset) -> Shown:
    """Impressions of a data set, in their order; those are left out whose basket has no next-basket sample
    in `samples`, and those of a query that the lexicon lacks."""
    row_of = {one.basket_id: row for row, one in enumerate(samples.samples) if one.task == NEXT}
    known = pl.col("number").is_not_null() & pl.col("position").is_not_null()
    rows = impressions.filter(pl.col("basket_id").is_in(list(row_of)) & known)
    places = np.array([row_of[basket] for basket in rows["basket_id"].to_list()], np.int64)
    lexicon = LexiconFeatures.of(blank_checkpoint(data, Shape()))
    return Shown(
        _features(samples.contexts, places, rows["number"].to_numpy().astype(np.int64), lexicon),
        rows["position"].to_numpy().astype(np.int32),
        rows["clicked"].to_numpy().astype(np.float32),
        rows["household_id"].to_numpy().astype(np.int64),
    )


def _features(
    contexts: Contexts,
    places: npt.NDArray[np.int64],
    numbers: npt.NDArray[np.int64],
    lexicon: LexiconFeatures,
) -> npt.NDArray[np.float32]:
    """(N, F) of one query for each of N contexts, some at a time."""
    parts = [
        lexicon.of_queries(
            taken(contexts, places[start : start + CHUNK]), numbers[start : start + CHUNK, None]
        )
        for start in range(0, len(places), CHUNK)
    ]
    return np.concatenate(parts)[:, 0] if parts else np.zeros((0, FEATURES), np.float32)


def save_ranker(network: ClickRanker, path: Path) -> None:
    """Write the weights in one step."""
    with replaced(path) as unfinished:
        torch.save({"features": list(RANKING_FEATURES), "weights": network.state_dict()}, unfinished)


def load_ranker(path: Path) -> ClickRanker:
    """The ranker of a run's folder, or of its file; nothing in it is executed. Raises TrainingError."""
    path = path / RANKER_NAME if path.is_dir() else path
    try:
        content: dict[str, Any] = torch.load(path, weights_only=True)
        if content["features"] != list(RANKING_FEATURES):
            raise ValueError("it was trained on other features")
        network = ClickRanker()
        network.load_state_dict(content["weights"])
    except Exception as error:
        raise TrainingError(
            f"{path} is no ranker of this version: {error}.",
            action="Train it again with `aigq train ranker`.",
        ) from error
    return network.eval()
