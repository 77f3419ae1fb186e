"""The base: what it is trained on, how it begins, its loss by hand, and that it learns the same each time."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from streams.errors import TrainingError
from tests.evaluation_data import TINY, small_dataset
from training import base
from training.base import BaseConfig, base_loss, begin, blank_checkpoint, run_base, same_words, trained_on
from training.checkpoint import load_run
from training.curves import read_curve
from training.datasets.dataset import Dataset
from training.generator import Generator, tensors
from training.loop import CURVE_NAME, batch_rows
from training.neighbours import neighbours_of
from training.processes import ALONE
from training.sessions import REST, Samples, taken

DAY_MS = 86_400_000
CONFIG = replace(base.SMALL, passes=6.0, batch=32, shape=TINY)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return small_dataset(tmp_path_factory.mktemp("shop"))


@pytest.fixture(scope="module")
def samples(data: Dataset) -> Samples:
    return trained_on(data, 0)


@pytest.fixture(scope="module")
def run(data: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run_base(tmp_path_factory.mktemp("base"), data, CONFIG).parent


def blank(data: Dataset, seed: int = 0) -> Generator:
    torch.manual_seed(seed)
    return blank_checkpoint(data, TINY).blank_network()


def test_it_trains_on_what_comes_after_the_first_days(data: Dataset, samples: Samples) -> None:
    later = trained_on(data, 10)
    from_ms = data.split.train.start_ms + 10 * DAY_MS
    assert 0 < len(later) < len(samples)
    assert all(one.time_ms >= from_ms and one.items for one in later.samples)
    assert sum(one.time_ms >= from_ms for one in samples.samples) == len(later)
    assert len(later.contexts) == len(later.samples)


def test_at_most_a_quarter_of_the_span_is_left_out(data: Dataset) -> None:
    span = data.split.train
    kept = trained_on(data, 10_000)
    assert min(one.time_ms for one in kept.samples) >= span.start_ms + (span.end_ms - span.start_ms) // 4
    assert len(kept) > 0


def test_a_start_of_other_words_is_refused(data: Dataset) -> None:
    start = blank_checkpoint(data, TINY)
    same_words(start, data)
    with pytest.raises(TrainingError, match="another data set"):
        same_words(replace(start, lexicon=start.lexicon[1:]), data)


def test_a_list_is_no_longer_than_the_lexicon(data: Dataset) -> None:
    shape = blank_checkpoint(data, replace(TINY, hints=99)).shape
    assert (shape.hints, shape.dim) == (len(data.lexicon), data.table.shape[1])
    assert blank_checkpoint(data, TINY).shape.hints == TINY.hints


def test_the_loss_by_hand(data: Dataset, samples: Samples) -> None:
    network, config = blank(data), replace(CONFIG, batch=8)
    rows = batch_rows(len(samples), 8, config.seed, 3)
    with torch.no_grad():
        logp = network.scores(**tensors(taken(samples.contexts, rows))).log_softmax(-1)
    above, below = 0.0, 0.0
    for place, row in enumerate(rows):
        sample = samples.samples[row]
        weight = (2.0 if sample.task == REST else 1.0) / len(sample.items) ** 0.5
        above -= weight * sum(float(logp[place, item]) for item in sample.items)
        below += weight * len(sample.items)
    loss, figures = base_loss(network, samples, config, ALONE)(3)
    assert float(loss.detach()) == pytest.approx(above / below, rel=1e-5)
    assert figures == {"weight": pytest.approx(below, rel=1e-5)}


def hits_of(network: Generator, samples: Samples) -> float:
    """Share of the first three queries that are bought."""
    with torch.no_grad():
        first = network.scores(**tensors(samples.contexts)).topk(3).indices.tolist()
    found = [len(set(row) & set(one.items)) / 3 for row, one in zip(first, samples.samples, strict=True)]
    return float(np.mean(found))


def test_it_begins_better_than_popularity(data: Dataset, samples: Samples) -> None:
    network = blank(data)
    popular = hits_of(network, samples)
    begin(network, samples, data)
    assert hits_of(network, samples) > popular + 0.1


def test_it_begins_with_neighbours_of_the_training_span_alone(data: Dataset, samples: Samples) -> None:
    network = blank(data)
    begin(network, samples, data)
    number = {query: place for place, query in enumerate(data.queries)}
    until = data.purchases["time_ms"] < data.split.train.end_ms
    found = neighbours_of(data.purchases.filter(until), number)
    count = len(data.queries)
    assert np.array_equal(network.prior.near[1:, :count], found.numbers)
    assert np.array_equal(network.prior.nearness[1:, :count].detach(), found.strengths)
    later = neighbours_of(data.purchases, number)
    assert not np.array_equal(later.strengths, found.strengths)


def test_the_loss_falls(run: Path) -> None:
    points = read_curve(run / CURVE_NAME)
    first, last = (float(np.mean([point["loss"] for point in part])) for part in (points[:8], points[-8:]))
    assert last < first - 0.05


def test_the_same_seed_gives_the_same_weights(data: Dataset, tmp_path: Path) -> None:
    short = replace(CONFIG, passes=0.5)
    made = [
        load_run(run_base(tmp_path / name, data, replace(short, seed=seed)).parent).weights
        for name, seed in (("one", 0), ("two", 0), ("three", 1))
    ]
    assert all(torch.equal(made[0][name], values) for name, values in made[1].items())
    assert not torch.equal(made[0]["prior.bias"], made[2]["prior.bias"])


def test_the_decoder_is_left_as_it_was_made(data: Dataset, run: Path) -> None:
    trained, begun = load_run(run).weights, blank(data).state_dict()
    for name, values in begun.items():
        alike = torch.equal(trained[name], values)
        assert alike == (not name.startswith("prior.") or name == "prior.popularity"), name


def test_the_checkpoint_says_how_it_was_made(run: Path) -> None:
    made = load_run(run)
    assert made.run["method"] == "base"
    assert made.run["config"]["passes"] == 6.0
    assert made.shape == replace(TINY, dim=made.table.shape[1])
    assert BaseConfig(**{**made.run["config"], "shape": TINY}) == CONFIG
