"""A training run's result on disk: weights, and all that the network cannot work without."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch

from agents.hints.encoder import SubwordEncoder
from agents.hints.trie import Trie, build_trie
from streams.errors import TrainingError
from streams.hint_request import to_unit
from training.decoder import Generator
from training.network import Shape

FORMAT: Final = 1
CHECKPOINT_NAME: Final = "generator.pt"
WHOLE_SHARE: Final = 0.99  # of all purchases: how far queries are tokens of their own


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

    def trie(self) -> Trie:
        """The lexicon's trie."""
        return lexicon_trie(self.lexicon, self.encoder(), len(self.table))

    def network(self) -> Generator:
        """The network with its weights, ready to write lists."""
        network = self.blank_network()
        network.load_state_dict(self.weights)
        return network.eval()

    def blank_network(self) -> Generator:
        """The network before training."""
        encoder = self.encoder()
        queries = to_unit(np.stack([encoder.embed(query) for query in self.queries]))
        return Generator(self.shape, self.trie(), torch.from_numpy(queries))


def lexicon_trie(lexicon: list[tuple[str, int]], encoder: SubwordEncoder, tokens: int) -> Trie:
    """Trie of the queries, most popular first; `tokens`: size of the tokenizer's vocabulary.

    A query that is asked for often is one token of its own, numbered behind the tokenizer's; the tail is
    spelled in words. Without that, a greedy step falls for beginnings: "canned", shared by fifty queries,
    outweighs "milk", although none of the fifty does. Raises TrainingError when two queries are alike.
    """
    total, covered = sum(count for _, count in lexicon), 0
    sequences = []
    for number, (query, count) in enumerate(lexicon):
        sequences.append([tokens + number] if covered < WHOLE_SHARE * total else encoder.tokens(query))
        covered += count
    try:
        return build_trie(sequences, encoder.end)
    except ValueError as error:
        raise TrainingError(
            f"The lexicon does not make a trie: {error}; nothing was trained.",
            action="Remove queries that differ only in case or spacing.",
        ) from error


def save_checkpoint(checkpoint: Checkpoint, path: Path) -> None:
    """Write the file in one step: a crash leaves the old one or none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(path.name + ".part")
    content = {
        "format": FORMAT,
        "shape": asdict(checkpoint.shape),
        "lexicon": checkpoint.lexicon,
        "tokenizer": checkpoint.tokenizer,
        "table": torch.from_numpy(checkpoint.table.copy()),
        "weights": checkpoint.weights,
        "run": checkpoint.run,
    }
    torch.save(content, unfinished)
    unfinished.replace(path)


def load_checkpoint(path: Path) -> Checkpoint:
    """Inverse of `save_checkpoint`; nothing in the file is executed. Raises TrainingError."""
    try:
        content = torch.load(path, weights_only=True)
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
    except Exception as error:
        raise TrainingError(
            f"{path} is no checkpoint of this version: {error}.", action="Train again with `aigq train`."
        ) from error
