"""The paper's comparison from nothing: every run that `aigq evaluate` judges, one after the other.

    DATA                    the data set (training.datasets)
    RUNS/base-seed<N>       the prior, on what baskets held
    RUNS/ranker             click probabilities, from impressions
    RUNS/sft … list_sft … il_sft        one query; any order; interest order; each from its seed's base
    RUNS/grpo … il_grpo                 per list; per hint; each from its seed's il_sft
    RUNS/daily              ten days with and without daily updates

Seed 0's runs carry no seed in their names. A run that is complete is left as it is, one that was stopped goes
on: the whole can be stopped and started again at any time.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

from training import base, grpo, ranker, sft
from training.checkpoint import Checkpoint, load_run
from training.datasets.build import build_dataset
from training.datasets.dataset import Dataset
from training.datasets.dataset_config import DatasetConfig
from training.grpo_config import GrpoConfig, Level
from training.targets import Order

ORDERS: dict[str, Order] = {"sft": "single", "list_sft": "random", "il_sft": "interest"}
LEVELS: dict[str, Level] = {"grpo": "sequence", "il_grpo": "query"}
SMALL_HOUSEHOLDS = 40


@dataclass(frozen=True, slots=True)
class Budget:
    """How much is trained. Every arm of a kind has the same steps."""

    seeds: int = 3
    households: int = 0
    base: base.BaseConfig = field(default_factory=base.BaseConfig)
    sft: sft.SftConfig = field(default_factory=sft.SftConfig)
    ranker: ranker.RankerConfig = field(default_factory=ranker.RankerConfig)
    grpo: GrpoConfig = field(default_factory=GrpoConfig)


WHOLE = Budget()
SMALL = Budget(
    seeds=1,
    households=SMALL_HOUSEHOLDS,
    base=base.SMALL,
    sft=sft.SMALL,
    ranker=ranker.RankerConfig(batch=256),
    grpo=GrpoConfig(steps=10, batch=16),
)


def reproduce(data_folder: Path, runs: Path, budget: Budget = WHOLE, *, threads: int = 1) -> Dataset:
    """Make all that is missing; returns the data set. Raises DatasetError, TrainingError."""
    data = build_dataset(data_folder, DatasetConfig(households=budget.households))
    ranker.run_ranker(runs / "ranker", data, replace(budget.ranker, threads=threads))
    for seed in range(budget.seeds):
        _Seed(seed, runs, data, budget, threads).train()
    return data


@dataclass(frozen=True, slots=True)
class _Seed:
    seed: int
    runs: Path
    data: Dataset
    budget: Budget
    threads: int

    def train(self) -> None:
        """All arms of one seed."""
        judge = ranker.load_ranker(self.runs / "ranker")
        first = self._base()
        for arm, order in ORDERS.items():
            config = replace(self.budget.sft, seed=self.seed, threads=self.threads)
            config = replace(config, rule=replace(config.rule, order=order))
            sft.run_sft(self.folder(arm), first, self.data, config, ranker=judge)
        start = load_run(self.folder("il_sft"))
        for arm, level in LEVELS.items():
            settings = replace(self.budget.grpo, seed=self.seed, level=level)
            grpo.run_grpo(self.folder(arm), start, judge, self.data, settings, threads=self.threads)

    def folder(self, arm: str) -> Path:
        """Where the arm's run of this seed lies."""
        return self.runs / (f"{arm}-seed{self.seed}" if self.seed else arm)

    def _base(self) -> Checkpoint:
        config = replace(self.budget.base, seed=self.seed, threads=self.threads)
        base.run_base(self.folder("base"), self.data, config)
        return load_run(self.folder("base"))
