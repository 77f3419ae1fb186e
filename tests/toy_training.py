"""A toy to train: a small network, its loss, and a run in which something may go wrong."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from training.loop import LossOf, Plan, run_steps, step_noise
from training.run_state import CURVE_NAME, STATE_NAME

PLAN = Plan(steps=40, learning_rate=0.05, save_every=10, seed=3)
TRUTH = torch.tensor([[1.0, -2.0, 0.5]])


def toy() -> nn.Module:
    """A small network with dropout, alike at each call."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Dropout(0.1), nn.Linear(8, 1))


def toy_loss(network: nn.Module) -> LossOf:
    """Of fresh random inputs in each step."""

    def loss_of(step: int) -> tuple[Tensor, dict[str, float]]:
        inputs = torch.from_numpy(step_noise(3, step).normal(size=(16, 3)).astype(np.float32))
        errors = network(inputs) - (inputs * TRUTH).sum(1, keepdim=True)
        return errors.square().mean(), {"bias": float(errors.detach().mean())}

    return loss_of


def trained(folder: Path, plan: Plan = PLAN, spoil: Callable[[int], None] | None = None) -> list[Tensor]:
    """The weights after a run in which `spoil` may act before each step."""
    network = toy()
    plain = toy_loss(network)

    def loss_of(step: int) -> tuple[Tensor, dict[str, float]]:
        if spoil is not None:
            spoil(step)
        return plain(step)

    run_steps(folder, network, loss_of, plan, "toy")
    return list(network.state_dict().values())


def at_step(number: int, act: Callable[[], object]) -> Callable[[int], None]:
    """Do it before this step alone."""

    def spoil(step: int) -> None:
        if step == number:
            act()

    return spoil


def steps_of(folder: Path) -> list[int]:
    """The steps on the curve."""
    return [json.loads(line)["step"] for line in (folder / CURVE_NAME).read_text().splitlines()]


def state_step(folder: Path) -> int:
    """The step of the state on disk."""
    return int(torch.load(folder / STATE_NAME, weights_only=True)["step"])


def same(first: list[Tensor], second: list[Tensor]) -> bool:
    """Bit for bit."""
    return all(torch.equal(one, other) for one, other in zip(first, second, strict=True))
