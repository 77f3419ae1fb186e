"""The generator: contexts in, lists out. What is trained by IL-SFT and IL-GRPO, and exported."""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor, nn

from agents.hints.context import Contexts
from training.network import INT8_SCALE, ContextEncoder, Shape
from training.prior import FAINT, LANES, QueryPrior
from training.slots import SlotDecoder, greedy

CPU: Final = torch.device("cpu")
CANDIDATES: Final = 128  # of the lexicon; a multiple of LANES


class Generator(nn.Module):
    """queries: (V, D) float32 unit embeddings of the lexicon; popularity: (V,) log-counts.

    All of its functions take the arrays of agents.hints.context.Contexts by name; or, as the exported graph
    does, habits in blocks (P, n, 3) with habit_rows (P,), whose they are.
    """

    def __init__(self, shape: Shape, queries: Tensor, popularity: Tensor) -> None:
        super().__init__()
        self.hints = shape.hints
        self.encoder, self.decoder = ContextEncoder(shape), SlotDecoder(shape, queries)
        self.prior = QueryPrior(popularity, shape.dim)

    @property
    def device(self) -> torch.device:
        """Where its weights are."""
        return self.prior.bias.device

    def scores(
        self,
        events: Tensor,
        actions: Tensor,
        ages: Tensor,
        repeats: Tensor,
        interests: Tensor,
        habits: Tensor,
        habit_rows: Tensor | None = None,
    ) -> Tensor:
        """The prior's scores alone, (B, V)."""
        del repeats  # the decoder's
        past = habits.to(torch.int32)
        scores: Tensor = self.prior(_floats(events), actions, ages, _floats(interests), past, habit_rows)
        return scores

    def logits(
        self,
        events: Tensor,
        actions: Tensor,
        ages: Tensor,
        repeats: Tensor,
        interests: Tensor,
        habits: Tensor,
        habit_rows: Tensor | None = None,
    ) -> Tensor:
        """Logits (B, K, V) of each slot's query."""
        scores = self.scores(events, actions, ages, repeats, interests, habits, habit_rows)
        memory, bias = self.encoder(_floats(events), actions, ages, repeats, _floats(interests))
        logits: Tensor = self.decoder(memory, bias, scores)
        return logits

    def forward(
        self,
        events: Tensor,
        actions: Tensor,
        ages: Tensor,
        repeats: Tensor,
        interests: Tensor,
        habits: Tensor,
        habit_rows: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Queries (B, K) int32 and each hint's log-probability after those before it, (B, K) float32.

        The slots choose among the CANDIDATES that the prior wants most. What it leaves for the others counts
        in the probabilities as if the slots added nothing to them.
        """
        scores = self.scores(events, actions, ages, repeats, interests, habits, habit_rows)
        memory, bias = self.encoder(_floats(events), actions, ages, repeats, _floats(interests))
        if scores.shape[1] <= CANDIDATES:
            return greedy(self.decoder(memory, bias, scores), self.hints)
        wanted, candidates = scores.topk(CANDIDATES)
        logits = self.decoder.among(memory, bias, wanted, candidates)
        places, chances = greedy(logits, self.hints, _rest(scores, wanted, candidates))
        return candidates.gather(1, places.to(torch.int64)).to(torch.int32), chances


def _rest(scores: Tensor, wanted: Tensor, candidates: Tensor) -> Tensor:
    """log Σ exp of the scores that are no candidates', (B, 1)."""
    most = wanted[:, :1]
    others = (scores - most).exp().scatter(1, candidates, torch.zeros_like(wanted)).sum(1, keepdim=True)
    # LANES equal logarithms: training.prior says why.
    return (others.clamp(min=FAINT) * torch.ones(1, LANES, device=scores.device)).log()[:, :1] + most


def _floats(vectors: Tensor) -> Tensor:
    return vectors.to(torch.float32) * (1.0 / INT8_SCALE)


def tensors(contexts: Contexts, device: torch.device = CPU) -> dict[str, Tensor]:
    """The arrays as the network's arguments."""
    return {name: torch.from_numpy(values).to(device) for name, values in contexts.inputs().items()}
