"""The base that every other training starts from: the prior alone, on what baskets held.

    L = −Σ_b w_b Σ_{q ∈ b} log softmax(s_b)_q / Σ_b w_b n_b

one softmax over the lexicon for each context, and every query of the basket a target of it (multi-label).
It takes the place of the paper's pre-trained language model: what is learned here in a minute is who buys
what, and what goes together; the list is learned after it (training.sft, training.grpo). Ours.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
import polars as pl
import torch
from torch import Tensor

from streams.errors import TrainingError
from streams.hint_request import to_unit
from training.checkpoint import CHECKPOINT_NAME, Checkpoint, save_checkpoint
from training.datasets.dataset import Dataset
from training.datasets.teachable import k_of
from training.generator import Generator, tensors
from training.loop import LossOf, Plan, batch_rows, run_steps
from training.neighbours import neighbours_of
from training.network import Shape
from training.processes import ALONE, World, share
from training.sessions import REST, Samples, taken

WARM_SAMPLES = 60_000
DAY_MS = 86_400_000
WARM_DAYS = 60


@dataclass(frozen=True, slots=True)
class BaseConfig:
    """Everything a run depends on besides the data. balance: each query of a basket of n weighs n^-balance.
    rest_weight: of samples from the middle of a basket. warm_days: samples of the first days are left out,
    since nobody has a past yet."""

    seed: int = 0
    passes: float = 2.0
    batch: int = 256
    learning_rate: float = 5e-3
    weight_decay: float = 0.05
    balance: float = 0.5
    rest_weight: float = 2.0
    warm_days: int = WARM_DAYS
    threads: int = 1
    shape: Shape = field(default_factory=Shape)


SMALL = BaseConfig(passes=1.0, batch=64, warm_days=0, shape=Shape(width=32, heads=2, feed_forward=64))


def run_base(
    out: Path,
    data: Dataset,
    config: BaseConfig = BaseConfig(),
    world: World = ALONE,
) -> Path:
    """Train, or go on with the run in `out`; returns the checkpoint, `out`/generator.pt.

    Raises TrainingError.
    """
    torch.manual_seed(config.seed)
    samples = trained_on(data, config.warm_days)
    blank = blank_checkpoint(data, config.shape)
    network = blank.blank_network()
    begin(network, samples, data)
    plan = Plan(
        steps=max(1, round(config.passes * len(samples) / config.batch)),
        learning_rate=config.learning_rate,
        weight_decay=config.weight_decay,
        betas=(0.9, 0.999),  # most rows of the lexicon are rarely seen
        seed=config.seed,
        threads=config.threads,
    )
    identity = {"config": asdict(replace(config, threads=0)), "data": data.about["files"]}
    loss_of = base_loss(network, samples, config, world)
    points = run_steps(out, network, loss_of, plan, "base", identity=identity, world=world)
    k = {"k_anonymity": k_of(data.about)}
    run = {"method": "base", "config": asdict(config), **k, "samples": len(samples), **points[-1]}
    if world.writes:
        save_checkpoint(replace(blank, weights=network.state_dict(), run=run), out / CHECKPOINT_NAME)
    return out / CHECKPOINT_NAME


def blank_checkpoint(data: Dataset, shape: Shape) -> Checkpoint:
    """The checkpoint before training: all but the weights."""
    fitting = replace(shape, dim=data.table.shape[1], hints=min(shape.hints, len(data.lexicon)))
    return Checkpoint(fitting, data.lexicon, data.tokenizer, data.table, {})


def trained_on(data: Dataset, warm_days: int = WARM_DAYS) -> Samples:
    """The training part's samples that teach something, without those of the first days, of which at most a
    quarter of the span is left out. Raises TrainingError when there are none."""
    samples, span = data.samples("train"), data.split.train
    start_ms = span.start_ms + min(DAY_MS * warm_days, (span.end_ms - span.start_ms) // 4)
    rows = [row for row, one in enumerate(samples.samples) if one.time_ms >= start_ms and one.items]
    if not rows:
        raise TrainingError(
            "The training span holds no basket with a query of the lexicon; nothing was trained.",
            action="Take more data: `aigq data show` says how much there is.",
        )
    return samples.at(np.array(rows, np.int64))


def same_words(start: Checkpoint, data: Dataset) -> None:
    """Raises TrainingError when a checkpoint's queries or embeddings are not the data set's."""
    if start.lexicon != data.lexicon or start.encoder().name != data.encoder().name:
        raise TrainingError(
            "The start was trained on another data set: its lexicon or its encoder differs.",
            action="Train base, ranker, lists and IL-GRPO on one data set, one after the other.",
        )


def begin(network: Generator, samples: Samples, data: Dataset) -> None:
    """Start the prior from the regression of what was bought on the interests, and from EASE."""
    chosen = np.arange(0, len(samples), max(1, len(samples) // WARM_SAMPLES))
    bought = np.zeros((len(chosen), len(data.lexicon)), np.float32)
    for row, place in enumerate(chosen):
        bought[row, list(samples.samples[place].items)] = 1.0
    number = {query: place for place, query in enumerate(data.queries)}
    learnt = data.purchases.filter(pl.col("time_ms") < data.split.train.end_ms)
    network.prior.begin(to_unit(samples.contexts.interests[chosen]), bought, neighbours_of(learnt, number))


def base_loss(network: Generator, samples: Samples, config: BaseConfig, world: World) -> LossOf:
    """The loss of step 1 …; each pass draws a new order of samples."""

    def loss_of(step: int) -> tuple[Tensor, dict[str, float]]:
        rows = share(batch_rows(len(samples), config.batch, config.seed, step), world)
        wanted = torch.zeros((len(rows), len(network.prior.bias)))
        for place, row in enumerate(rows):
            sample = samples.samples[row]
            weight = config.rest_weight if sample.task == REST else 1.0
            wanted[place, list(sample.items)] = weight * len(sample.items) ** -config.balance
        scores = network.scores(**tensors(taken(samples.contexts, rows), network.device))
        whole = float(wanted.sum())
        return -(wanted.to(network.device) * scores.log_softmax(-1)).sum() / whole, {"weight": whole}

    return loss_of
