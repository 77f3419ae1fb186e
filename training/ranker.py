"""The click ranker: p̂(click | shopper, query, position), a small network on top of the base.

    p = σ( f(features, wanted) + e_position )        e_0 = 0

f reads agents.hints.ranking_features, and as one number more how much the base wants the query here,
log softmax(s)_q / 10 (training.prior): what goes with a basket that is under way stands in no other feature.
The base stays as it is. e is what a position takes away whatever stands there (the position-based model in
logits). The paper's ranker is a production model whose form is not given (§3.5.1); it serves as reward
(r_CTR, Eq 14) and orders the published list, and so does ours. training.ranker_run trains it.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F  # noqa: N812 - PyTorch's own convention
from torch import Tensor, nn

from agents.hints.context import Contexts
from agents.hints.ranking_features import RANKING_FEATURES, ranking_features
from streams.errors import TrainingError
from training.checkpoint import Checkpoint, parse_checkpoint, write_checkpoint
from training.datasets.whole_files import replaced
from training.generator import Generator, tensors

RANKER_NAME: Final = "ranker.pt"
POSITIONS: Final = 16
HIDDEN_UNITS: Final = 32
WANTED_SCALE: Final = 0.1
FEATURES: Final = len(RANKING_FEATURES) + 1

Float32 = npt.NDArray[np.float32]
Int64 = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class HintFeatures:
    """What the ranker reads of contexts and queries. units: (V, D) of the base's lexicon; log_popularity:
    (V,). network: the base's, ready."""

    base: Checkpoint
    network: Generator
    units: Float32
    log_popularity: Float32

    @classmethod
    def of(cls, base: Checkpoint) -> HintFeatures:
        """On a base, or on any checkpoint whose prior is to be asked."""
        counts = np.array([count for _, count in base.lexicon], np.float32)
        return cls(base, base.network(), base.query_units(), np.log1p(counts))

    def every(self, contexts: Contexts) -> Float32:
        """(B, V, FEATURES): of every query."""
        return self.of_queries(contexts, np.arange(len(self.units)))

    def of_queries(self, contexts: Contexts, numbers: Int64) -> Float32:
        """(B, N, FEATURES) of the queries (N,), or (B, N) when each context has its own."""
        return self.of_texts(contexts, self.units[numbers], self.log_popularity[numbers], numbers)

    def of_texts(
        self, contexts: Contexts, units: Float32, log_popularity: Float32, numbers: Int64
    ) -> Float32:
        """As `of_queries` for any texts: units (…, D), log_popularity (…), numbers -1 where the lexicon lacks
        one. Such a text is wanted like the least wanted query."""
        known = ranking_features(contexts, units, log_popularity, numbers)
        wanted = self.wanted(contexts)
        own = np.broadcast_to(numbers, known.shape[:2])
        there = np.take_along_axis(wanted, np.maximum(own, 0), 1)
        there = np.where(own >= 0, there, wanted.min(1, keepdims=True))
        return np.concatenate([known, there[:, :, None]], -1)

    def wanted(self, contexts: Contexts) -> Float32:
        """(B, V): the base's log-probability of each query, scaled."""
        with torch.no_grad():
            scores = self.network.scores(**tensors(contexts))
        return np.asarray(wanted_of(scores).numpy(), np.float32)


def wanted_of(scores: Tensor) -> Tensor:
    """(…, V) of the prior's scores: the feature beside RANKING_FEATURES."""
    return scores.log_softmax(-1) * WANTED_SCALE


class ClickRanker(nn.Module):
    """Two hidden layers; the click rate to begin with is 1 in 20. Its weights are all but the base's."""

    def __init__(self, features: HintFeatures) -> None:
        super().__init__()
        self.features = features
        self.first = nn.Linear(FEATURES, HIDDEN_UNITS)
        self.second = nn.Linear(HIDDEN_UNITS, HIDDEN_UNITS)
        self.last = nn.Linear(HIDDEN_UNITS, 1)
        self.place = nn.Embedding(POSITIONS, 1)
        nn.init.zeros_(self.place.weight)
        nn.init.constant_(self.last.bias, -3.0)

    @property
    def device(self) -> torch.device:
        """Where its weights are; the base stays on the CPU."""
        return self.place.weight.device

    def logits(self, features: Tensor, position: Tensor) -> Tensor:
        """(…, FEATURES) float32 and (…,) int positions to (…,) logits; positions from POSITIONS on count as
        the last."""
        place = self.place.weight - self.place.weight[:1]
        hidden = F.relu(self.second(F.relu(self.first(features))))
        flat = position.clamp(max=POSITIONS - 1).reshape(-1)
        taken_away = place.index_select(0, flat).reshape(position.shape)
        relevance: Tensor = self.last(hidden).squeeze(-1)
        return relevance + taken_away

    def forward(self, features: Tensor, position: Tensor) -> Tensor:
        """Click probabilities, (…,)."""
        return torch.sigmoid(self.logits(features, position))

    def clicks(self, contexts: Contexts, numbers: Int64) -> Tensor:
        """p̂ (B, N) of each context's own queries (B, N), each as on the first place."""
        features = torch.from_numpy(self.features.of_queries(contexts, numbers))
        with torch.no_grad():
            p: Tensor = self(features, torch.zeros(features.shape[:2], dtype=torch.int32))
        return p


class RankerGraph(nn.Module):
    """The ranker with its base as one graph, for B contexts and the N candidates of them all; contract of
    agents.hints.ranking."""

    def __init__(self, ranker: ClickRanker) -> None:
        super().__init__()
        self.base, self.ranker = ranker.features.network, ranker

    def forward(
        self,
        events: Tensor,
        actions: Tensor,
        ages: Tensor,
        interests: Tensor,
        habits: Tensor,
        habit_rows: Tensor,
        features: Tensor,
        numbers: Tensor,
        position: Tensor,
        rows: Tensor,
    ) -> Tensor:
        """The contexts' arrays, features (N, F), numbers, position and rows (N,) to probabilities (N,)."""
        wanted = wanted_of(self.base.scores(events, actions, ages, ages, interests, habits, habit_rows))
        places = rows.to(torch.int64) * wanted.shape[1] + numbers.clamp(min=0)
        there = wanted.reshape(-1).index_select(0, places)
        there = torch.where(numbers >= 0, there, wanted.amin(1).index_select(0, rows))
        p: Tensor = self.ranker(torch.cat([features, there.unsqueeze(-1)], -1), position)
        return p


def save_ranker(network: ClickRanker, path: Path) -> None:
    """Write weights and base in one step."""
    base = io.BytesIO()
    write_checkpoint(network.features.base, base)
    content = {"features": list(RANKING_FEATURES), "weights": network.state_dict(), "base": base.getvalue()}
    with replaced(path) as unfinished:
        torch.save(content, unfinished)


def load_ranker(path: Path) -> ClickRanker:
    """The ranker of a run's folder, or of its file; nothing in it is executed. Raises TrainingError."""
    path = path / RANKER_NAME if path.is_dir() else path
    try:
        content: dict[str, Any] = torch.load(path, weights_only=True)
        if content["features"] != list(RANKING_FEATURES):
            raise ValueError("it was trained on other features")
        network = ClickRanker(HintFeatures.of(parse_checkpoint(io.BytesIO(content["base"]))))
        network.load_state_dict(content["weights"])
    except Exception as error:
        raise TrainingError(
            f"{path} is no ranker of this version: {error}.",
            action="Train it again with `aigq train ranker`.",
        ) from error
    return network.eval()
