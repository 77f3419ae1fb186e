"""The paper's comparison from nothing: every run that `aigq evaluate` judges, one after the other.

    DATA                    the data set (training.datasets)
    RUNS/base               the prior, on what baskets held
    RUNS/ranker             click probabilities, from impressions, on the first seed's base
    RUNS/sft list_sft il_sft          one query; any order; interest order; on day sessions, from the base
    RUNS/grpo il_grpo                 per list; per hint; from il_sft
    RUNS/direct_sft … direct_il_grpo  the same on direct sessions (training.label_blocks), from nothing
    RUNS/curves-sft.png curves-grpo.png

Seed 0's runs carry no seed in their names. A run that is complete is left as it is, one that was stopped goes
on: the whole can be stopped and started again at any time.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import torch

from training import base, grpo, ranker_run, sft
from training.checkpoint import Checkpoint, load_run
from training.curves import draw_curves
from training.datasets.build import build_dataset
from training.datasets.dataset import Dataset
from training.datasets.dataset_config import DatasetConfig
from training.grpo_config import GrpoConfig, Level
from training.ranker import ClickRanker, load_ranker
from training.run_state import CURVE_NAME
from training.targets import Order

ORDERS: Final[dict[str, Order]] = {"sft": "single", "list_sft": "random", "il_sft": "interest"}
LEVELS: Final[dict[str, Level]] = {"grpo": "sequence", "il_grpo": "query"}
PICTURES: Final = {
    "curves-sft.png": (("sft", "list_sft", "il_sft"), ("loss", "norm")),
    "curves-grpo.png": (("grpo", "il_grpo"), ("reward", "ctr", "rouge", "entropy", "hints", "categories")),
}


@dataclass(frozen=True, slots=True)
class Methods:
    """The settings of one kind of session's arms; order and level differ from arm to arm, nothing else."""

    sft: sft.SftConfig
    grpo: GrpoConfig


@dataclass(frozen=True, slots=True)
class Budget:
    """How much is trained."""

    seeds: int
    households: int
    base: base.BaseConfig
    ranker: ranker_run.RankerConfig
    day: Methods
    direct: Methods


WHOLE: Final = Budget(
    seeds=3,
    households=0,
    base=base.BaseConfig(),
    ranker=ranker_run.RankerConfig(),
    day=Methods(sft.SftConfig(), GrpoConfig()),
    direct=Methods(
        # A blank network has all to learn: a higher rate.
        sft.SftConfig(sessions="direct", learning_rate=3e-3),
        # And its lists are sharp enough by themselves: at 0.3 the first slots leave nothing to the others.
        GrpoConfig(sessions="direct", temperature=1.0, learning_rate=1e-3),
    ),
)
SMALL: Final = Budget(
    seeds=1,
    households=40,
    base=base.SMALL,
    ranker=ranker_run.RankerConfig(batch=256),
    day=Methods(sft.SMALL, GrpoConfig(steps=10, batch=16)),
    direct=Methods(replace(sft.SMALL, sessions="direct"), GrpoConfig(sessions="direct", steps=10, batch=16)),
)


def reproduce(data_folder: Path, runs: Path, budget: Budget = WHOLE, *, threads: int = 1) -> Dataset:
    """Make all that is missing; returns the data set. Raises DatasetError, TrainingError."""
    data = build_dataset(data_folder, DatasetConfig(households=budget.households))
    seeds = [_Seed(seed, runs, data, threads) for seed in range(budget.seeds)]
    first = seeds[0].base(budget)
    ranker_run.run_ranker(runs / "ranker", first, data, replace(budget.ranker, threads=threads))
    for seed in seeds:
        seed.train(budget, load_ranker(runs / "ranker"))
    for name, (arms, figures) in PICTURES.items():
        draw_curves({arm: runs / arm / CURVE_NAME for arm in arms}, runs / name, figures)
    return data


@dataclass(frozen=True, slots=True)
class _Seed:
    seed: int
    runs: Path
    data: Dataset
    threads: int

    def base(self, budget: Budget) -> Checkpoint:
        """What lists are learned from."""
        config = replace(budget.base, seed=self.seed, threads=self.threads)
        return load_run(base.run_base(self._folder("base"), self.data, config))

    def train(self, budget: Budget, ranker: ClickRanker) -> None:
        """All arms of one seed."""
        self._arms("", self.base(budget), budget.day, ranker)
        torch.manual_seed(self.seed)
        blank = base.blank_checkpoint(self.data, budget.base.shape)
        blank = replace(blank, weights=blank.blank_network().state_dict(), run={"method": "blank"})
        self._arms("direct_", blank, budget.direct, ranker)

    def _arms(self, kind: str, first: Checkpoint, methods: Methods, ranker: ClickRanker) -> None:
        for arm, order in ORDERS.items():
            rule = replace(methods.sft.rule, order=order)
            config = replace(methods.sft, seed=self.seed, threads=self.threads, rule=rule)
            sft.run_sft(self._folder(kind + arm), first, self.data, config, ranker=ranker)
        start = load_run(self._folder(kind + "il_sft"))
        for arm, level in LEVELS.items():
            settings = replace(methods.grpo, seed=self.seed, level=level)
            folder = self._folder(kind + arm)
            grpo.run_grpo(folder, start, ranker, self.data, settings, threads=self.threads)

    def _folder(self, arm: str) -> Path:
        return self.runs / (f"{arm}-seed{self.seed}" if self.seed else arm)
