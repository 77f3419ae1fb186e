"""Plain list-SFT: the token loss of the paper's Eq 5, over the choices that the trie leaves open.

    L = −Σ_t w_t · log p(node_t | context, nodes before t) / Σ_t w_t

The loss is plain; what matters is how the target list is put together (training.targets). Our departures:
weights w_t, the trie, and a network trained from nothing in minutes instead of a fine-tuned 30B model.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from torch import Tensor

from agents.hints.context import Contexts
from streams.errors import TrainingError
from streams.hint_request import to_unit
from training.checkpoint import CHECKPOINT_NAME, Checkpoint, save_checkpoint
from training.datasets.complete_journey import TRAIN, load_phrases, load_purchases
from training.decoder import Generator
from training.embeddings import phrase_vectors, word_table
from training.lexicon import build_lexicon, train_tokenizer
from training.network import Shape
from training.progress import Report, progress
from training.sessions import SampleMaker, Samples, taken
from training.targets import TargetRule, target_arrays

WARM_UP = 0.05  # share of the steps
CLIP = 1.0
WARM_SAMPLES = 60_000


@dataclass(frozen=True, slots=True)
class SftConfig:
    """Everything a run depends on besides the data. households: 0 = all."""

    seed: int = 0
    passes: float = 1.0
    batch: int = 128
    learning_rate: float = 2e-3
    weight_decay: float = 0.01
    households: int = 0
    threads: int = 1
    rule: TargetRule = field(default_factory=TargetRule)
    shape: Shape = field(default_factory=Shape)


SMALL = SftConfig(
    passes=1.0,
    batch=64,
    households=20,
    shape=Shape(width=32, heads=2, feed_forward=64, encoder_layers=1, decoder_layers=1),
)


def run_sft(
    out: Path, *, small: bool = False, seed: int = 0, threads: int = 1, passes: float | None = None
) -> Path:
    """Train on The Complete Journey; returns the checkpoint's path, `out`/generator.pt.

    small: a tiny network on a slice of the households, well under a minute. Raises TrainingError.
    """
    config = replace(SMALL if small else SftConfig(), seed=seed, threads=threads)
    if passes is not None:
        config = replace(config, passes=passes)
    checkpoint = train(config, load_purchases(TRAIN))
    save_checkpoint(checkpoint, out / CHECKPOINT_NAME)
    return out / CHECKPOINT_NAME


def train(config: SftConfig, purchases: pl.DataFrame) -> Checkpoint:
    """Lexicon, tokenizer, embeddings, samples and network from the purchases of the training span."""
    torch.set_num_threads(config.threads)
    torch.manual_seed(config.seed)
    purchases = _households(purchases, config.households)
    blank = prepared(config, purchases)
    numbers = {query: number for number, query in enumerate(blank.queries)}
    samples = SampleMaker(blank.encoder(), numbers, TRAIN, seed=config.seed).make(purchases)
    network = blank.blank_network()
    run = fit(network, samples, blank, config)
    return replace(blank, weights=network.state_dict(), run=run)


def prepared(config: SftConfig, purchases: pl.DataFrame) -> Checkpoint:
    """The checkpoint before training: all but the weights."""
    lexicon = build_lexicon(purchases)
    phrases = load_phrases()
    tokenizer = train_tokenizer([*phrases["phrase"].to_list(), *phrases["category_phrase"].to_list()])
    queries = [query for query, _ in lexicon]
    weights = np.log1p([count for _, count in lexicon])
    table = word_table(tokenizer, queries, phrase_vectors(purchases, queries), weights.tolist())
    shape = replace(
        config.shape, tokens=len(table) + len(queries), hints=min(config.shape.hints, len(queries))
    )
    return Checkpoint(shape, lexicon, tokenizer, table, {})


def fit(network: Generator, samples: Samples, blank: Checkpoint, config: SftConfig) -> dict[str, Any]:
    """Train in place; returns settings and figures of the run. Raises TrainingError when the loss is lost."""
    begin_with_habit(network, samples)
    steps = max(1, round(config.passes * len(samples) / config.batch))
    optimizer = torch.optim.AdamW(
        network.parameters(), config.learning_rate, weight_decay=config.weight_decay, betas=(0.9, 0.98)
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, config.learning_rate, total_steps=steps + 1, pct_start=WARM_UP, cycle_momentum=False
    )
    network.train()
    started, mean_loss = time.perf_counter(), 0.0
    watch: AbstractContextManager[Report] = progress("list-SFT", steps)
    with watch as report:
        for step, (contexts, nodes, weights) in enumerate(_batches(samples, blank, config, steps), 1):
            loss = batch_loss(network, contexts, nodes, weights)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(network.parameters(), CLIP)
            optimizer.step()
            schedule.step()
            mean_loss += (_finite(loss, step) - mean_loss) * max(0.02, 1 / step)
            report(step, f"loss {mean_loss:.3f}")
    network.eval()
    return {
        "config": asdict(config),
        "samples": len(samples),
        "steps": steps,
        "loss": round(mean_loss, 4),
        "train_s": round(time.perf_counter() - started),
    }


def batch_loss(network: Generator, contexts: Contexts, nodes: Tensor, weights: Tensor) -> Tensor:
    """Weighted mean negative log-probability of the target nodes, a scalar. nodes, weights: (B, T)."""
    inputs = {name: torch.from_numpy(values) for name, values in contexts.inputs().items()}
    loss: Tensor = -(network.decoder(*network.read(**inputs), nodes) * weights).sum() / weights.sum()
    return loss


def begin_with_habit(network: Generator, samples: Samples) -> None:
    """Start the prior from the regression of what was bought on the interests."""
    chosen = np.arange(0, len(samples), max(1, len(samples) // WARM_SAMPLES))
    bought = np.zeros((len(chosen), network.prior.habit.out_features), np.float32)
    for row, place in enumerate(chosen):
        bought[row, list(samples.samples[place].items)] = 1.0
    network.prior.warm(to_unit(samples.contexts.interests[chosen]), bought)


def _batches(
    samples: Samples, blank: Checkpoint, config: SftConfig, steps: int
) -> Iterator[tuple[Contexts, Tensor, Tensor]]:
    """`steps` batches; each pass draws a new order of samples and of every target list."""
    noise = np.random.default_rng(config.seed)
    trie = blank.trie()
    paths = [trie.path(int(leaf)) for leaf in trie.leaves()]
    counts = np.array([count for _, count in blank.lexicon], np.float32)
    rule = replace(config.rule, hints=blank.shape.hints, steps=blank.shape.steps)
    order = np.empty(0, np.int64)
    for _ in range(steps):
        if len(order) < config.batch:
            order = np.concatenate([order, noise.permutation(len(samples))])
        rows, order = order[: config.batch], order[config.batch :]
        chosen = [samples.samples[row] for row in rows]
        nodes, weights = target_arrays(chosen, paths, counts / counts.max(), rule, noise)
        width = max(1, int((nodes > 0).sum(1).max()))
        yield (
            taken(samples.contexts, rows),
            torch.from_numpy(nodes[:, :width].copy()),
            torch.from_numpy(weights[:, :width].copy()),
        )


def _households(purchases: pl.DataFrame, count: int) -> pl.DataFrame:
    if not count:
        return purchases
    chosen = purchases["household_id"].unique().sort().head(count)
    return purchases.filter(pl.col("household_id").is_in(chosen.to_list()))


def _finite(loss: Tensor, step: int) -> float:
    value = float(loss.detach())
    if not np.isfinite(value):
        raise TrainingError(
            f"The loss is {value} at step {step}; no checkpoint was written.",
            action="Lower the learning rate, or look at the data of this run.",
        )
    return value
