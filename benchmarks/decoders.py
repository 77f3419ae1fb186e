"""Slots side by side or one sequence: both decoders on the same data with the same budget.

    python -m benchmarks.decoders --data data/complete-journey [--passes 1] [--json]

The sequence writes hint after hint, each seeing those before it in full, as the paper's language model does
(§3.1); a query is one choice in both, both begin with the same scores of the context, and neither may write a
query twice. Reported on validation: recall@10, recall@3, how many of 10 hints would have been duplicates had
they been allowed, categories in 10, and the cost of a list on one core (alternating runs, median of the ratio).
Decision 0010 has the outcome; the sequence lives here and nowhere else.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

import numpy as np
import orjson
import torch
from torch import Tensor, nn

from training.checkpoint import Checkpoint
from training.datasets.dataset import Dataset, load_dataset
from training.generator import Generator, tensors
from training.loop import LossOf, Plan, batch_rows, rate_share, step_noise
from training.network import HIDDEN, Layer, Shape, layers_of
from training.processes import ALONE
from training.sessions import NEXT, Samples, taken
from training.sft import SftConfig, begin, blank_checkpoint, sft_loss, trained_on
from training.slots import greedy
from training.targets import target_lists

ROUNDS: Final = 15


class SequenceDecoder(nn.Module):
    """As training.slots.SlotDecoder, but step by step: hint j sees hints 1 to j−1, not the other slots."""

    def __init__(self, shape: Shape, queries: Tensor) -> None:
        super().__init__()
        self.begin = nn.Parameter(torch.randn(shape.width) * 0.02)
        self.places = nn.Parameter(torch.randn(shape.hints, shape.width) * 0.02)
        self.layers = nn.ModuleList(Layer(shape, cross=True) for _ in range(shape.decoder_layers))
        self.norm = nn.LayerNorm(shape.width)
        nn.init.constant_(self.norm.weight, 0.02)
        self.query = nn.Parameter(queries @ torch.randn(shape.dim, shape.width) * shape.width**-0.5)

    def forward(self, memory: Tensor, bias: Tensor, scores: Tensor, lists: Tensor) -> Tensor:
        """Teacher-forced logits (B, T, V) of the hints (B, T), −1 where there is none."""
        rows, steps = lists.shape
        fed = self.query[lists.clamp(min=0)][:, :-1]
        x = torch.cat([self.begin.expand(rows, 1, -1), fed], 1) + self.places[:steps]
        width = x.shape[-1]
        x = x.reshape(-1, width)
        ahead = torch.full((steps, steps), HIDDEN).triu(1)
        for layer in layers_of(self.layers):
            y = layer.norm(x)
            x = x + layer.attention(y, *layer.attention.keys_values(y, rows), ahead)
            x = layer.feed_forward(layer.look(x, *layer.context(memory, rows), bias))
        h = (self.norm(x) @ self.query.transpose(0, 1)).reshape(rows, steps, -1)
        return h + scores.unsqueeze(1)

    def write(self, memory: Tensor, bias: Tensor, scores: Tensor, hints: int) -> tuple[Tensor, Tensor]:
        """Greedy hints (B, hints) with keys and values kept, and how many would have come twice, (B,)."""
        rows = scores.shape[0]
        seen = [layer.context(memory, rows) for layer in layers_of(self.layers)]
        kept: list[tuple[Tensor, Tensor]] = []
        x, closed = self.begin.expand(rows, -1), torch.zeros_like(scores)
        lists, repeats = [], torch.zeros(rows)
        for step in range(hints):
            x = x + self.places[step]
            for place, layer in enumerate(layers_of(self.layers)):
                y = layer.norm(x)
                keys, values = layer.attention.keys_values(y, rows)
                if step:
                    keys, values = (torch.cat(pair, 2) for pair in zip(kept[place], (keys, values), strict=True))
                kept[place : place + 1] = [(keys, values)]
                x = x + layer.attention(y, keys, values, torch.zeros(()))
                x = layer.feed_forward(layer.look(x, *seen[place], bias))
            logits = self.norm(x) @ self.query.transpose(0, 1) + scores
            repeats += closed.gather(1, logits.argmax(-1, keepdim=True)).squeeze(1) < 0
            chosen = (logits + closed).argmax(-1)
            closed = closed.scatter(1, chosen.unsqueeze(1), HIDDEN)
            lists.append(chosen)
            x = self.query[chosen]
        return torch.stack(lists, 1), repeats


class SequenceGenerator(Generator):
    """The generator with the other decoder."""

    def __init__(self, shape: Shape, queries: Tensor, popularity: Tensor) -> None:
        super().__init__(shape, queries, popularity)
        self.sequence = SequenceDecoder(shape, queries)

    def read(self, inputs: dict[str, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Memory, its bias, and the context's scores."""
        vectors, wishes = (inputs[name].to(torch.float32) / 127.0 for name in ("events", "interests"))
        codes = [inputs[name] for name in ("actions", "ages", "repeats")]
        scores = self.prior(vectors, codes[0], codes[1], wishes, inputs["habits"].to(torch.int32))
        return (*self.encoder(vectors, *codes, wishes), scores)


@dataclass(frozen=True, slots=True)
class Outcome:
    """Figures of one decoder on the validation part's next baskets."""

    recall_at_10: float
    recall_at_3: float
    repeats_of_10: float
    seconds_to_train: float


def sequence_loss(network: SequenceGenerator, samples: Samples, blank: Checkpoint, config: SftConfig) -> LossOf:
    """As training.sft.sft_loss, on the same batches and lists."""
    counts = np.array([count for _, count in blank.lexicon], np.float32)

    def loss_of(step: int) -> tuple[Tensor, dict[str, float]]:
        rows = batch_rows(len(samples), config.batch, config.seed, step)
        chosen = [samples.samples[row] for row in rows]
        made = target_lists(chosen, counts / counts.max(), config.rule, step_noise(config.seed, step))
        lists, sizes = (torch.from_numpy(part) for part in made)
        logits = network.sequence(*network.read(tensors(taken(samples.contexts, rows))), lists)
        present = lists >= 0
        gone = torch.zeros_like(logits)
        for slot in range(1, lists.shape[1]):  # what was written is closed
            gone[:, slot] = gone[:, slot - 1].scatter(1, lists[:, slot - 1 : slot].clamp(min=0), HIDDEN)
        logp = (logits + gone).log_softmax(-1).gather(2, lists.clamp(min=0).unsqueeze(-1)).squeeze(-1)
        whole = (sizes * present.sum(1)).sum()
        return -(torch.where(present, logp, torch.zeros(())).sum(1) * sizes).sum() / whole, {}

    return loss_of
