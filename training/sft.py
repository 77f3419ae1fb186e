"""List-SFT: the loss of the paper's Eq 5–6 over a list whose hints are single choices.

    L = −Σ_b w_b Σ_j log p(q_bj | context_b, q_b1 … q_b,j−1) / Σ_b w_b n_b       (n_b hints in list b)

The loss is plain; what matters is how the target list is put together (training.targets): IL-SFT's is
interest-ordered, plain SFT's is one query, the third order is any. Our departures: weights w_b, whole
queries as choices (training.slots), and a base of our own (training.base) to start from.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn

from agents.hints.context import Contexts
from training.base import WARM_DAYS, same_words, trained_on
from training.checkpoint import CHECKPOINT_NAME, Checkpoint, digest, save_checkpoint
from training.datasets.dataset import Dataset
from training.generator import Generator, tensors
from training.grpo_config import Sessions
from training.label_blocks import Blocks, sessions_of
from training.loop import LossOf, OptimizerOf, Plan, batch_rows, run_steps, step_noise
from training.processes import ALONE, World, share
from training.ranker import ClickRanker
from training.sessions import Samples, taken
from training.slots import list_log_probs
from training.targets import TargetRule, target_lists

SHOWN: Final = ("hints",)


@dataclass(frozen=True, slots=True)
class SftConfig:
    """Everything a run depends on besides data, start and ranker. sessions: see training.label_blocks.
    decoder_rate: the decoder's learning rate, as a share of the prior's."""

    seed: int = 0
    sessions: Sessions = "day"
    steps: int = 200
    batch: int = 256
    learning_rate: float = 5e-4
    decoder_rate: float = 0.2
    weight_decay: float = 0.01
    warm_days: int = WARM_DAYS
    threads: int = 1
    rule: TargetRule = field(default_factory=TargetRule)


SMALL: Final = SftConfig(steps=60, batch=64, warm_days=0)


def run_sft(
    out: Path,
    start: Checkpoint,
    data: Dataset,
    config: SftConfig = SftConfig(),
    *,
    ranker: ClickRanker,
    world: World = ALONE,
) -> Path:
    """Go on from `start`, or with the run in `out`; returns the checkpoint, `out`/generator.pt.

    ranker: orders what fills the lists. Raises TrainingError.
    """
    same_words(start, data)
    network = start.network()
    blocks = Blocks.made(data, start, ranker, config.sessions)
    samples = sessions_of(trained_on(data, config.warm_days), config.sessions, blocks.clicked)
    plan = Plan(
        steps=config.steps,
        learning_rate=config.learning_rate,
        weight_decay=config.weight_decay,
        betas=(0.9, 0.999),
        seed=config.seed,
        threads=config.threads,
    )
    identity = {
        "config": asdict(replace(config, threads=0)),
        "data": data.about["files"],
        "start": digest(start.weights),
        "ranker": digest(ranker.state_dict()),
    }
    points = run_steps(
        out,
        network,
        sft_loss(network, samples, start, config, blocks, world),
        plan,
        f"SFT, {config.rule.order} order",
        identity=identity,
        world=world,
        optimizer_of=two_rates(config.decoder_rate),
        shown=SHOWN,
    )
    run = {
        "method": "sft",
        "config": asdict(config),
        "start": start.run,
        "samples": len(samples),
        **points[-1],
    }
    if world.writes:
        save_checkpoint(replace(start, weights=network.state_dict(), run=run), out / CHECKPOINT_NAME)
    return out / CHECKPOINT_NAME


def sft_loss(
    network: Generator,
    samples: Samples,
    start: Checkpoint,
    config: SftConfig,
    blocks: Blocks,
    world: World = ALONE,
) -> LossOf:
    """The loss of step 1 …; each pass draws a new order of samples and of every target list."""
    counts = np.array([count for _, count in start.lexicon], np.float32)
    rule = replace(config.rule, hints=start.shape.hints)

    def loss_of(step: int) -> tuple[Tensor, dict[str, float]]:
        rows = batch_rows(len(samples), config.batch, config.seed, step)
        noise, part = step_noise(config.seed, step), samples.at(rows)
        targets = target_lists(part.samples, counts / counts.max(), rule, noise, *blocks.of(part, rule))
        lists, weights = share(targets.lists, world), share(targets.weights, world)
        contexts = taken(samples.contexts, share(rows, world))
        logp = slot_log_probs(network, contexts, torch.from_numpy(lists))
        sizes = torch.from_numpy(weights)
        whole = float(sizes.sum())
        figures = {"hints": float((lists >= 0).sum(1).mean()), "weight": whole}
        return -(logp * sizes.to(network.device)).sum() / whole, figures

    return loss_of


def slot_log_probs(network: Generator, contexts: Contexts, lists: Tensor) -> Tensor:
    """Log-probabilities of one list per context, (B, K); missing slots give 0."""
    logits = network.logits(**tensors(contexts, network.device))
    logp, _ = list_log_probs(logits, lists.unsqueeze(1).to(network.device))
    return logp.squeeze(1)


def two_rates(decoder_rate: float) -> OptimizerOf:
    """AdamW in which all but the prior learns at a share of the rate.

    Slots that learn as fast as the prior soon write the same for everybody.
    """

    def optimizer_of(network: nn.Module, plan: Plan) -> torch.optim.Optimizer:
        prior = [values for name, values in network.named_parameters() if name.startswith("prior.")]
        rest = [values for name, values in network.named_parameters() if not name.startswith("prior.")]
        slow = decoder_rate * plan.learning_rate
        groups: list[dict[str, Any]] = [{"params": prior}, {"params": rest, "lr": slow}]
        return torch.optim.AdamW(groups, plan.learning_rate, plan.betas, weight_decay=plan.weight_decay)

    return optimizer_of
