"""The shared loop on a toy: what it learns, at which rate, and when it stops."""

from __future__ import annotations

import json
import math
import signal
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from streams.errors import TrainingError
from tests.toy_training import PLAN, at_step, same, state_step, steps_of, toy, toy_loss, trained
from training.loop import Plan, batch_rows, device_of, rate_share, run_steps, step_noise
from training.run_state import CURVE_NAME


def test_the_loss_goes_down_and_every_step_is_on_the_curve(tmp_path: Path) -> None:
    network = toy()
    points = run_steps(tmp_path, network, toy_loss(network), replace(PLAN, steps=150), "toy")
    losses = [point["loss"] for point in points]
    assert np.mean(losses[-10:]) < 0.2 * np.mean(losses[:10])
    assert not network.training
    assert steps_of(tmp_path) == list(range(1, 151)) == [point["step"] for point in points]
    assert points[0].keys() == {"step", "loss", "bias", "norm", "seconds"}
    assert [json.loads(line) for line in (tmp_path / CURVE_NAME).read_text().splitlines()] == points


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_saves_and_the_same_command_goes_on(tmp_path: Path, number: signal.Signals) -> None:
    before = signal.getsignal(number)
    stop = at_step(17, lambda: signal.raise_signal(number))
    with pytest.raises(TrainingError, match="stopped after step 17 of 40") as stopped:
        trained(tmp_path / "broken", spoil=stop)
    assert "same command" in stopped.value.action
    assert signal.getsignal(number) is before
    assert state_step(tmp_path / "broken") == 17
    assert same(trained(tmp_path / "broken"), trained(tmp_path / "whole"))
    assert steps_of(tmp_path / "broken") == list(range(1, 41))


def test_a_second_ctrl_c_ends_the_step_too(tmp_path: Path) -> None:
    def twice(step: int) -> None:
        if step == 17:
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path, spoil=twice)
    assert state_step(tmp_path) == 10


def test_another_thread_can_train_but_hears_no_signals(tmp_path: Path) -> None:
    done: list[list[Tensor]] = []
    thread = threading.Thread(target=lambda: done.append(trained(tmp_path / "thread")))
    thread.start()
    thread.join()
    assert same(done[0], trained(tmp_path / "main"))


@pytest.mark.parametrize(("number", "kept"), [(25, "state of step 20"), (5, "No state was written")])
def test_a_loss_that_is_no_number_stops_and_the_last_state_stays(
    tmp_path: Path, number: int, kept: str
) -> None:
    network = toy()
    plain = toy_loss(network)

    def loss_of(step: int) -> tuple[Tensor, dict[str, float]]:
        loss, figures = plain(step)
        return (loss * math.nan if step == number else loss), figures

    with pytest.raises(TrainingError, match=f"loss is nan at step {number}.*{kept}") as stopped:
        run_steps(tmp_path, network, loss_of, PLAN, "toy")
    assert "learning rate" in stopped.value.action
    assert all(values.isfinite().all() for values in network.state_dict().values())
    if number > PLAN.save_every:
        assert state_step(tmp_path) == 20


def test_a_gradient_that_is_no_number_changes_no_weight(tmp_path: Path) -> None:
    network = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(network.weight)

    def loss_of(_step: int) -> tuple[Tensor, dict[str, float]]:
        return network.weight.sum().sqrt(), {}  # 0 at 0, where its slope is infinite

    with pytest.raises(TrainingError, match="gradient's norm is inf at step 1"):
        run_steps(tmp_path, network, loss_of, PLAN, "toy")
    assert network.weight.item() == 0.0


@pytest.mark.parametrize("greed", [lambda: torch.empty(1 << 50), lambda: bytearray(1 << 60)])
def test_no_memory_stops_and_the_last_state_goes_on(tmp_path: Path, greed: Callable[[], object]) -> None:
    with pytest.raises(TrainingError, match=r"Memory ran out at step 33\. The state of step 30") as stopped:
        trained(tmp_path / "broken", spoil=at_step(33, greed))
    assert "smaller batch" in stopped.value.action
    assert same(trained(tmp_path / "broken"), trained(tmp_path / "whole"))


def test_one_cycle_is_that_of_pytorch() -> None:
    plan = Plan(steps=50, learning_rate=0.3, warm_up=0.2)
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], plan.learning_rate)
    theirs = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, plan.learning_rate, total_steps=51, pct_start=0.2, cycle_momentum=False
    )
    for step in range(1, 51):
        assert plan.learning_rate * rate_share(plan, step) == pytest.approx(theirs.get_last_lr()[0])
        optimizer.step()
        theirs.step()


def test_constant_rises_in_a_line_and_stays() -> None:
    plan = Plan(steps=100, warm_up=0.04, schedule="constant")
    assert [rate_share(plan, step) for step in (1, 2, 3, 4, 5, 100)] == [0.25, 0.5, 0.75, 1, 1, 1]
    assert rate_share(replace(plan, warm_up=0.0), 1) == 1


@pytest.mark.parametrize("warm_up", [0.0, 0.05, 1.0])
@pytest.mark.parametrize("steps", [1, 2, 20])
def test_shares_of_the_rate_are_shares_however_short_the_run(steps: int, warm_up: float) -> None:
    plan = Plan(steps=steps, warm_up=warm_up)
    assert all(0 < rate_share(plan, step) <= 1 for step in range(1, steps + 1))


def test_parts_of_the_network_may_have_rates_of_their_own(tmp_path: Path) -> None:
    network = nn.ParameterList([torch.zeros(1), torch.zeros(1)])

    def optimizer_of(_: nn.Module, plan: Plan) -> torch.optim.Optimizer:
        rates = zip(network, (plan.learning_rate, 0.1 * plan.learning_rate), strict=True)
        return torch.optim.SGD([{"params": [part], "lr": rate} for part, rate in rates])

    plan = Plan(steps=4, learning_rate=1.0, warm_up=0.5, schedule="constant")
    run_steps(
        tmp_path, network, lambda _: (network[0].sum() * 0.5 + network[1].sum() * 0.5, {}), plan, "toy",
        optimizer_of=optimizer_of,
    )  # fmt: skip
    # slopes 0.5 and shares of the rate 0.5, 1, 1, 1
    assert [part.item() for part in network] == pytest.approx([-1.75, -0.175])


def test_each_pass_over_the_rows_has_all_of_them_in_an_order_of_its_own() -> None:
    drawn = np.concatenate([batch_rows(10, 4, 7, step) for step in range(1, 6)])
    assert sorted(drawn[:10]) == sorted(drawn[10:]) == list(range(10))
    assert drawn[:10].tolist() != drawn[10:].tolist()
    assert batch_rows(10, 4, 7, 3).tolist() == drawn[8:12].tolist()
    assert batch_rows(3, 7, 0, 1).shape == (7,)


def test_noise_depends_on_seed_and_step_alone() -> None:
    assert step_noise(1, 2).random() == step_noise(1, 2).random()
    assert len({step_noise(*pair).random() for pair in [(1, 2), (2, 1), (1, 3), (2, 2)]}) == 4


def test_networks_go_where_cuda_is() -> None:
    assert device_of().type == ("cuda" if torch.cuda.is_available() else "cpu")
