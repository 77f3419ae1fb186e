"""A training run's result on disk: weights, and all that the network cannot work without."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import IO, Any, Final

import numpy as np
import numpy.typing as npt
import torch

from agents.hints.encoder import SubwordEncoder
from streams.errors import TrainingError
from streams.hint_request import to_unit
from training.datasets.whole_files import replaced
from training.generator import Generator
from training.network import Shape

FORMAT: Final = 2
CHECKPOINT_NAME: Final = "generator.pt"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """lexicon: (query, count), most popular first. tokenizer: JSON. table: (tokens, D) float16.
    weights: the network's state. run: settings, data and figures of the training, as JSON would hold them.
    """

    shape: Shape
    lexicon: list[tuple[str, int]]
    tokenizer: bytes
    table: npt.NDArray[np.float16]
    weights: dict[str, torch.Tensor]
    run: dict[str, Any] = field(default_factory=dict)

    @property
    def queries(self) -> list[str]:
        """The lexicon without counts."""
        return [query for query, _ in self.lexicon]

    def encoder(self) -> SubwordEncoder:
        """The text encoder that the network was trained with."""
        return SubwordEncoder(self.tokenizer, self.table)

    def network(self) -> Generator:
        """The network with its weights, ready to write lists."""
        network = self.blank_network()
        network.load_state_dict(self.weights)
        return network.eval()

    def blank_network(self) -> Generator:
        """The network before training."""
        popularity = np.log1p(np.array([count for _, count in self.lexicon], np.float32))
        return Generator(self.shape, torch.from_numpy(self.query_units()), torch.from_numpy(popularity))

    def query_units(self) -> npt.NDArray[np.float32]:
        """(V, D) unit embeddings of the lexicon."""
        encoder = self.encoder()
        return to_unit(np.stack([encoder.embed(query) for query in self.queries]))


def save_checkpoint(checkpoint: Checkpoint, path: Path) -> None:
    """Write the file in one step: a crash leaves the old one or none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replaced(path) as unfinished, unfinished.open("wb") as file:
        write_checkpoint(checkpoint, file)


def write_checkpoint(checkpoint: Checkpoint, file: IO[bytes]) -> None:
    """Write it to an open file."""
    content = {
        "format": FORMAT,
        "shape": asdict(checkpoint.shape),
        "lexicon": checkpoint.lexicon,
        "tokenizer": checkpoint.tokenizer,
        "table": torch.from_numpy(checkpoint.table.copy()),
        "weights": checkpoint.weights,
        "run": checkpoint.run,
    }
    torch.save(content, file)


def load_checkpoint(path: Path) -> Checkpoint:
    """Inverse of `save_checkpoint`; nothing in the file is executed. Raises TrainingError."""
    try:
        with path.open("rb") as file:
            return parse_checkpoint(file)
    except Exception as error:
        raise TrainingError(
            f"{path} is no checkpoint of this version: {error}.", action="Train again with `aigq train`."
        ) from error


def parse_checkpoint(file: IO[bytes]) -> Checkpoint:
    """Inverse of `write_checkpoint`. Raises whatever is wrong with the content."""
    content = torch.load(file, weights_only=True)
    if content["format"] != FORMAT:
        raise ValueError(f"its format is {content['format']}, ours is {FORMAT}")
    return Checkpoint(
        Shape(**content["shape"]),
        [(str(query), int(count)) for query, count in content["lexicon"]],
        content["tokenizer"],
        content["table"].numpy(),
        content["weights"],
        content["run"],
    )


def load_run(path: Path) -> Checkpoint:
    """The checkpoint of a run's folder, or a checkpoint itself. Raises TrainingError."""
    return load_checkpoint(path / CHECKPOINT_NAME if path.is_dir() else path)


def digest(weights: Mapping[str, torch.Tensor]) -> str:
    """What a run says that it started from."""
    hashed = sha256()
    for name, values in weights.items():
        hashed.update(name.encode())
        hashed.update(values.detach().cpu().numpy().tobytes())
    return hashed.hexdigest()[:16]
