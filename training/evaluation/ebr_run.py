"""The two-tower baseline on disk: RUNS/ebr/two_tower.pt, trained when it is not there."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

from streams.errors import TrainingError
from streams.hint_request import to_unit
from training.base import trained_on
from training.datasets.dataset import Dataset
from training.datasets.whole_files import replaced
from training.evaluation.ebr import BATCH, STEPS, TwoTower, train_ebr
from training.progress import progress

TWO_TOWER_NAME: Final = "two_tower.pt"
PASSES_MAX: Final = 12  # over a small data set; the whole year's samples are passed over some 10 times


def load_or_train_ebr(folder: Path, data: Dataset, *, seed: int = 0) -> TwoTower:
    """The model of `folder`, or one trained on the data's training part and saved there (some two minutes).

    Raises TrainingError when the folder's was trained on another data set.
    """
    path = folder / TWO_TOWER_NAME
    if path.is_file():
        return load_ebr(path, data)
    encoder = data.encoder()
    queries = to_unit(np.stack([encoder.embed(query) for query in data.queries]))
    samples = trained_on(data)
    steps = min(STEPS, 1 + PASSES_MAX * len(samples) // BATCH)
    with progress("two-tower baseline, seed " + str(seed), 1) as report:
        model = train_ebr(samples, queries, [count for _, count in data.lexicon], seed=seed, steps=steps)
        report(1, "trained")
    save_ebr(model, data, path)
    return model


def save_ebr(model: TwoTower, data: Dataset, path: Path) -> None:
    """Write the weights, and the lexicon that their rows stand for, in one step."""
    path.parent.mkdir(parents=True, exist_ok=True)
    packed = io.BytesIO()
    torch.save({"lexicon": data.lexicon, "weights": model.state_dict()}, packed)
    with replaced(path) as unfinished:
        unfinished.write_bytes(packed.getvalue())


def load_ebr(path: Path, data: Dataset) -> TwoTower:
    """Inverse of `save_ebr`; nothing in the file is executed. Raises TrainingError."""
    try:
        content: dict[str, Any] = torch.load(path, weights_only=True)
        if [(str(query), int(count)) for query, count in content["lexicon"]] != data.lexicon:
            raise ValueError("it was trained on another data set")
        weights = content["weights"]
        model = TwoTower(weights["text"], torch.ones(len(weights["text"])))
        model.load_state_dict(weights)
    except Exception as error:
        raise TrainingError(
            f"{path} is no two-tower model for {data.folder}: {error}.",
            action="Remove the file: the next evaluation trains it again.",
        ) from error
    return model.eval()
