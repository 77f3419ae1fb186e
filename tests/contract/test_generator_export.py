"""Train, export, load: what PyTorch writes, the bundle writes, on real households' contexts."""

from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
import pytest
import torch

from agents.hints.bundle import Bundle, load_bundle, verify_bundle
from agents.hints.context import context_arrays
from streams.errors import TrainingError
from streams.hint_request import HintRequest
from training.checkpoint import Checkpoint, load_checkpoint
from training.datasets.complete_journey import REPORT, TRAIN, load_purchases
from training.evaluate import evaluate_bundle
from training.export import export_bundle
from training.sessions import SampleMaker
from training.sft import run_sft

HOUSEHOLDS = 6


class Trained(NamedTuple):
    checkpoint: Checkpoint
    bundle: Bundle
    folder: Path
    requests: list[HintRequest]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """A small network, trained and exported by the commands' own functions: half a minute."""
    folder = tmp_path_factory.mktemp("trained")
    path = run_sft(folder, small=True, seed=1)
    export_bundle(path, folder / "bundle", name="small", version="2", measure=False)
    checkpoint = load_checkpoint(path)
    purchases = load_purchases(TRAIN).filter(pl.col("household_id") <= HOUSEHOLDS)
    numbers = {query: number for number, query in enumerate(checkpoint.queries)}
    pairs = SampleMaker(checkpoint.encoder(), numbers, TRAIN).pairs(purchases)
    requests = [request for _, request in pairs]
    return Trained(checkpoint, load_bundle(folder / "bundle"), folder, requests)


def by_torch(trained: Trained, requests: list[HintRequest]) -> tuple[list[list[str]], list[list[float]]]:
    inputs = {name: torch.from_numpy(v) for name, v in context_arrays(requests).inputs().items()}
    with torch.no_grad():
        queries, scores = trained.checkpoint.network()(**inputs)
    names = trained.checkpoint.queries
    return [[names[q] for q in row if q >= 0] for row in queries.tolist()], scores.tolist()


def test_onnx_and_pytorch_write_the_same_lists(trained: Trained) -> None:
    requests = trained.requests[:256]
    assert len(requests) == 256
    lists, scores = by_torch(trained, requests)
    written = trained.bundle.generator.generate(requests)
    assert [[candidate.query for candidate in row] for row in written] == lists
    for row, expected in zip(written, scores, strict=True):
        assert [c.score for c in row] == pytest.approx(expected[: len(row)], abs=2e-3)


def test_no_query_comes_twice_in_a_list(trained: Trained) -> None:
    for row in trained.bundle.generator.generate(trained.requests):
        queries = [candidate.query for candidate in row]
        assert len(set(queries)) == len(queries) > 0
        assert set(queries) <= trained.bundle.lexicon.keys()


def test_the_teacher_forced_loss_is_what_the_decode_scores(trained: Trained) -> None:
    network = trained.checkpoint.network()
    network.decoder.shape = replace(network.decoder.shape, history=1.0)  # as in training
    inputs = {n: torch.from_numpy(v) for n, v in context_arrays(trained.requests[:8]).inputs().items()}
    trie = trained.checkpoint.trie()
    leaves = trie.leaves()
    with torch.no_grad():
        queries, scores = network(**inputs)
        for row in range(8):
            hints = [int(query) for query in queries[row] if query >= 0]
            paths = [trie.path(int(leaves[hint])) for hint in hints]
            nodes = torch.tensor([[node for path in paths for node in path]])
            one = {name: values[row : row + 1] for name, values in inputs.items()}
            forced = network.decoder(*network.read(**one), nodes)[0]
            ends = np.cumsum([len(path) for path in paths])
            by_hint = [float(part.sum()) for part in torch.tensor_split(forced, ends[:-1].tolist())]
            assert by_hint == pytest.approx(scores[row, : len(hints)].tolist(), abs=1e-3)


def test_the_exported_bundle_is_in_order(trained: Trained) -> None:
    assert verify_bundle(trained.folder / "bundle") == []
    assert trained.bundle.name == "small-2"
    assert list(trained.bundle.lexicon.items()) == trained.checkpoint.lexicon
    assert not (trained.folder / "bundle.part").exists()


def test_a_bundle_is_judged_on_every_december_basket_of_the_given_households(trained: Trained) -> None:
    purchases = load_purchases().filter(pl.col("household_id") <= 2 * HOUSEHOLDS)
    figures = evaluate_bundle(trained.folder / "bundle", purchases=purchases)
    december = purchases.filter(pl.col("time_ms") >= REPORT.start_ms)["basket_id"].n_unique()
    for name in ("opened", "left", "left_shown", "popularity", "habit"):
        assert figures[name]["baskets"] == december > 20
        assert 0 < figures[name]["recall_at_10"] < 1
    assert 0 < figures["rest"]["baskets"] < december
    assert figures["left_shown"]["recall_at_10"] <= figures["left"]["recall_at_10"]


def test_training_with_the_same_seed_gives_the_same_weights(trained: Trained, tmp_path: Path) -> None:
    again = load_checkpoint(run_sft(tmp_path, small=True, seed=1))
    for name, values in trained.checkpoint.weights.items():
        assert torch.equal(again.weights[name], values), name


def test_a_file_that_is_no_checkpoint_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "generator.pt"
    path.write_bytes(b"not a checkpoint")
    with pytest.raises(TrainingError, match=r"no checkpoint of this version"):
        load_checkpoint(path)
