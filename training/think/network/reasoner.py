"""The Think network as a reasoner: histories in, interest points with checked rationales out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from agents.session.step import TextEncoder
from training.datasets.dataset import Dataset
from training.think.mining.association import training_counts
from training.think.mining.facts import FactBook
from training.think.network.decode import decode
from training.think.network.grammar import Grammar
from training.think.network.inputs import inputs_of
from training.think.network.serialise import read_tokens
from training.think.network.stored import StoredNetwork, load_network, same_words
from training.think.network.tokens import Lexicon
from training.think.network.told import Book, FactCounts, checked
from training.think.network.transformer import ThinkNetwork
from training.think.points import History, Reasoned

BATCH: Final = 64


@dataclass(slots=True)
class NetworkReasoner:
    """Implements `training.think.points.Reasoner`. facts: what became of all facts it wrote so far."""

    network: ThinkNetwork
    lexicon: Lexicon
    encoder: TextEncoder
    book: Book
    traced: bool = True
    facts: FactCounts = field(default_factory=FactCounts)

    @classmethod
    def of(cls, stored: StoredNetwork, data: Dataset, book: Book) -> NetworkReasoner:
        """Raises TrainingError when the network knows other words than the data set."""
        same_words(stored, data)
        return cls(stored.network(), stored.words, data.encoder(), book, stored.traced)

    @property
    def name(self) -> str:
        """What proposals name as their maker."""
        return "network"

    def points(self, histories: Sequence[History]) -> Iterator[Reasoned]:
        """One answer per history, in order; what was written first is the greatest interest."""
        for start in range(0, len(histories), BATCH):
            part = histories[start : start + BATCH]
            grammars = [Grammar.of(history, self.lexicon, traced=self.traced) for history in part]
            outputs = decode(self.network, inputs_of(part, self.lexicon, self.encoder), grammars)
            for history, output in zip(part, outputs, strict=True):
                yield self._answer(history, output)

    def _answer(self, history: History, output: Sequence[int]) -> Reasoned:
        points, counts = checked(read_tokens(output, history, self.lexicon), history, self.book)
        self.facts += counts
        problem = "" if points else "The network found nothing that this history leads to."
        return Reasoned(history=history.name, points=points, problem=problem)


def load_network_reasoner(run: Path, data: Dataset) -> NetworkReasoner:
    """Of a training run's folder, for its data set; facts are checked against the training span.

    Raises TrainingError: no Think network there, or one of another data set.
    """
    return NetworkReasoner.of(load_network(run), data, FactBook(training_counts(data)))
