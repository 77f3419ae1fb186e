"""A training that is killed again and again ends with the weights of one that never was, bit for bit."""

from __future__ import annotations

import multiprocessing
import random
import signal
import time
from itertools import pairwise
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from training.curves import Point, read_curve
from training.loop import CURVE_NAME, STATE_NAME, Plan, batch_rows, run_steps, step_noise

PLAN = Plan(steps=60, learning_rate=0.02, save_every=4, seed=11)
LIVES = 4
LIFE_STEPS = (6, 11)  # a life of 6 steps saves at least once
PAUSE_S = 0.01
ROWS = torch.from_numpy(np.random.default_rng(0).normal(size=(50, 6)).astype(np.float32))


def train(folder: Path, told: Connection | None = None) -> None:
    """A toy with all that is random in a training: the order of rows, a step's noise, dropout.

    told: hears of each step when it begins, and slows the steps down.
    """
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Dropout(0.2), nn.Linear(16, 6))

    def loss_of(step: int) -> tuple[Tensor, dict[str, float]]:
        if told is not None:
            told.send(step)
            time.sleep(PAUSE_S)
        rows = ROWS[batch_rows(len(ROWS), 8, PLAN.seed, step)]
        noise = torch.from_numpy(step_noise(PLAN.seed, step).normal(size=rows.shape).astype(np.float32))
        loss = (network(rows + 0.1 * noise) - rows).square().mean()
        return loss, {"root": float(loss.detach().sqrt())}

    run_steps(folder, network, loss_of, PLAN, "toy")


def killed_life(folder: Path, steps: int, more_s: float) -> tuple[int, int]:
    """A process that trains and is killed `more_s` into that many steps: its first step, its exit code."""
    server = multiprocessing.get_context("forkserver")
    server.set_forkserver_preload(["torch", "torch._dynamo"])  # once for all lives; the first step needs both
    here, there = server.Pipe(duplex=False)
    life = server.Process(target=train, args=(folder, there))
    life.start()
    there.close()
    with here:
        begun = [here.recv() for _ in range(steps)]
        time.sleep(more_s)
        life.kill()
        life.join()
    code = life.exitcode
    life.close()
    assert code is not None
    return begun[0], code


def state_of(folder: Path) -> dict[str, Any]:
    state: dict[str, Any] = torch.load(folder / STATE_NAME, weights_only=True)
    return state


def curve_of(folder: Path) -> list[Point]:
    points = read_curve(folder / CURVE_NAME)
    return [{name: value for name, value in point.items() if name != "seconds"} for point in points]


def test_a_killed_and_resumed_run_equals_an_unbroken_one(tmp_path: Path) -> None:
    chance = random.Random(0)
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    begun = []
    for _ in range(LIVES):
        first, code = killed_life(killed, chance.randint(*LIFE_STEPS), chance.uniform(0, 2 * PAUSE_S))
        assert code == -signal.SIGKILL
        begun.append(first)
    assert begun[0] == 1
    assert all(later > earlier for earlier, later in pairwise(begun))  # it did go on
    assert state_of(killed)["step"] < PLAN.steps
    train(killed)
    train(whole)
    broken, unbroken = state_of(killed), state_of(whole)
    assert broken["step"] == unbroken["step"] == PLAN.steps
    assert broken["weights"].keys() == unbroken["weights"].keys()
    for name, values in unbroken["weights"].items():
        assert torch.equal(broken["weights"][name], values)
    for number, moments in unbroken["optimizer"]["state"].items():
        for name, values in moments.items():
            assert torch.equal(broken["optimizer"]["state"][number][name], values)
    assert curve_of(killed) == curve_of(whole)
    assert [point["step"] for point in curve_of(killed)] == list(range(1, PLAN.steps + 1))
