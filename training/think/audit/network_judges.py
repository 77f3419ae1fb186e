"""Direct and the click ranker as judges.

Both read a history as a live session hands it over (training.think.audit.live_request). Direct never reads a
candidate's text, for it writes lexicon queries alone. The ranker does, and knows a text that no lexicon holds
by its embedding only: popularity 0, wanted like the least wanted query (training.ranker).
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
import torch

from agents.hints.context import QueryIndex
from agents.session.habit import text_digest
from streams.hint_request import to_unit
from training.checkpoint import Checkpoint
from training.generator import tensors
from training.ranker import ClickRanker
from training.think.audit.live_request import contexts_of
from training.think.audit.pools import Question
from training.think.audit.templates import Place

DIRECT: Final = "direct"
RANKER: Final = "ranker"


class DirectJudge:
    """A run's network: the option that it would rather write first."""

    name = DIRECT
    reads: frozenset[Place] = frozenset({"history"})

    def __init__(self, checkpoint: Checkpoint) -> None:
        self._network, self._encoder = checkpoint.network(), checkpoint.encoder()
        self._index = QueryIndex(checkpoint.queries)

    def choose(self, question: Question) -> int | None:
        """By the first slot's logits; None when the network knows no option."""
        numbers = _numbers(question.options, self._index)
        if (numbers < 0).all():
            return None
        with torch.no_grad():
            contexts = contexts_of(question.history, self._encoder, self._index)
            logits = self._network.logits(**tensors(contexts))[0, 0].numpy()
        return int(np.argmax(np.where(numbers >= 0, logits[np.maximum(numbers, 0)], -np.inf)))


class RankerJudge:
    """The click ranker: the option with the likeliest click on the first place."""

    name = RANKER
    reads: frozenset[Place] = frozenset({"option", "history"})

    def __init__(self, ranker: ClickRanker) -> None:
        base = ranker.features.base
        self._ranker, self._encoder = ranker, base.encoder()
        self._index, self._counts = QueryIndex(base.queries), dict(base.lexicon)

    def choose(self, question: Question) -> int | None:
        """Always one."""
        return int(np.argmax(self.clicks(question)))

    def clicks(self, question: Question) -> npt.NDArray[np.float32]:
        """(5,) p̂ of each option's text as it stands."""
        contexts = contexts_of(question.history, self._encoder, self._index)
        units = to_unit(np.stack([self._encoder.embed(option) for option in question.options]))
        counts = np.array([self._counts.get(option, 0) for option in question.options], np.float32)
        features = torch.from_numpy(
            self._ranker.features.of_texts(
                contexts, units, np.log1p(counts), _numbers(question.options, self._index)
            )
        )
        with torch.no_grad():
            p = self._ranker(features, torch.zeros(features.shape[:2], dtype=torch.int32))
        return np.asarray(p[0].numpy(), np.float32)


def _numbers(texts: tuple[str, ...], index: QueryIndex) -> npt.NDArray[np.int64]:
    return index.numbers(np.array([text_digest(text) for text in texts], np.int64))
