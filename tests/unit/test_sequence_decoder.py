"""The benchmark's other decoder writes what it would say of its own list; the matching finds the best one."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from agents.hints.context import ACTIONS, AGES, HABITS
from benchmarks.matching import EPSILON, assigned, dealt_out
from benchmarks.sequence_decoder import SequenceWriter, Writer
from training.network import HIDDEN, Shape
from training.slots import list_log_probs

SHAPE = Shape(dim=6, width=8, heads=2, feed_forward=16, decoder_layers=2, hints=4)
QUERIES, LENGTH = 9, 5
seeds = st.integers(0, 2**31)


def network(kind: type[Writer], seed: int = 0) -> Writer:
    """Random weights; the decoder says as much as the scores."""
    torch.manual_seed(seed)
    made = kind(SHAPE, torch.nn.functional.normalize(torch.randn(QUERIES, 6)), torch.rand(QUERIES))
    with torch.no_grad():
        made.decoder.norm.weight.fill_(1.0)
        made.decoder.slots.mul_(50.0)
    return made.eval()


def inputs(seed: int, rows: int = 3) -> dict[str, Tensor]:
    """Random contexts, the last without a behaviour."""
    noise = np.random.default_rng(seed)
    codes = [noise.integers(1, top, (rows, LENGTH), np.int32) for top in (ACTIONS, AGES, 9)]
    for code in codes:
        code[-1] = 0
    arrays = {
        "events": noise.integers(-127, 128, (rows, LENGTH, 6), np.int8),
        **dict(zip(("actions", "ages", "repeats"), codes, strict=True)),
        "interests": noise.integers(-127, 128, (rows, 2, 6), np.int8),
        "habits": np.zeros((rows, HABITS, 3), np.int16),
    }
    return {name: torch.from_numpy(values) for name, values in arrays.items()}


@given(seeds)
@settings(max_examples=15, deadline=None)
def test_writing_step_by_step_is_what_teacher_forcing_says(seed: int) -> None:
    sequence, given_ = network(SequenceWriter, seed), inputs(seed)
    with torch.no_grad():
        queries, chances = sequence.write(given_)
        logp, _ = list_log_probs(sequence.logits_for(given_, queries), queries.unsqueeze(1))
    assert torch.allclose(chances, logp.squeeze(1), atol=1e-4)
    assert all(len(set(row)) == SHAPE.hints for row in queries.tolist())


def test_a_hint_sees_those_before_it_and_none_after() -> None:
    sequence, given_ = network(SequenceWriter), inputs(1)
    first = torch.tensor([[0, 1, 2, 3]] * 3)
    other = torch.tensor([[0, 1, 7, 8]] * 3)
    with torch.no_grad():
        one, two = (sequence.logits_for(given_, lists) for lists in (first, other))
    assert torch.allclose(one[:, :3], two[:, :3], atol=1e-5)
    assert not torch.allclose(one[:, 3], two[:, 3], atol=1e-2)


def test_slots_do_not_see_what_was_written() -> None:
    slots, given_ = network(Writer), inputs(1)
    with torch.no_grad():
        one, two = (slots.logits_for(given_, torch.tensor([row] * 3)) for row in ([0, 1, 2, 3], [0, 1, 7, 8]))
        plain = slots.logits(**given_)
    assert torch.equal(one, two)
    assert torch.allclose(one, plain, atol=1e-6)


@pytest.mark.parametrize("kind", [Writer, SequenceWriter])
def test_what_is_closed_is_not_written(kind: type[Writer]) -> None:
    writer, given_ = network(kind), inputs(2)
    with torch.no_grad():
        free, _ = writer.write(given_)
        closed = torch.zeros(3, QUERIES).scatter(1, free[:, :2], HIDDEN)
        rest, _ = writer.write(given_, closed)
    for written, gone in zip(rest.tolist(), free[:, :2].tolist(), strict=True):
        assert not set(written) & set(gone)
        assert len(set(written)) == SHAPE.hints


@pytest.mark.parametrize("kind", [Writer, SequenceWriter])
def test_with_nothing_closed_each_step_takes_its_best(kind: type[Writer]) -> None:
    writer, given_ = network(kind), inputs(3)
    with torch.no_grad():
        writer.decoder.norm.weight.mul_(1e-4)  # the scores alone: everybody's best, again and again
        queries, _ = writer.write(given_, repeating=True)
        best = writer.scores(**given_).argmax(-1)
    assert torch.equal(queries, best.unsqueeze(1).expand(-1, SHAPE.hints))


@given(seeds, st.integers(1, 4))
@settings(max_examples=25, deadline=None)
def test_the_auction_finds_the_best_assignment(seed: int, targets: int) -> None:
    worth = 4 * torch.randn(2, 4, 5, generator=torch.Generator().manual_seed(seed))
    present = torch.arange(4).expand(2, 4) < targets
    slots = assigned(worth, present)
    for row in range(2):
        found = slots[row].tolist()
        assert found[targets:] == [5] * (4 - targets)
        assert len(set(found[:targets])) == targets
        sums = [
            sum(float(worth[row, target, slot]) for target, slot in enumerate(order))
            for order in permutations(range(5), targets)
        ]
        own = sum(float(worth[row, target, slot]) for target, slot in enumerate(found[:targets]))
        assert own >= max(sums) - targets * EPSILON - 1e-4


def test_targets_go_where_they_are_said_best() -> None:
    logits = torch.zeros(1, 3, 4)
    logits[0, 0, 2], logits[0, 2, 1] = 5.0, 5.0
    lists, weights = dealt_out(logits, torch.tensor([[1, 2, -1]]), torch.tensor([[1.0, 0.3, 0.0]]))
    assert lists.tolist() == [[2, -1, 1]]
    assert weights[0].tolist() == pytest.approx([0.3, 0.0, 1.0])
