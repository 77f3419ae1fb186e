"""List-SFT: the loss of the paper's Eq 5–6 over a list whose hints are single choices.

    L = −Σ_b w_b Σ_j log p(q_bj | context_b, q_b1 … q_b,j−1) / Σ_b w_b n_b       (n_b hints in list b)

The loss is plain; what matters is how the target list is put together (training.targets): IL-SFT's is
interest-ordered, plain SFT's is one query, the third order is any. Our departures: weights w_b, whole
queries as choices (training.slots), and a network trained from nothing in minutes instead of a language model
of 30B parameters; what that knows beforehand, ours takes from co-purchases (training.prior, `begin`).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl
import torch
from torch import Tensor, nn

from streams.hint_request import to_unit
from training.checkpoint import CHECKPOINT_NAME, Checkpoint, save_checkpoint
from training.datasets.dataset import Dataset
from training.generator import Generator, tensors
from training.loop import LossOf, OptimizerOf, Plan, batch_rows, run_steps, step_noise
from training.neighbours import neighbours_of
from training.network import Shape
from training.processes import ALONE, World, share
from training.sessions import Samples, taken
from training.slots import list_log_probs
from training.targets import TargetRule, target_lists

WARM_SAMPLES: Final = 60_000
SHOWN: Final = ("hints",)


@dataclass(frozen=True, slots=True)
class SftConfig:
    """Everything a run depends on besides the data. warm_days: samples of the first days are left out, since
    nobody has a past yet. decoder_rate: the decoder's learning rate, as a share of the prior's."""

    seed: int = 0
    passes: float = 2.0
    batch: int = 256
    learning_rate: float = 5e-3
    decoder_rate: float = 0.2
    weight_decay: float = 0.05
    warm_days: int = 60
    threads: int = 1
    rule: TargetRule = field(default_factory=TargetRule)
    shape: Shape = field(default_factory=Shape)


SMALL: Final = SftConfig(passes=1.0, batch=64, warm_days=0, shape=Shape(width=32, heads=2, feed_forward=64))


def run_sft(out: Path, data: Dataset, config: SftConfig = SftConfig(), world: World = ALONE) -> Path:
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
        seed=config.seed,
        threads=config.threads,
    )
    identity = {"config": asdict(replace(config, threads=0)), "data": data.about["files"]}
    loss_of = sft_loss(network, samples, blank, config, world)
    points = run_steps(
        out,
        network,
        loss_of,
        plan,
        f"SFT, {config.rule.order} order",
        identity=identity,
        world=world,
        optimizer_of=_two_rates(config),
        shown=SHOWN,
    )
    run = {
        "method": "sft",
        "config": asdict(config),
        "samples": len(samples),
        "steps": plan.steps,
        **points[-1],
    }
    if world.writes:
        save_checkpoint(replace(blank, weights=network.state_dict(), run=run), out / CHECKPOINT_NAME)
    return out / CHECKPOINT_NAME


def blank_checkpoint(data: Dataset, shape: Shape) -> Checkpoint:
    """The checkpoint before training: all but the weights."""
    fitting = replace(shape, dim=data.table.shape[1], hints=min(shape.hints, len(data.lexicon)))
    return Checkpoint(fitting, data.lexicon, data.tokenizer, data.table, {})


def trained_on(data: Dataset, warm_days: int) -> Samples:
    """The training part's samples after the first days that teach something."""
    samples = data.samples("train")
    start_ms = data.split.train.start_ms + 86_400_000 * warm_days
    rows = [row for row, one in enumerate(samples.samples) if one.time_ms >= start_ms and one.items]
    return samples.at(np.array(rows, np.int64))


def begin(network: Generator, samples: Samples, data: Dataset) -> None:
    """Start the prior from the regression of what was bought on the interests, and from EASE."""
    chosen = np.arange(0, len(samples), max(1, len(samples) // WARM_SAMPLES))
    bought = np.zeros((len(chosen), len(data.lexicon)), np.float32)
    for row, place in enumerate(chosen):
        bought[row, list(samples.samples[place].items)] = 1.0
    number = {query: place for place, query in enumerate(data.queries)}
    learnt = data.purchases.filter(pl.col("time_ms") < data.split.train.end_ms)
    network.prior.begin(to_unit(samples.contexts.interests[chosen]), bought, neighbours_of(learnt, number))


def sft_loss(
    network: Generator, samples: Samples, blank: Checkpoint, config: SftConfig, world: World
) -> LossOf:
    """The loss of step 1 …: each pass draws a new order of samples and of every target list."""
    counts = np.array([count for _, count in blank.lexicon], np.float32)
    rule = replace(config.rule, hints=blank.shape.hints)

    def loss_of(step: int) -> tuple[Tensor, dict[str, float]]:
        rows = batch_rows(len(samples), config.batch, config.seed, step)
        noise = step_noise(config.seed, step)
        chosen = [samples.samples[row] for row in rows]
        lists, weights = target_lists(chosen, counts / counts.max(), rule, noise)
        rows, lists, weights = share(rows, world), share(lists, world), share(weights, world)
        targets, sizes = torch.from_numpy(lists), torch.from_numpy(weights)
        logp = slot_log_probs(network, taken(samples.contexts, rows), targets)
        hints = (targets >= 0).sum(1)
        whole = (sizes * hints).sum()
        loss = -(logp.sum(1) * sizes).sum() / whole
        return loss, {"hints": float(hints.float().mean()), "weight": float(whole)}

    return loss_of


def slot_log_probs(network: Generator, contexts: Any, lists: Tensor) -> Tensor:
    """Log-probabilities of one list per context, (B, K); missing slots give 0."""
    logp, _ = list_log_probs(network.logits(**tensors(contexts)), lists.unsqueeze(1))
    return logp.squeeze(1)


def _two_rates(config: SftConfig) -> OptimizerOf:
    def optimizer_of(network: nn.Module, plan: Plan) -> torch.optim.Optimizer:
        prior: list[nn.Parameter] = []
        rest: list[nn.Parameter] = []
        for name, parameter in network.named_parameters():
            (prior if name.startswith("prior.") else rest).append(parameter)
        slow = {"params": rest, "lr": config.decoder_rate * plan.learning_rate}
        return torch.optim.AdamW(
            [{"params": prior}, slow], plan.learning_rate, plan.betas, weight_decay=plan.weight_decay
        )

    return optimizer_of
