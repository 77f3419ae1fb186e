"""A Think network on disk: weights, and all that it cannot read or write without."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

from streams.errors import TrainingError
from streams.hint_request import to_unit
from training.checkpoint import digest
from training.datasets.dataset import Dataset
from training.datasets.whole_files import replaced
from training.think.mining.association import Association
from training.think.network.tokens import Lexicon
from training.think.network.transformer import ThinkNetwork, ThinkShape

FORMAT: Final = 1
NETWORK_NAME: Final = "think.pt"


@dataclass(frozen=True, slots=True)
class StoredNetwork:
    """lexicon: (query, count), most popular first. traced: whether it writes a trace. encoder: name of the
    text encoder that it reads with. run: settings, data and figures of the training, as JSON holds them."""

    shape: ThinkShape
    lexicon: list[tuple[str, int]]
    traced: bool
    encoder: str
    weights: Mapping[str, torch.Tensor]
    run: dict[str, Any] = field(default_factory=dict)

    @property
    def words(self) -> Lexicon:
        """What can be written."""
        return Lexicon([query for query, _ in self.lexicon])

    def network(self) -> ThinkNetwork:
        """With its weights, ready to reason."""
        empty = torch.zeros((len(self.lexicon), self.shape.dim))
        lifts = torch.zeros((len(self.lexicon), len(self.lexicon)), dtype=torch.float16)
        network = ThinkNetwork(self.shape, empty, empty[:, 0], lifts)
        network.load_state_dict(self.weights)
        return network.eval()

    def name(self) -> str:
        """A digest of the weights: what a run says that it started from."""
        return digest(self.weights)


def blank_network(data: Dataset, counted: Association, shape: ThinkShape, seed: int) -> ThinkNetwork:
    """Before training. counted: of the training span of the data set."""
    torch.manual_seed(seed)
    encoder = data.encoder()
    units = to_unit(np.stack([encoder.embed(query) for query in data.queries]))
    popularity = np.log1p(np.array([count for _, count in data.lexicon], np.float32))
    lifts = np.log1p(counted.shrunk_lifts(data.queries, data.queries)).astype(np.float16)
    return ThinkNetwork(shape, *(torch.from_numpy(values) for values in (units, popularity, lifts)))


def save_network(stored: StoredNetwork, path: Path) -> None:
    """Write the file in one step: a crash leaves the old one or none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {
        "format": FORMAT,
        "shape": asdict(stored.shape),
        "lexicon": stored.lexicon,
        "traced": stored.traced,
        "encoder": stored.encoder,
        "weights": dict(stored.weights),
        "run": stored.run,
    }
    with replaced(path) as unfinished, unfinished.open("wb") as file:
        torch.save(content, file)


def load_network(run: Path) -> StoredNetwork:
    """Of a run's folder, or of the file itself; nothing in it is executed. Raises TrainingError."""
    path = run / NETWORK_NAME if run.is_dir() else run
    try:
        content = torch.load(path, weights_only=True)
        if content["format"] != FORMAT:
            raise ValueError(f"its format is {content['format']}, ours is {FORMAT}")
        stored = StoredNetwork(
            ThinkShape(**content["shape"]),
            [(str(query), int(count)) for query, count in content["lexicon"]],
            bool(content["traced"]),
            str(content["encoder"]),
            content["weights"],
            content["run"],
        )
        stored.network()
        return stored
    except Exception as error:
        raise TrainingError(
            f"{path} is no Think network of this version: {error}.",
            action="Train one: aigq think train sft --data DATA --work WORK --out RUN",
        ) from error


def same_words(stored: StoredNetwork, data: Dataset) -> None:
    """Raises TrainingError when the network was trained on other words than the data set's."""
    if stored.lexicon != data.lexicon or stored.encoder != data.encoder().name:
        raise TrainingError(
            "The Think network was trained on another data set: lexicon or text encoder differ.",
            action="Train it on this data set, or give the data set that it was trained on.",
        )
