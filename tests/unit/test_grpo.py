"""IL-GRPO on a tiny network: a judge is soon served as it likes, and each setting does what it says."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from agents.hints.ranking_features import RANKING_FEATURES
from streams.errors import TrainingError
from tests.evaluation_data import blank_run, small_dataset
from training.base import trained_on
from training.checkpoint import Checkpoint, load_run
from training.curves import Point, read_curve
from training.datasets.dataset import Dataset
from training.generator import Generator
from training.grpo import Judge, bought_queries, grpo_loss, judged, owned_queries, run_grpo
from training.grpo_config import GrpoConfig
from training.loop import CURVE_NAME
from training.processes import ALONE
from training.ranker import ClickRanker, HintFeatures
from training.sessions import NEXT, Samples

CONFIG = GrpoConfig(
    steps=30, batch=16, group=6, learning_rate=0.02, decoder_rate=0.5, difficulty=(0.0, 1.0), w_length=0.0
)
CLICKS = replace(CONFIG, w_rouge=0.0, gamma=1.0)  # the reward is p̂


def ranker_of(base: Checkpoint, weight: float, bias: float, feature: str = "log_popularity") -> ClickRanker:
    """p = σ(bias + weight · feature) for features of 0 and more, less at each place after the first."""
    ranker = ClickRanker(HintFeatures.of(base))
    with torch.no_grad():
        for values in ranker.parameters():
            values.zero_()
        ranker.first.weight[0, RANKING_FEATURES.index(feature)] = 1.0
        ranker.second.weight[0, 0] = 1.0
        ranker.last.weight[0, 0] = weight
        ranker.last.bias.fill_(bias)
        ranker.place.weight[:, 0] = -torch.arange(len(ranker.place.weight))
    return ranker.eval()


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Declared to be a part of a larger one, so that its first days count."""
    made = small_dataset(tmp_path_factory.mktemp("grpo"))
    return replace(made, about=made.about | {"households": 10})


@pytest.fixture(scope="module")
def start(data: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    return load_run(blank_run(data, tmp_path_factory.mktemp("start")))


@pytest.fixture(scope="module")
def samples(data: Dataset) -> Samples:
    return of_task(trained_on(data, 0), NEXT)


def of_task(samples: Samples, task: int) -> Samples:
    return samples.at(np.array([row for row, one in enumerate(samples.samples) if one.task == task]))


def step_of(
    network: Generator,
    start: Checkpoint,
    samples: Samples,
    judge: Judge,
    config: GrpoConfig,
) -> tuple[Tensor, dict[str, float]]:
    return grpo_loss(network, start, samples, judge, config, ALONE)(1)


def likes_rare(start: Checkpoint) -> ClickRanker:
    """Near 1 for the rarest query, near 0 for the most popular."""
    popular = [math.log1p(count) / 10 for _, count in start.lexicon]
    weight = 8 / (popular[0] - popular[-1])
    return ranker_of(start, -weight, weight * (popular[0] + popular[-1]) / 2)


def trained(
    out: Path, start: Checkpoint, ranker: ClickRanker, data: Dataset, config: GrpoConfig
) -> list[Point]:
    return read_curve(run_grpo(out, start, ranker, data, config).parent / CURVE_NAME)


def mean(points: list[Point], name: str) -> float:
    return float(np.mean([point[name] for point in points]))


@pytest.mark.parametrize("level", ["query", "sequence"])
def test_a_few_steps_serve_a_judge_that_likes_rare_queries(
    level: str, data: Dataset, start: Checkpoint, tmp_path: Path
) -> None:
    config = replace(CLICKS, level=level)
    points = trained(tmp_path / "run", start, likes_rare(start), data, config)
    assert len(points) == 30
    assert mean(points[-5:], "reward") > mean(points[:5], "reward") + 0.1
    made = load_run(tmp_path / "run")
    assert (made.run["method"], made.run["config"]["level"]) == ("grpo", level)
    assert not torch.equal(made.weights["prior.bias"], start.weights["prior.bias"])
    assert not torch.equal(made.weights["decoder.slots"], start.weights["decoder.slots"])


def test_the_curve_has_every_figure(data: Dataset, start: Checkpoint, tmp_path: Path) -> None:
    config = replace(CONFIG, steps=2, w_length=0.1, w_hit=0.5, w_novelty=0.5, w_coverage=0.5, kl=0.1)
    config = replace(config, w_any_click=0.5)
    points = trained(tmp_path / "run", start, likes_rare(start), data, config)
    parts = {"ctr", "rouge", "length", "hit", "novelty", "format", "repetition", "coverage"}
    parts.add("any_click")
    sums = {"reward", "sequence_reward", "entropy", "kept", "hints", "categories"}
    assert points[0].keys() == parts | sums | {"step", "loss", "norm", "seconds"}
    assert points[0]["hints"] == start.shape.hints
    assert points[0]["format"] == 0.0
    assert 1.0 <= points[0]["categories"] <= start.shape.hints
    weighed = 1.0 * points[0]["ctr"] + 0.3 * points[0]["rouge"] + 0.1 * points[0]["length"]
    weighed += 0.5 * points[0]["hit"] + 0.5 * points[0]["novelty"]
    assert points[0]["reward"] == pytest.approx(weighed, abs=1e-5)
    whole = points[0]["format"] + points[0]["repetition"]
    whole += 0.5 * points[0]["coverage"] + 0.5 * points[0]["any_click"]
    assert points[0]["sequence_reward"] == pytest.approx(whole, abs=1e-5)


def test_the_same_seed_gives_the_same_weights(data: Dataset, start: Checkpoint, tmp_path: Path) -> None:
    made = [
        load_run(
            run_grpo(tmp_path / name, start, likes_rare(start), data, replace(CLICKS, steps=3, seed=seed))
        )
        for name, seed in (("one", 0), ("two", 0), ("three", 1))
    ]
    first, again, other = (run.weights["prior.bias"] for run in made)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_one_list_is_blamed_as_a_whole_or_hint_by_hint(
    data: Dataset, start: Checkpoint, samples: Samples
) -> None:
    """Both levels draw the same lists and earn the same, but move the network differently."""
    judge, moved, earned = Judge.of(start, data, likes_rare(start)), [], []
    for level in ("query", "sequence"):
        network = start.network()
        config = replace(CLICKS, level=level, sequence_weight=0.0, entropy_bonus=0.0)
        loss, figures = step_of(network, start, samples, judge, config)
        loss.backward()
        assert network.prior.bias.grad is not None
        moved.append(network.prior.bias.grad)
        earned.append(figures["reward"])
    assert earned[0] == earned[1]
    cosine = torch.nn.functional.cosine_similarity(moved[0], moved[1], dim=0)
    assert 0.1 < float(cosine) < 0.99


def test_a_step_towards_rare_queries_raises_the_bias_of_the_rarest(
    data: Dataset, start: Checkpoint, samples: Samples
) -> None:
    network = start.network()
    config = replace(CLICKS, batch=64, entropy_bonus=0.0)
    loss, _ = step_of(network, start, samples, Judge.of(start, data, likes_rare(start)), config)
    loss.backward()
    assert network.prior.bias.grad is not None
    downhill = -network.prior.bias.grad
    assert downhill[-1] > 0 > downhill[0]


def test_every_hint_is_judged_as_on_the_first_place(
    data: Dataset, start: Checkpoint, samples: Samples
) -> None:
    judge = Judge.of(start, data, likes_rare(start))
    contexts = samples.at(np.arange(2)).contexts
    click = judge.clicks(contexts, torch.tensor([[[5, 3, 0, 1], [1, 0, 3, 5]]] * 2))
    assert click.shape == (2, 2, 4)
    assert torch.allclose(click[:, 0], click[:, 1].flip(-1), atol=1e-6)
    popular = [math.log1p(count) / 10 for _, count in data.lexicon]
    weight, bias = (float(values.detach().flatten()[0]) for values in judge.ranker.last.parameters())
    expected = [1 / (1 + math.exp(-bias - weight * popular[query])) for query in (5, 3, 0, 1)]
    assert click[0, 0].tolist() == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(("bias", "why"), [(9.0, "solved"), (-9.0, "hopeless")])
def test_groups_that_are_solved_or_hopeless_teach_nothing(
    bias: float, why: str, data: Dataset, start: Checkpoint, samples: Samples
) -> None:
    config = replace(CLICKS, difficulty=(0.1, 0.95))
    network = start.network()
    loss, figures = step_of(
        network, start, samples, Judge.of(start, data, ranker_of(start, 0.0, bias)), config
    )
    loss.backward()
    assert figures["kept"] == 0.0, why
    assert float(loss.detach()) == 0.0
    assert network.prior.bias.grad is None or not network.prior.bias.grad.any()


def test_groups_in_between_are_kept(data: Dataset, start: Checkpoint, samples: Samples) -> None:
    config = replace(CLICKS, difficulty=(0.1, 0.95))
    _, figures = step_of(
        start.network(), start, samples, Judge.of(start, data, ranker_of(start, 0.0, 0.0)), config
    )
    assert figures["kept"] == 1.0
    assert figures["reward"] == pytest.approx(0.5, abs=1e-5)


def test_what_was_bought_and_what_is_owned(samples: Samples, data: Dataset) -> None:
    part = samples.at(np.arange(20, 30))
    bought = bought_queries(part.samples, len(data.queries))
    owned = owned_queries(part.contexts, len(data.queries))
    assert bought.shape == owned.shape == (10, len(data.queries))
    for row, sample in enumerate(part.samples):
        assert bought[row].nonzero().flatten().tolist() == sorted(sample.items)
        numbers = part.contexts.habits[row, :, 0]
        assert owned[row].nonzero().flatten().tolist() == sorted(numbers[numbers > 0] - 1)


def test_rewards_of_a_list_by_hand(data: Dataset, start: Checkpoint, samples: Samples) -> None:
    judge = Judge.of(start, data, ranker_of(start, 0.0, math.log(1 / 3)))  # p̂ = 1/4 everywhere
    config = replace(CONFIG, gamma=2.0, w_hit=1.0, w_novelty=0.5)
    part = samples.at(np.array([40]))
    bought = bought_queries(part.samples, len(data.queries))
    owned = owned_queries(part.contexts, len(data.queries))
    lists, wanted = torch.tensor([[[0, 1, 13, -1]]]), torch.tensor([[0, 13, 1, 2]])
    made = judged(lists, part, wanted, judge, config)
    for slot, query in enumerate((0, 1, 13)):
        rouge = float(judge.tables.rouge[query, wanted[0, slot]])
        expected = 2 * 0.25 + 0.3 * rouge + float(bought[0, query]) + 0.5 * float(~owned[0, query])
        assert float(made["query"][0, 0, slot]) == pytest.approx(expected, abs=1e-5)
    assert float(made["rouge"][0, 0, 0]) == 1.0
    assert float(made["query"][0, 0, 3]) == 0.0
    assert float(made["format"]) == -0.25


def test_without_samples_nothing_is_trained(data: Dataset, start: Checkpoint, tmp_path: Path) -> None:
    config, nobody = replace(CLICKS, sessions="direct"), data.impressions.clear()
    with pytest.raises(TrainingError, match="no direct sessions"):
        run_grpo(tmp_path / "run", start, likes_rare(start), replace(data, impressions=nobody), config)


def test_direct_sessions_learn_too(data: Dataset, start: Checkpoint, tmp_path: Path) -> None:
    config = replace(CONFIG, sessions="direct", steps=2)
    points = trained(tmp_path / "run", start, likes_rare(start), data, config)
    assert len(points) == 2
    assert points[0]["norm"] > 0.0
