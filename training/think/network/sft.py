"""IL-SFT of the Think network: the token loss over trace ‖ points (Eq 7–9), points in order of interest.

    L = −Σ_b Σ_t log π(y_bt | history_b, y_b1 … y_b,t−1) / Σ_b n_b

over the tokens that are a choice: what the grammar leaves no choice about is no part of the mean. Without
the trace the same points are learned alone, to see what reasoning is worth (the paper's Table 2).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Final

import torch
from torch import Tensor

from training.datasets.dataset import Dataset
from training.loop import LossOf, Plan, batch_rows, run_steps
from training.think.mining.association import training_counts
from training.think.network.decode import choices, masks_of, of_tokens, padded
from training.think.network.samples import ThinkSamples, mined_samples
from training.think.network.stored import NETWORK_NAME, StoredNetwork, blank_network, save_network
from training.think.network.tokens import FIRST_QUERY, Lexicon
from training.think.network.transformer import ThinkNetwork, ThinkShape

SHOWN: Final = ("query_loss",)


@dataclass(frozen=True, slots=True)
class ThinkSftConfig:
    """All that a run depends on besides data and histories. traced: with rationales. Values: ours."""

    seed: int = 0
    steps: int = 400
    batch: int = 32
    learning_rate: float = 2e-3
    weight_decay: float = 0.05
    traced: bool = True
    shape: ThinkShape = field(default_factory=ThinkShape)
    save_every: int = 100
    threads: int = 1


SMALL: Final = ThinkSftConfig(
    steps=120,
    batch=16,
    learning_rate=5e-3,
    shape=ThinkShape(width=32, heads=2, feed_forward=64, encoder_layers=1, decoder_layers=2),
)


def run_think_sft(
    out: Path,
    data: Dataset,
    work: Path,
    config: ThinkSftConfig = ThinkSftConfig(),
) -> Path:
    """Train, or go on with the run in `out`; returns the network's file, `out`/think.pt.

    work: a folder of `aigq think mine`. Raises DatasetError, TrainingError.
    """
    encoder, lexicon = data.encoder(), Lexicon(data.queries)
    config = replace(config, shape=replace(config.shape, dim=encoder.dim))
    samples = mined_samples(work, lexicon, encoder, traced=config.traced)
    network = blank_network(data, training_counts(data), config.shape, config.seed)
    plan = Plan(
        steps=config.steps,
        learning_rate=config.learning_rate,
        weight_decay=config.weight_decay,
        save_every=config.save_every,
        seed=config.seed,
        threads=config.threads,
    )
    settings = asdict(replace(config, threads=0, save_every=0))
    identity = {"config": settings, "data": data.about["files"], "samples": samples.name()}
    points = run_steps(
        out, network, think_sft_loss(network, samples, config), plan, "Think, IL-SFT",
        identity=identity, shown=SHOWN,
    )  # fmt: skip
    run = {"method": "think-sft", "config": settings, "samples": len(samples),
           "left_out": len(samples.left_out), **points[-1]}  # fmt: skip
    stored = StoredNetwork(config.shape, data.lexicon, config.traced, encoder.name, network.state_dict(), run)
    save_network(stored, out / NETWORK_NAME)
    return out / NETWORK_NAME


def think_sft_loss(network: ThinkNetwork, samples: ThinkSamples, config: ThinkSftConfig) -> LossOf:
    """The loss of step 1 …"""

    def loss_of(step: int) -> tuple[Tensor, dict[str, float]]:
        rows = batch_rows(len(samples), config.batch, config.seed, step)
        inputs, grammars, outputs = samples.some(rows)
        tokens = torch.from_numpy(padded(outputs)).to(network.device)
        masks = masks_of(grammars, outputs).to(network.device)
        logits, _ = network.write(network.read(inputs.to(network.device)), tokens[:, :-1])
        open_, policy = choices(logits, masks)
        losses = -of_tokens(policy, tokens, open_)
        asked = tokens[:, 1:][open_] >= FIRST_QUERY
        return losses.mean(), {
            "query_loss": _mean(losses[asked]),
            "other_loss": _mean(losses[~asked]),
            "tokens": len(losses) / len(rows),
            "weight": float(len(losses)),
        }

    return loss_of


def _mean(losses: Tensor) -> float:
    return float(losses.detach().mean()) if len(losses) else 0.0
