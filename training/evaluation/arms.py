"""The arms of an evaluation by name, each one Recommender per training seed.

    popular habit item_knn habit_item_knn     counts (counting_arms, co_purchase); they go on counting in the
                                              judged span, and item cosines know all up to its first day
    ebr                                       the two-tower network of RUNS/ebr, trained there if it is not
    sft list_sft il_sft grpo il_grpo …        checkpoints: RUNS/<arm>/generator.pt, further seeds in
                                              RUNS/<arm>-seed<N>/generator.pt
    <arm>_ranked                              the arm's first 10 in the order of RUNS/ranker/ranker.pt
    bundle                                    what a bundle serves (training.evaluation.bundle_arm)
    think direct_think direct_popular         what a Think mapping serves (training.evaluation.think_arm)

Any other folder of RUNS with a generator.pt is an arm of its name. A checkpoint writes K hints and goes on
with its last slot up to 30 (training.slots). All arms answer the same cases: what is already in the basket is
never listed; `novel` lists are made without what the household owns, before anything is chosen.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl
import torch
from torch import Tensor

from streams.errors import TrainingError
from streams.think_merge import THINK_PLACES
from training.checkpoint import CHECKPOINT_NAME, Checkpoint, load_checkpoint
from training.datasets.dataset import Dataset
from training.evaluation.bundle_arm import BundleArm
from training.evaluation.cases import Cases, Recommender
from training.evaluation.click_scores import ClickScores, ranked
from training.evaluation.co_purchase import co_purchase, habit_co_purchase
from training.evaluation.counting_arms import LONGEST_LIST, habit, left_out, popularity
from training.evaluation.ebr import ebr_arm
from training.evaluation.ebr_run import TWO_TOWER_NAME, load_or_train_ebr
from training.evaluation.served_arms import SERVED, ServedArms
from training.generator import Generator, tensors
from training.network import HIDDEN
from training.sessions import Samples, taken

CounterOf = Callable[[pl.DataFrame, int], Recommender]
COUNTING: Final[dict[str, CounterOf]] = {
    "popular": lambda purchases, _: popularity(purchases),
    "habit": lambda purchases, _: habit(purchases),
    "item_knn": co_purchase,
    "habit_item_knn": habit_co_purchase,
}
EBR: Final = "ebr"
TRADITIONAL: Final = (*COUNTING, EBR)
TRAINED: Final = ("sft", "list_sft", "il_sft", "grpo", "il_grpo")
RANKED: Final = "_ranked"
RANKED_BY_DEFAULT: Final = ("il_sft", "il_grpo")
CASES_AT_ONCE: Final = 256
_SEED = re.compile(r"(.+)-seed(\d+)")


@dataclass(frozen=True, slots=True)
class Arm:
    """recommenders: one per training seed. written: a case's lists before filters, where these took part."""

    name: str
    recommenders: tuple[Recommender, ...]
    written: Callable[[Cases], list[list[str]]] | None = None


@dataclass
class Arms:
    """All arms for the cases of `samples`, which are those of the data set's `part`. runs: RUNS. clicks: the
    ranker's, if there is one. bundle, mapping: folders of what is served, with so many places for Think."""

    data: Dataset
    part: str
    samples: Samples
    runs: Path
    clicks: ClickScores | None = None
    bundle: Path | None = None
    mapping: Path | None = None
    think_places: int = THINK_PLACES
    _made: dict[str, Arm] = field(default_factory=dict)

    def names(self) -> list[str]:
        """All arms that are there: the counting ones, EBR, what was trained, and two of these ranked."""
        known = [name for name in TRAINED if name in self._folders]
        others = sorted(self._folders.keys() - {*TRAINED, EBR})
        ordered = [name + RANKED for name in RANKED_BY_DEFAULT if self.clicks and name in known]
        return [*TRADITIONAL, *known, *others, *ordered, *self.served.names()]

    def check(self, names: Sequence[str]) -> None:
        """Raises TrainingError when one of them cannot be made."""
        for name in names:
            inner = name.removesuffix(RANKED)
            if name != inner and self.clicks is None:
                raise TrainingError(
                    f"{name} needs the ranker, and {self.runs} has none.",
                    action="Run `aigq train ranker` first.",
                )
            if inner in SERVED:
                self.served.check(inner)
            if inner not in (*TRADITIONAL, *self._folders, *self.served.names()):
                raise TrainingError(
                    f"There is no arm {name}: {self.runs / inner / CHECKPOINT_NAME} is missing.",
                    action=f"Train it, or take some of these: {', '.join(self.names())}.",
                )

    def arm(self, name: str) -> Arm:
        """The arm, made when it is first asked for. Raises TrainingError."""
        if name not in self._made:
            self.check([name])
            self._made[name] = self._arm(name)
        return self._made[name]

    def _arm(self, name: str) -> Arm:
        if name.endswith(RANKED) and self.clicks:
            inner = self.arm(name.removesuffix(RANKED))
            return Arm(name, tuple(ranked(one, self.clicks) for one in inner.recommenders))
        if name in SERVED:
            recommend = self.served.recommender(name)
            return Arm(name, (recommend,), recommend.written if isinstance(recommend, BundleArm) else None)
        return Arm(name, tuple(self._recommenders(name)))

    @cached_property
    def served(self) -> ServedArms:
        """The arms of what is served."""
        return ServedArms(self.data, self.part, self.bundle, self.mapping, self.think_places)

    def _recommenders(self, name: str) -> Iterator[Recommender]:
        if name in COUNTING:
            start_ms = getattr(self.data.split, self.part).start_ms
            yield COUNTING[name](self.data.purchases, start_ms)
        elif name == EBR:
            for seed, folder in self._folders.get(EBR, {0: self.runs / EBR}).items():
                model = load_or_train_ebr(folder, self.data, seed=seed)
                yield ebr_arm(model, self.samples, self.data.lexicon)
        else:
            for folder in self._folders[name].values():
                yield checkpoint_arm(fitting(folder / CHECKPOINT_NAME, self.data), self.samples)

    @cached_property
    def _folders(self) -> dict[str, dict[int, Path]]:
        """Each trained arm's folders by seed; the one without a number is seed 0 of its name."""
        found: dict[str, dict[int, Path]] = {}
        for path in sorted(self.runs.iterdir()) if self.runs.is_dir() else ():
            if (path / CHECKPOINT_NAME).is_file() or (path / TWO_TOWER_NAME).is_file():
                match = _SEED.fullmatch(path.name)
                name, seed = (match[1], int(match[2])) if match else (path.name, 0)
                found.setdefault(name, {})[seed] = path
        return {name: dict(sorted(folders.items())) for name, folders in found.items()}


def fitting(path: Path, data: Dataset) -> Checkpoint:
    """A checkpoint that was trained on this data set. Raises TrainingError."""
    checkpoint = load_checkpoint(path)
    if checkpoint.lexicon != data.lexicon or checkpoint.encoder().name != data.encoder().name:
        raise TrainingError(
            f"{path} was trained on another data set than {data.folder}.",
            action="Evaluate it on its own data set, or train it again on this one.",
        )
    return checkpoint


def checkpoint_arm(checkpoint: Checkpoint, samples: Samples) -> Recommender:
    """Greedy lists of a checkpoint for the cases of `samples`."""
    return CheckpointArm(checkpoint, samples)


class CheckpointArm:
    """A Recommender. Plain and novel lists share one pass, and each task's are kept: the ranked arm asks for
    them again."""

    def __init__(self, checkpoint: Checkpoint, samples: Samples) -> None:
        self._network, self._samples = checkpoint.network(), samples
        self._names = checkpoint.queries
        self._numbers = {query: number for number, query in enumerate(self._names)}
        self._kept: dict[str, tuple[Cases, dict[bool, list[list[str]]]]] = {}

    def __call__(self, cases: Cases, novel: bool) -> list[list[str]]:
        """As every Recommender."""
        kept = self._kept.get(cases.task)
        if kept is None or kept[0] is not cases:
            kept = self._kept[cases.task] = (cases, self._lists(cases))
        return kept[1][novel]

    def _lists(self, cases: Cases) -> dict[bool, list[list[str]]]:
        lists: dict[bool, list[list[str]]] = {False: [], True: []}
        for start in range(0, len(cases), CASES_AT_ONCE):
            rows = cases.rows[start : start + CASES_AT_ONCE]
            logits = _logits(self._network, self._samples, rows)
            for novel, made in lists.items():
                closed = [self._closed(cases, start + row, novel) for row in range(len(rows))]
                queries = longest_lists(logits.masked_fill(_mask(closed, logits), HIDDEN)).tolist()
                made += [[self._names[query] for query in row if query >= 0] for row in queries]
        return lists

    def _closed(self, cases: Cases, case: int, novel: bool) -> list[int]:
        return [self._numbers[text] for text in left_out(cases, case, novel) if text in self._numbers]


def longest_lists(logits: Tensor, length: int = LONGEST_LIST) -> Tensor:
    """As training.slots.greedy without probabilities: (B, length) queries from logits (B, K, V), -1 for none.

    A slot's best query that is not yet in the list is among its `length` best: only these are looked at.
    """
    values, offered = logits.topk(min(length, logits.shape[2]), -1)
    lists = torch.full((len(logits), length), -1, dtype=torch.int64)
    for place in range(length):
        slot = min(place, logits.shape[1] - 1)
        used = (offered[:, slot].unsqueeze(-1) == lists[:, None, :place]).any(-1)
        free = ~used & (values[:, slot] > HIDDEN / 2)
        first = free.to(torch.int8).argmax(1, keepdim=True)
        chosen = offered[:, slot].gather(1, first).squeeze(1)
        lists[:, place] = torch.where(free.any(1), chosen, torch.full_like(chosen, -1))
    return lists


def _logits(network: Generator, samples: Samples, rows: npt.NDArray[np.int64]) -> Tensor:
    with torch.no_grad():
        return network.logits(**tensors(taken(samples.contexts, rows)))


def _mask(closed: Sequence[Sequence[int]], logits: Tensor) -> Tensor:
    """(B, 1, V), True for the numbers of each row."""
    mask = np.zeros((len(closed), 1, logits.shape[2]), np.bool_)
    for row, numbers in enumerate(closed):
        mask[row, 0, list(numbers)] = True
    return torch.from_numpy(mask)
