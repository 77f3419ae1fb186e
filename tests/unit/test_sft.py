"""List-SFT: what lists are made of, the loss by hand, rates, and runs that learn the same each time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch

from streams.errors import TrainingError
from tests.evaluation_data import blank_ranker, blank_run, small_dataset
from training import sft
from training.base import trained_on
from training.checkpoint import Checkpoint, load_run
from training.curves import read_curve
from training.datasets.dataset import Dataset
from training.generator import tensors
from training.label_blocks import Blocks, clicked_hints, recalled, sessions_of
from training.loop import CURVE_NAME, Plan, batch_rows, step_noise
from training.ranker import ClickRanker, load_ranker
from training.sessions import NEXT, REST, Samples
from training.sft import run_sft, sft_loss, two_rates
from training.slots import list_log_probs
from training.targets import MISSING, TargetRule, target_lists

CONFIG = replace(sft.SMALL, steps=50, batch=32, learning_rate=5e-3)
RULE = TargetRule(hints=4, order_noise=0.0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("sft")


@pytest.fixture(scope="module")
def data(folder: Path) -> Dataset:
    return small_dataset(folder)


@pytest.fixture(scope="module")
def start(data: Dataset, folder: Path) -> Checkpoint:
    return load_run(blank_run(data, folder / "base"))


@pytest.fixture(scope="module")
def ranker(data: Dataset, folder: Path) -> ClickRanker:
    """Random weights, so that queries differ for it."""
    return load_ranker(blank_ranker(data, folder / "ranker"))


@pytest.fixture(scope="module")
def samples(data: Dataset) -> Samples:
    return trained_on(data, 0)


@pytest.fixture(scope="module")
def blocks(data: Dataset, start: Checkpoint, ranker: ClickRanker) -> Blocks:
    return Blocks.made(data, start, ranker)


def lists_of(samples: Samples, blocks: Blocks, rule: TargetRule) -> list[list[int]]:
    popularity = np.ones(len(blocks.ranker.features.units), np.float32)
    noise = np.random.default_rng(0)
    made = target_lists(samples.samples, popularity, rule, noise, *blocks.of(samples, rule))
    return [[query for query in row if query != MISSING] for row in made.lists.tolist()]


def shares(samples: Samples, blocks: Blocks, numbers: Sequence[Sequence[int]]) -> list[list[float]]:
    """Click probabilities of each sample's own queries, one by one."""
    return [
        [clicked_at(samples, blocks, row, query) for query in queries] for row, queries in enumerate(numbers)
    ]


def of_task(samples: Samples, task: int) -> Samples:
    """The first dozen."""
    rows = [row for row, one in enumerate(samples.samples) if one.task == task]
    return samples.at(np.array(rows[:12]))


def best_of(samples: Samples, blocks: Blocks) -> list[list[int]]:
    """The start's eight best queries."""
    with torch.no_grad():
        best: list[list[int]] = blocks.start.scores(**tensors(samples.contexts)).topk(8).indices.tolist()
    return best


def clicked_at(samples: Samples, blocks: Blocks, row: int, query: int) -> float:
    context = samples.at(np.array([row])).contexts
    return float(blocks.ranker.clicks(context, np.array([[query]])))


def test_clicked_hints_are_those_of_the_log(data: Dataset) -> None:
    clicked = clicked_hints(data)
    rows = data.impressions.filter(data.impressions["clicked"])
    expected = {(row["basket_id"], row["task"], data.queries.index(row["query"])) for row in rows.to_dicts()}
    assert {(*view, number) for view, numbers in clicked.items() for number in numbers} == expected
    assert {task for _, task in clicked} == {NEXT, REST}


def test_lists_begin_with_clicks_then_hold_the_basket_then_what_was_generated(
    samples: Samples, blocks: Blocks
) -> None:
    lists, fillings = lists_of(samples, blocks, RULE), blocks.of(samples, RULE)[1]
    met = set()
    for sample, queries, filling in zip(samples.samples, lists, fillings, strict=True):
        clicked = blocks.clicked.get((sample.basket_id, sample.task), [])
        bought = set(sample.items) - set(clicked)
        assert queries[: len(clicked)] == clicked[:4]
        sure = queries[len(clicked) : len(clicked) + len(bought)]
        assert set(sure) <= bought
        rest = queries[len(clicked) + len(bought) :]
        assert not set(rest) & (bought | set(clicked))
        assert rest == [query for query in filling if query not in bought | set(clicked)][: len(rest)]
        assert len(set(queries)) == len(queries) == 4
        met |= {("clicked", sample.task)} if clicked else set()
        met |= {("generated", sample.task)} if rest else set()
    assert met == set(product(("clicked", "generated"), (NEXT, REST)))


@pytest.mark.parametrize("task", [NEXT, REST])
def test_generated_queries_are_the_starts_best_by_click_probability(
    task: int, samples: Samples, blocks: Blocks
) -> None:
    part = of_task(samples, task)
    _, generated = blocks.of(part, RULE)
    for queries, own, found in zip(
        generated, best_of(part, blocks), shares(part, blocks, generated), strict=True
    ):
        assert set(queries) == set(own)
        assert found == sorted(found, reverse=True)


def test_what_is_too_weak_is_not_generated(samples: Samples, blocks: Blocks) -> None:
    part = of_task(samples, NEXT)
    _, all_ = blocks.of(part, replace(RULE, weak=0.0))
    found = shares(part, blocks, all_)
    weak = float(np.median(np.concatenate(found)))
    _, strong = blocks.of(part, replace(RULE, weak=weak))
    for queries, chances, kept in zip(all_, found, strong, strict=True):
        assert kept == [query for query, chance in zip(queries, chances, strict=True) if chance >= weak]
    assert 0 < sum(map(len, strong)) < sum(map(len, all_))
    assert blocks.of(part, replace(RULE, weak=1.0))[1] == [[]] * 12


def test_the_single_order_gives_one_hint_that_is_sure(samples: Samples, blocks: Blocks) -> None:
    for sample, queries in zip(
        samples.samples, lists_of(samples, blocks, replace(RULE, order="single")), strict=True
    ):
        clicked = blocks.clicked.get((sample.basket_id, sample.task), [])
        assert len(queries) == 1
        assert queries[0] in {*sample.items, *clicked}


def test_direct_sessions_are_clicks_and_what_the_ranker_prefers(
    data: Dataset, samples: Samples, start: Checkpoint, ranker: ClickRanker
) -> None:
    blocks = Blocks.made(data, start, ranker, "direct")
    views = sessions_of(samples, "direct", blocks.clicked)
    assert 0 < len(views) < len(samples)
    assert all(not one.items and blocks.clicked[one.basket_id, one.task] for one in views.samples)
    part = views.at(np.arange(10))
    lists = lists_of(part, blocks, RULE)
    for row, (one, queries) in enumerate(zip(part.samples, lists, strict=True)):
        clicked = blocks.clicked[one.basket_id, one.task]
        assert queries[: len(clicked)] == clicked
        every = shares(part.at(np.array([row])), blocks, [range(len(data.queries))])[0]
        best = np.argsort(-np.array(every), kind="stable").tolist()
        assert queries[len(clicked) :] == [q for q in best if q not in clicked][: 4 - len(clicked)]


def test_a_small_lexicon_is_recalled_whole_and_nothing_twice(samples: Samples, data: Dataset) -> None:
    for row in recalled(samples.contexts, len(data.queries)).tolist():
        assert sorted(number for number in row if number >= 0) == list(range(len(data.queries)))


def test_without_clicks_there_are_no_direct_sessions(samples: Samples) -> None:
    assert sessions_of(samples, "day", {}) is samples
    with pytest.raises(TrainingError, match="no direct sessions"):
        sessions_of(samples, "direct", {})


def test_the_loss_by_hand(samples: Samples, start: Checkpoint, blocks: Blocks) -> None:
    network = start.network()
    loss, figures = sft_loss(network, samples, start, CONFIG, blocks)(2)
    part = samples.at(batch_rows(len(samples), CONFIG.batch, CONFIG.seed, 2))
    rule = replace(CONFIG.rule, hints=start.shape.hints)
    counts = np.array([count for _, count in start.lexicon], np.float32)
    made = target_lists(
        part.samples, counts / counts.max(), rule, step_noise(CONFIG.seed, 2), *blocks.of(part, rule)
    )
    with torch.no_grad():
        logp, _ = list_log_probs(
            network.logits(**tensors(part.contexts)), torch.from_numpy(made.lists).unsqueeze(1)
        )
    expected = -(logp[:, 0].numpy() * made.weights).sum() / made.weights.sum()
    assert float(loss.detach()) == pytest.approx(float(expected), rel=1e-5)
    assert figures["weight"] == pytest.approx(float(made.weights.sum()), rel=1e-5)
    assert figures["hints"] == pytest.approx(float((made.lists >= 0).sum(1).mean()))


def test_all_but_the_prior_learns_at_a_share_of_the_rate(start: Checkpoint) -> None:
    network = start.network()
    fast, slow = two_rates(0.2)(network, Plan(steps=1, learning_rate=1.0)).param_groups
    assert (fast["lr"], slow["lr"]) == (1.0, 0.2)
    numbers = [sum(values.numel() for values in group["params"]) for group in (fast, slow)]
    assert numbers[0] == sum(values.numel() for values in network.prior.parameters())
    assert sum(numbers) == sum(values.numel() for values in network.parameters())


@pytest.mark.parametrize("order", ["interest", "random", "single"])
def test_the_loss_falls(
    order: str, data: Dataset, start: Checkpoint, ranker: ClickRanker, tmp_path: Path
) -> None:
    config = replace(CONFIG, rule=replace(CONFIG.rule, order=order))
    run = run_sft(tmp_path / "run", start, data, config, ranker=ranker).parent
    points = read_curve(run / CURVE_NAME)
    first, last = (float(np.mean([point["loss"] for point in part])) for part in (points[:8], points[-8:]))
    assert last < first - 0.03
    assert {point["hints"] for point in points} == {1.0 if order == "single" else 4.0}
    made = load_run(run)
    assert (made.run["method"], made.run["config"]["rule"]["order"]) == ("sft", order)
    assert not torch.equal(made.weights["decoder.slots"], start.weights["decoder.slots"])
    assert torch.equal(made.weights["prior.near"], start.weights["prior.near"])


def test_the_same_seed_gives_the_same_weights(
    data: Dataset, start: Checkpoint, ranker: ClickRanker, tmp_path: Path
) -> None:
    short = replace(CONFIG, steps=4)
    made = [
        load_run(run_sft(tmp_path / name, start, data, replace(short, seed=seed), ranker=ranker)).weights
        for name, seed in (("one", 0), ("two", 0), ("three", 1))
    ]
    assert all(torch.equal(made[0][name], values) for name, values in made[1].items())
    assert not torch.equal(made[0]["prior.bias"], made[2]["prior.bias"])
