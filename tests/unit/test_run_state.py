"""What a run keeps on disk: it goes on from its own state alone, and a bad end leaves the last one whole."""

from __future__ import annotations

import math
import signal
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from streams.errors import TrainingError
from tests.toy_training import PLAN, at_step, same, state_step, steps_of, toy, toy_loss, trained
from training.loop import Plan, run_steps
from training.run_state import CURVE_NAME, STATE_NAME


def test_a_finished_run_is_not_run_again(tmp_path: Path) -> None:
    first = trained(tmp_path)
    again = trained(tmp_path, spoil=lambda step: pytest.fail(f"step {step} ran again"))
    assert same(first, again)


def test_what_fails_after_a_state_leaves_a_curve_with_each_step_once(tmp_path: Path) -> None:
    def fail() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        trained(tmp_path, spoil=at_step(17, fail))
    assert steps_of(tmp_path) == list(range(1, 17))
    with (tmp_path / CURVE_NAME).open("a") as curve:
        curve.write('{"step": 17, "lo')  # as a kill leaves it
    trained(tmp_path)
    assert steps_of(tmp_path) == list(range(1, 41))


def test_weights_that_are_no_numbers_are_not_saved(tmp_path: Path) -> None:
    network = nn.Linear(1, 1, bias=False)
    plan = Plan(steps=1, learning_rate=1e30, clip_norm=math.inf)
    with pytest.raises(TrainingError, match="weight 'weight' is -inf at step 1"):
        run_steps(
            tmp_path, network, lambda _: (network.weight.sum() * 1e30, {}), plan, "toy",
            optimizer_of=lambda network, plan: torch.optim.SGD(network.parameters(), plan.learning_rate),
        )  # fmt: skip
    assert not (tmp_path / STATE_NAME).exists()


def test_a_state_of_other_settings_is_refused_and_left(tmp_path: Path) -> None:
    trained(tmp_path)
    content = (tmp_path / STATE_NAME).read_bytes()
    with pytest.raises(
        TrainingError, match=r"learning_rate was 0\.05, is 0\.01; seed was 3, is 4"
    ) as refused:
        trained(tmp_path, replace(PLAN, learning_rate=0.01, seed=4))
    assert "new folder" in refused.value.action
    network = toy()
    with pytest.raises(TrainingError, match='data was unset, is "2017"'):
        run_steps(tmp_path, network, toy_loss(network), PLAN, "toy", identity={"data": "2017"})
    other = nn.Linear(3, 1)
    with pytest.raises(TrainingError, match="tensors of the network was"):
        run_steps(tmp_path, other, toy_loss(other), PLAN, "toy")
    assert (tmp_path / STATE_NAME).read_bytes() == content


def test_how_often_it_saves_is_no_other_run(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="stopped"):
        trained(tmp_path / "broken", spoil=at_step(17, lambda: signal.raise_signal(signal.SIGTERM)))
    assert same(trained(tmp_path / "broken", replace(PLAN, save_every=3)), trained(tmp_path / "whole"))


def test_a_damaged_state_is_refused_and_left(tmp_path: Path) -> None:
    (tmp_path / STATE_NAME).write_bytes(b"half a state")
    with pytest.raises(TrainingError, match="is no state of this version"):
        trained(tmp_path)
    assert (tmp_path / STATE_NAME).read_bytes() == b"half a state"


def test_a_disk_that_refuses_leaves_the_last_state_whole(tmp_path: Path) -> None:
    unfinished = tmp_path / (STATE_NAME + ".part")
    with pytest.raises(TrainingError, match=r"cannot be read or written.*The state of step 20"):
        trained(tmp_path, spoil=at_step(25, unfinished.mkdir))
    assert state_step(tmp_path) == 20
    unfinished.rmdir()
    unfinished.write_bytes(b"half a state")  # as a kill while saving leaves it
    trained(tmp_path)
    assert state_step(tmp_path) == 40
    assert not unfinished.exists()
