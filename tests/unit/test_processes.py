"""Two processes under torchrun walk the path of one, and fail and stop together.

This file is also the program that torchrun starts: `test_processes.py <folder>` goes through all that the
tests look at afterwards, as starting PyTorch takes longer than the training.
"""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from streams.errors import TrainingError
from training.loop import CURVE_NAME, STATE_NAME, Plan, batch_rows, run_steps
from training.processes import ALONE, World, any_over, average_gradients, joined_world, mean_over, share

ROOT = Path(__file__).resolve().parents[2]
PLAN = Plan(steps=30, learning_rate=0.02, save_every=10, seed=5)
EVEN, ODD = 16, 15  # rows in a batch
INPUTS = torch.from_numpy(np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32))
TARGETS = INPUTS[:, :1] - 2 * INPUTS[:, 1:2] * INPUTS[:, 2:]
WEIGHTS = torch.from_numpy(np.random.default_rng(1).uniform(0.1, 3.0, size=(40, 1)).astype(np.float32))

Spoil = Callable[[int, World], float]  # a factor of the loss


class Toy(nn.Module):
    """A network with one part that nothing uses, and one that only batches with some x_0 > 1 do."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.body = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 1))
        self.unused = nn.Linear(2, 2)
        self.positive = nn.Linear(1, 1, bias=False)

    def forward(self, inputs: Tensor) -> Tensor:
        outputs: Tensor = self.body(inputs)
        if (inputs[:, 0] > 1).any():
            outputs = outputs + self.positive(inputs[:, :1].clamp(min=1) - 1)
        return outputs


def trained(
    folder: Path, world: World, *, batch: int = EVEN, spoil: Spoil = lambda _step, _world: 1.0
) -> dict[str, Any]:
    """Weights, losses and the error of a run whose loss is a weighted mean over the rows."""
    network = Toy(seed=world.rank)  # process 0's weights are to be everyone's

    def loss_of(step: int) -> tuple[Tensor, dict[str, float]]:
        factor = spoil(step, world)
        rows = share(batch_rows(40, batch, PLAN.seed, step), world)
        squares = (network(INPUTS[rows]) - TARGETS[rows]).square()
        weight = WEIGHTS[rows].sum()
        worst = float((squares.detach() * WEIGHTS[rows]).sum() / weight)
        return factor * (squares * WEIGHTS[rows]).sum() / weight, {"again": worst, "weight": float(weight)}

    error, points = "", []
    try:
        points = run_steps(folder, network, loss_of, PLAN, "toy", world=world)
    except TrainingError as raised:
        error = str(raised)
    weights = {name: values.tolist() for name, values in network.state_dict().items()}
    losses = [(point["loss"], point["again"]) for point in points]
    return {"weights": weights, "losses": losses, "error": error}


def in_step_13(act: Callable[[], object]) -> Spoil:
    """Process 1 does it."""

    def spoil(step: int, world: World) -> float:
        found = act() if step == 13 and not world.writes else None
        return found if isinstance(found, float) else 1.0

    return spoil


def main(folder: Path) -> None:
    """What the tests look at, in a JSON file per process."""
    with joined_world() as world:
        found: dict[str, Any] = {"world": (world.rank, world.size)}

        def note(name: str, value: object) -> None:
            found[name] = value
            (folder / f"{world.rank}.json").write_text(json.dumps(found))

        note("even", trained(folder / "even", world))
        note("odd", trained(folder / "odd", world, batch=ODD))
        stop = in_step_13(lambda: signal.raise_signal(signal.SIGTERM))
        note("stopped", trained(folder / "stopped", world, spoil=stop))
        note("resumed", trained(folder / "stopped", world))
        greed = in_step_13(lambda: torch.empty(1 << 50))
        note("greedy", trained(folder / "greedy", world, spoil=greed))
        note("wild", trained(folder / "wild", world, spoil=in_step_13(lambda: math.nan)))
        note("primitives", primitives(world))
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # torchrun's, as soon as one is gone
        note("alone", trained(folder / "lost", world, spoil=in_step_13(lambda: os._exit(1))))


def primitives(world: World) -> dict[str, Any]:
    """Process 0: gradient 1, weight 3; process 1: none where its part is unused, else 5, weight 1."""
    network = nn.ParameterList([torch.zeros(1), torch.zeros(1), torch.zeros(1)])
    network[0].grad = torch.tensor([1.0 if world.writes else 5.0])
    network[1].grad = torch.tensor([1.0]) if world.writes else None
    average_gradients(network, world, weight=3.0 if world.writes else 1.0)
    return {
        "gradients": [None if part.grad is None else part.grad.item() for part in network],
        "means": mean_over(
            [1.0, math.nan] if world.writes else [5.0, 0.0], world, 3.0 if world.writes else 1.0
        ),
        "any": any_over([world.writes, not world.writes, False], world),
    }


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, Any]]]:
    """The folder of the runs, and what both processes noted."""
    folder = tmp_path_factory.mktemp("processes")
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(
        [*launcher, __file__, str(folder)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    files = [folder / f"{rank}.json" for rank in (0, 1)]
    assert all(file.exists() for file in files), done.stderr
    return folder, [json.loads(file.read_text()) for file in files]


def assert_close(first: dict[str, Any], second: dict[str, Any]) -> None:
    """Equal but for the rounding of float32 over some dozens of steps."""
    assert first["weights"].keys() == second["weights"].keys()
    for name, values in first["weights"].items():
        np.testing.assert_allclose(values, second["weights"][name], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(first["losses"], second["losses"], rtol=1e-4, atol=1e-6)


Found = tuple[Path, list[dict[str, Any]]]


@pytest.mark.parametrize(("name", "batch"), [("even", EVEN), ("odd", ODD)])
def test_two_processes_end_with_the_weights_of_one(
    tmp_path: Path, found: Found, name: str, batch: int
) -> None:
    first, second = found[1]
    assert (first["world"], second["world"]) == ([0, 2], [1, 2])
    assert first[name]["weights"] == second[name]["weights"]
    assert first[name]["losses"] == second[name]["losses"]
    alone = trained(tmp_path, ALONE, batch=batch)
    assert len(alone["losses"]) == 30
    assert alone["losses"][-1][0] < 0.9 * alone["losses"][0][0]
    assert_close(alone, first[name])


def test_only_the_first_process_writes_and_each_step_once(found: Found) -> None:
    folder, _ = found
    assert sorted(file.name for file in (folder / "even").iterdir()) == [CURVE_NAME, STATE_NAME]
    steps = [json.loads(line)["step"] for line in (folder / "even" / CURVE_NAME).read_text().splitlines()]
    assert steps == list(range(1, 31))


def test_a_run_of_two_processes_goes_on_in_one(tmp_path: Path, found: Found) -> None:
    folder, (first, _) = found
    (tmp_path / STATE_NAME).write_bytes((folder / "greedy" / STATE_NAME).read_bytes())
    (tmp_path / CURVE_NAME).write_bytes((folder / "greedy" / CURVE_NAME).read_bytes())
    assert_close(trained(tmp_path, ALONE), first["even"])


def test_when_one_process_is_asked_to_stop_both_do_and_go_on(found: Found) -> None:
    for process in found[1]:
        assert "stopped after step 13 of 30" in process["stopped"]["error"]
        assert process["resumed"] == process["even"]


def test_when_one_process_fails_no_other_waits_for_it(found: Found) -> None:
    _, (first, second) = found
    assert "Memory ran out at step 13. The state of step 10" in second["greedy"]["error"]
    assert "Another process of this training failed at step 13" in first["greedy"]["error"]
    for process in (first, second):
        assert "is nan at step 13. The state of step 10" in process["wild"]["error"]


def test_a_process_that_is_gone_is_noticed(found: Found) -> None:
    folder, (first, second) = found
    assert "Another process of this training is gone" in first["alone"]["error"]
    assert "alone" not in second
    assert torch.load(folder / "lost" / STATE_NAME, weights_only=True)["step"] == 10


def test_means_are_weighed_and_what_no_process_uses_has_no_gradient(found: Found) -> None:
    for process in found[1]:
        assert process["primitives"]["gradients"] == [(3 * 1 + 5) / 4, 3 / 4, None]
        assert process["primitives"]["means"] == [
            pytest.approx(2.0),
            pytest.approx(math.nan, nan_ok=True),
        ]
        assert process["primitives"]["any"] == [True, True, False]


if __name__ == "__main__":
    main(Path(sys.argv[1]))
