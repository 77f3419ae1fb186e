"""Training on a device that is not the CPU: `meta`, which stands in for CUDA and computes shapes alone.

Every operation is watched: one that takes tensors of two devices fails here as it would on CUDA. What reads
values back (rollouts on their way to the rewards, figures, the optimizer's steps) has no values on `meta`
and is not covered.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from tests.evaluation_data import blank_ranker, blank_run, small_dataset
from training.base import BaseConfig, base_loss, trained_on
from training.checkpoint import Checkpoint, load_run
from training.datasets.dataset import Dataset
from training.generator import tensors
from training.label_blocks import Blocks
from training.loop import LossOf
from training.processes import ALONE
from training.ranker import ClickRanker, load_ranker
from training.ranker_run import RankerConfig, click_loss, shown_hints
from training.sessions import Samples
from training.sft import SftConfig, sft_loss
from training.slots import greedy, list_log_probs, only_top, sampled

META = torch.device("meta")
BETWEEN = ("_to_copy", "copy_")  # what moves from one device to another


class OneDevice(TorchDispatchMode):
    """Raises at an operation on tensors of two devices; numbers as tensors without a size may be anywhere."""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        named = kwargs or {}
        found = {
            one.device.type for one in tree_leaves((args, named)) if isinstance(one, Tensor) and one.dim()
        }
        if len(found) > 1 and not any(name in str(func) for name in BETWEEN):
            raise AssertionError(f"{func} takes tensors of {sorted(found)}")
        return func(*args, **named)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return small_dataset(tmp_path_factory.mktemp("devices"))


@pytest.fixture(scope="module")
def start(data: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    return load_run(blank_run(data, tmp_path_factory.mktemp("start")))


@pytest.fixture(scope="module")
def ranker(data: Dataset, tmp_path_factory: pytest.TempPathFactory) -> ClickRanker:
    return load_ranker(blank_ranker(data, tmp_path_factory.mktemp("ranker")))


@pytest.fixture(scope="module")
def samples(data: Dataset) -> Samples:
    return trained_on(data, 0)


def watched(network: nn.Module, loss_of: Callable[[], LossOf]) -> None:
    """One step's loss and gradients, both of the other device."""
    network.train()
    with OneDevice():
        loss, _ = loss_of()(1)
        loss.backward()
    assert loss.device == META
    assert any(values.grad is not None for values in network.parameters())
    assert all(one.grad.device == META for one in network.parameters() if one.grad is not None)


def test_two_devices_in_one_operation_are_noticed() -> None:
    table, numbers = torch.zeros(5, 2, device=META), torch.zeros(3, dtype=torch.int64)
    with pytest.raises(AssertionError, match="takes tensors of"), OneDevice():
        table.index_select(0, numbers)
    with OneDevice():
        table.index_select(0, numbers.to(META))


def test_the_bases_loss(start: Checkpoint, samples: Samples) -> None:
    network = start.network().to(META)
    watched(network, lambda: base_loss(network, samples, BaseConfig(batch=8), ALONE))


def test_lists_are_taught(start: Checkpoint, samples: Samples, data: Dataset, ranker: ClickRanker) -> None:
    network, config = start.network().to(META), SftConfig(batch=8)
    blocks = Blocks.made(data, start, ranker)
    watched(network, lambda: sft_loss(network, samples, start, config, blocks))


def test_the_rankers_loss(data: Dataset, ranker: ClickRanker) -> None:
    shown = shown_hints(data, data.samples("train"), "train", ranker.features)
    network = ClickRanker(ranker.features).to(META)
    watched(network, lambda: click_loss(network, shown, RankerConfig(batch=8), ALONE))


def test_lists_are_drawn_and_their_probabilities_read(start: Checkpoint, samples: Samples) -> None:
    network = start.network().to(META)
    contexts = samples.at(np.arange(8)).contexts
    with OneDevice():
        policy = only_top(network.logits(**tensors(contexts, network.device)), 5)
        drawn = sampled(policy.detach(), 4, 1.0, 5, torch.Generator().manual_seed(0))
        logp, entropy = list_log_probs(policy, drawn)
        (logp.mean() + entropy.mean()).backward()
        queries, _ = greedy(policy, network.hints)
    assert {one.device for one in (drawn, logp, entropy, queries)} == {META}
    assert drawn.shape == logp.shape == (8, 4, network.hints)
