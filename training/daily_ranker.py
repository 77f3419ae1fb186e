"""The ranker's morning: a few hundred steps on yesterday's hints, mixed with older ones.

    φ_{T+1} ← Train(φ_T, D_T)          D_T: every batch is (1 − ρ) of day T and ρ replayed        [P Eq 15]

The paper says that the ranker is refreshed with yesterday's log, and not how (§3.4). Ours: a day of
The Complete Journey has some 1,300 hints with 65 clicks, which a network of 1,600 weights learns by heart;
so most of a batch is replayed (experience replay; Rolnick et al. 2019), and with the steps given here each
hint of yesterday is seen about four times, as often as each of the training span was. What is replayed was
learnt from before: hints of the training span and of the loop's earlier days. Nothing else is new to φ but
yesterday.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
from torch import Tensor

from streams.errors import TrainingError
from training.checkpoint import digest
from training.datasets.dataset import Dataset
from training.loop import LossOf, Plan, batch_rows, run_steps
from training.ranker import RANKER_NAME, ClickRanker, HintFeatures, save_ranker
from training.ranker_run import Shown, log_loss_of, with_features

Int64 = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class RefreshConfig:
    """Of one morning. replay: ρ, share of a batch that is replayed, rounded to hints. pool: hints of the
    training span that may be. Raises TrainingError for a value that cannot be meant."""

    steps: int = 200
    batch: int = 256
    replay: float = 0.9
    pool: int = 50_000
    learning_rate: float = 3e-4  # a tenth of the training's
    weight_decay: float = 1e-4

    def __post_init__(self) -> None:
        if not (0 <= self.replay < 1 and min(self.steps, self.batch, self.pool) >= 1):
            raise TrainingError(
                f"The ranker cannot be refreshed with {self}; nothing was trained.",
                action="Give a replay from 0 up to below 1, and steps, batch and pool of at least 1.",
            )

    @property
    def fresh(self) -> int:
        """Hints of yesterday in a batch, at least one."""
        return max(1, round((1 - self.replay) * self.batch))


def refresh_ranker(
    out: Path,
    before: ClickRanker,
    yesterday: Shown,
    older: Shown,
    config: RefreshConfig = RefreshConfig(),
    *,
    seed: int = 0,
    threads: int = 1,
    identity: Mapping[str, Any] | None = None,
) -> ClickRanker:
    """φ_{T+1} from φ_T, which stays as it is; also as `out`/ranker.pt. Goes on with the run in `out`.

    identity: what names the hints, as training.loop has it. Raises TrainingError.
    """
    network = ClickRanker(before.features)
    network.load_state_dict(before.state_dict())
    plan = Plan(
        steps=config.steps,
        learning_rate=config.learning_rate,
        weight_decay=config.weight_decay,
        seed=seed,
        threads=threads,
    )
    named = {"config": asdict(config), "start": digest(before.state_dict()), **(identity or {})}
    loss_of = refresh_loss(network, yesterday, older, config, seed)
    run_steps(out, network, loss_of, plan, f"ranker, {out.parent.name}", identity=named)
    save_ranker(network, out / RANKER_NAME)
    return network.eval()


def refresh_loss(
    network: ClickRanker, yesterday: Shown, older: Shown, config: RefreshConfig, seed: int
) -> LossOf:
    """Mean log loss of a step's hints."""
    both = joined_hints([yesterday, older])

    def loss_of(step: int) -> tuple[Tensor, dict[str, float]]:
        return log_loss_of(network, both, mixed_rows(len(yesterday), len(older), config, seed, step)), {}

    return loss_of


def mixed_rows(yesterday: int, older: int, config: RefreshConfig, seed: int, step: int) -> Int64:
    """(batch,) rows of yesterday's hints followed by older ones, each passed over and over; yesterday's alone
    when there is nothing older."""
    fresh = config.fresh if older else config.batch
    rows = batch_rows(yesterday, fresh, seed, step)
    if fresh == config.batch:
        return rows
    return np.concatenate([rows, yesterday + batch_rows(older, config.batch - fresh, seed, step)])


def replay_pool(data: Dataset, count: int, seed: int, features: HintFeatures) -> Shown:
    """At most `count` hints of the training span, drawn evenly."""
    samples = data.samples("train")
    span = data.split.train
    baskets = list({one.basket_id for one in samples.samples})
    rows = data.impressions.filter(
        pl.col("time_ms").is_between(span.start_ms, span.end_ms, closed="left")
        & pl.col("basket_id").is_in(baskets)
    )
    drawn = np.random.default_rng((seed, 2)).permutation(rows.height)[:count]
    return with_features(rows[np.sort(drawn)], samples, features)


def joined_hints(parts: Sequence[Shown]) -> Shown:
    """Hints one part after the other; at least one part."""
    return Shown(
        np.concatenate([part.features for part in parts]),
        np.concatenate([part.position for part in parts]),
        np.concatenate([part.clicked for part in parts]),
        np.concatenate([part.households for part in parts]),
    )
