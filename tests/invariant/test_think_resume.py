"""A Think training that is killed and resumed ends with the weights of one that never was, bit for bit."""

from __future__ import annotations

import multiprocessing
import signal
import time
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.small_shop import ENCODER
from tests.think_network_world import BOOK, LEXICON, history_of, point_of, small_network
from training.loop import LossOf, Plan, run_steps
from training.rewards import QueryTables, rouge_l_table
from training.run_state import STATE_NAME
from training.think.network.grpo import THINK_GRPO, ThinkJudge, think_grpo_loss
from training.think.network.samples import ThinkSamples, samples_of
from training.think.network.sft import ThinkSftConfig, think_sft_loss
from training.think.network.transformer import ThinkNetwork
from training.think.points import Reasoned

PLAN = Plan(steps=12, learning_rate=0.01, save_every=2, seed=5)
KILLED_IN = 8


def samples() -> ThinkSamples:
    histories = [history_of("bread", "taco shells", "diapers", name=f"h{number}") for number in range(6)]
    answers = [
        Reasoned(history=one.name, points=(point_of(one, (2,), "salsa"), point_of(one, (3,), "bibs")))
        for one in histories
    ]
    return samples_of(histories, answers, LEXICON, ENCODER, traced=True)


def loss_of_kind(kind: str, network: ThinkNetwork) -> LossOf:
    if kind == "sft":
        return think_sft_loss(network, samples(), ThinkSftConfig(batch=4, seed=5))
    words = [[number] for number in range(len(LEXICON.queries))]
    rouge = rouge_l_table(words)
    tables = QueryTables(rouge, rouge, torch.ones(len(words)).long(), torch.zeros(len(words)).long())
    config = replace(THINK_GRPO, batch=3, group=3, difficulty=(0.0, 1.0), steps=PLAN.steps, seed=5)
    return think_grpo_loss(network, samples(), ThinkJudge(LEXICON, tables, BOOK), config)


def train(kind: str, folder: Path, told: Connection | None = None) -> None:
    network = small_network()
    plain = loss_of_kind(kind, network)

    def loss_of(step: int) -> tuple[Tensor, dict[str, float]]:
        if told is not None:
            told.send(step)
            time.sleep(0.01)
        return plain(step)

    run_steps(folder, network, loss_of, PLAN, kind)


@pytest.mark.parametrize("kind", ["sft", "grpo"])
def test_a_killed_and_resumed_think_run_equals_an_unbroken_one(kind: str, tmp_path: Path) -> None:
    server = multiprocessing.get_context("forkserver")
    server.set_forkserver_preload(["torch", "torch._dynamo"])
    here, there = server.Pipe(duplex=False)
    life = server.Process(target=train, args=(kind, tmp_path / "killed", there))
    life.start()
    there.close()
    with here:
        assert [here.recv() for _ in range(KILLED_IN)] == list(range(1, KILLED_IN + 1))
        life.kill()
        life.join()
    assert life.exitcode == -signal.SIGKILL
    state = torch.load(tmp_path / "killed" / STATE_NAME, weights_only=True)
    assert 0 < state["step"] < KILLED_IN
    for name in ("killed", "whole"):
        train(kind, tmp_path / name)
    broken, unbroken = (
        torch.load(tmp_path / name / STATE_NAME, weights_only=True) for name in ("killed", "whole")
    )
    assert broken["step"] == unbroken["step"] == PLAN.steps
    for name, values in unbroken["weights"].items():
        assert torch.equal(broken["weights"][name], values)
