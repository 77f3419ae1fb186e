"""Train, export, load: what PyTorch writes, the bundle writes, on real households' contexts."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch

from agents.hints.bundle import Bundle, load_bundle, verify_bundle
from agents.hints.context import Contexts
from streams.errors import TrainingError
from training import base
from training.base import run_base
from training.checkpoint import Checkpoint, load_checkpoint, load_run
from training.datasets.build import build_dataset
from training.datasets.dataset import Dataset
from training.datasets.dataset_config import DatasetConfig
from training.export import export_bundle
from training.generator import CANDIDATES, tensors
from training.ranker import load_ranker
from training.ranker_run import RankerConfig, run_ranker
from training.sessions import taken
from training.sft import SMALL, run_sft
from training.slots import greedy, list_log_probs

HOUSEHOLDS = 40
CONTEXTS = 1_000


class Trained(NamedTuple):
    data: Dataset
    checkpoint: Checkpoint
    bundle: Bundle
    folder: Path
    contexts: Contexts


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """A small network and ranker, trained and exported by the commands' own functions: half a minute."""
    folder = tmp_path_factory.mktemp("trained")
    data = build_dataset(folder / "data", DatasetConfig(households=HOUSEHOLDS))
    start = load_run(run_base(folder / "base", data, base.SMALL))
    ranker = load_ranker(run_ranker(folder / "ranker", start, data, RankerConfig(batch=256)))
    run_sft(folder / "sft", start, data, SMALL, ranker=ranker)
    export_bundle(folder / "sft", folder / "small", name="small", version="2", ranker=folder / "ranker")
    contexts = data.samples("train").contexts
    return Trained(
        data,
        load_run(folder / "sft"),
        load_bundle(folder / "small"),
        folder,
        taken(contexts, np.arange(CONTEXTS)),
    )


def written(trained: Trained) -> tuple[np.ndarray, np.ndarray]:
    """Queries and scores by PyTorch."""
    with torch.no_grad():
        queries, scores = trained.checkpoint.network()(**tensors(trained.contexts))
    return queries.numpy(), scores.numpy()


def test_onnx_and_pytorch_write_the_same_lists_for_a_thousand_contexts(trained: Trained) -> None:
    queries, scores = written(trained)
    exported, exported_scores = trained.bundle.generator.run(trained.contexts)
    assert len(exported) == CONTEXTS
    assert np.array_equal(exported, queries)
    assert np.abs(exported_scores - scores).max() < 1e-3


def test_no_query_comes_twice_in_a_list(trained: Trained) -> None:
    for row in written(trained)[0]:
        assert len(set(row.tolist())) == len(row)


def test_a_lists_scores_are_the_log_probabilities_that_training_sees(trained: Trained) -> None:
    network = trained.checkpoint.network()
    with torch.no_grad():
        logits = network.logits(**tensors(taken(trained.contexts, np.arange(64))))
        queries, scores = greedy(logits, network.hints)
        forced, _ = list_log_probs(logits, queries.long().unsqueeze(1))
    assert torch.allclose(forced.squeeze(1), scores, atol=1e-3)


def test_choosing_among_candidates_loses_nothing_that_the_whole_lexicon_would_give(trained: Trained) -> None:
    network = trained.checkpoint.network()
    queries, scores = written(trained)
    with torch.no_grad():
        every, chances = greedy(network.logits(**tensors(trained.contexts)), network.hints)
    assert len(trained.checkpoint.lexicon) > CANDIDATES
    assert np.array_equal(queries, every.numpy())
    assert np.abs(scores - chances.numpy()).max() < 0.1


def test_the_lists_listen_to_the_context(trained: Trained) -> None:
    queries, _ = written(trained)
    assert len({tuple(row) for row in queries.tolist()}) > CONTEXTS // 2


def test_the_exported_bundle_is_in_order(trained: Trained) -> None:
    assert verify_bundle(trained.folder / "small") == []
    assert trained.bundle.name == "small-2"
    assert list(trained.bundle.lexicon.items()) == trained.checkpoint.lexicon
    assert not (trained.folder / "small.part").exists()


def test_a_graph_tells_nothing_of_the_machine_that_exported_it(trained: Trained) -> None:
    graphs = [path.read_bytes() for path in (trained.folder / "small").glob("*.onnx")]
    assert graphs
    assert not any(b".py" in graph for graph in graphs)


def test_the_exported_ranker_gives_pytorchs_probabilities(trained: Trained) -> None:
    ranker = load_ranker(trained.folder / "ranker")
    assert trained.bundle.ranker is not None
    queries = np.append(np.arange(50), -1)
    places = np.arange(51, dtype=np.int32) % 20
    contexts = taken(trained.contexts, np.arange(20))
    rows = np.repeat(np.arange(20, dtype=np.int32), 51)
    numbers, position = np.tile(queries, 20).astype(np.int32), np.tile(places, 20)
    units, popularity = ranker.features.units[queries], ranker.features.log_popularity[queries]
    features = ranker.features.of_texts(contexts, units, popularity, queries).reshape(20 * 51, -1)
    with torch.no_grad():
        wanted = ranker(torch.from_numpy(features), torch.from_numpy(position)).numpy()
    p = trained.bundle.ranker.run(contexts, features[:, :-1], numbers, position, rows)
    assert np.abs(p - wanted).max() < 1e-5
    assert 0 < p.min() < p.max() < 1


def test_training_with_the_same_seed_gives_the_same_weights(trained: Trained, tmp_path: Path) -> None:
    start, ranker = load_run(trained.folder / "base"), load_ranker(trained.folder / "ranker")
    again = load_checkpoint(run_sft(tmp_path, start, trained.data, SMALL, ranker=ranker))
    for name, values in trained.checkpoint.weights.items():
        assert torch.equal(again.weights[name], values), name


def test_a_file_that_is_no_checkpoint_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "generator.pt"
    path.write_bytes(b"not a checkpoint")
    with pytest.raises(TrainingError, match=r"no checkpoint of this version"):
        load_checkpoint(path)
