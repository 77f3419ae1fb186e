"""The Think network as a judge of five options: which one it would rather write for the newest line.

Its own answers name one of five drawn queries too seldom to tell anything (training.think.audit.
reasoner_judge), but it has a probability for every query. The likeliest option is its choice, after the
tokens that open a rationale on line 1, or, for a network without a trace, a point on it:

    BEGIN POINT <1>  ·        BEGIN ANSWER POINT <1> ARROW  ·
"""

from __future__ import annotations

from typing import Final

import numpy as np
import torch

from streams.query_text import normalise_query
from training.think.audit.pools import Question
from training.think.audit.templates import Place
from training.think.network.inputs import inputs_of
from training.think.network.reasoner import NetworkReasoner
from training.think.network.tokens import ANSWER, ARROW, BEGIN, FIRST_QUERY, POINT, line_token

NETWORK: Final = "network"
NEWEST: Final = 1


class NetworkJudge:
    """Reads histories alone; an option that its lexicon lacks is never chosen."""

    name = NETWORK
    reads: frozenset[Place] = frozenset({"history"})

    def __init__(self, reasoner: NetworkReasoner) -> None:
        self._reasoner = reasoner
        queries = reasoner.lexicon.queries
        self._number = {normalise_query(query): number for number, query in enumerate(queries)}

    def choose(self, question: Question) -> int | None:
        """None when the network knows no option."""
        numbers = np.array(
            [-1 if at is None else at for at in map(self._reasoner.lexicon.number, question.options)]
        )
        if (numbers < 0).all():
            return None
        scores = self._scores(question)[np.maximum(numbers, 0)]
        return int(np.argmax(np.where(numbers >= 0, scores, -np.inf)))

    @torch.no_grad()
    def _scores(self, question: Question) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
        """(V,) logits of each query."""
        one = self._reasoner
        network = one.network
        memory = network.read(inputs_of([question.history], one.lexicon, one.encoder).to(network.device))
        line = line_token(NEWEST)
        opened = [BEGIN, POINT, line] if one.traced else [BEGIN, ANSWER, POINT, line, ARROW]
        logits, _ = network.write(memory, torch.tensor([opened], device=network.device))
        found: np.ndarray[tuple[int], np.dtype[np.float32]] = logits[0, -1, FIRST_QUERY:].cpu().numpy()
        return found
