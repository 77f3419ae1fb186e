"""What a context says about each query before any hint is written: a score per query, once per list.

A shopper buys again what they bought, and what is like it. Both can be read off the embeddings directly:

    c_hq = Σ_l α_h(action_l, age_l) · exp(β_h · (e(text_l) · e(q) − 1))     decayed counts, H kinds of them
    s_q  = b_q + MLP(log(1 + c_q), e(q) · visit interest, e(q) · shopper interest)

With large β the kernel counts the query itself, with small β also what is near it. α is learned from action
and age, so the network finds its own half-lives. A trie node's score is the log-sum-exp of the queries below
it, so that the scores alone already are a proper distribution over the lexicon, factorised along the trie;
the decoder adds to it. Ours (the paper's network is a language model): a soft copy mechanism in the sense of
Gu et al. 2016, "Incorporating Copying Mechanism in Sequence-to-Sequence Learning", over texts, not tokens.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - PyTorch's own convention
from torch import Tensor, nn

from agents.hints.context import ACTIONS, AGES
from agents.hints.trie import ROOT, Trie

KERNELS = (60.0, 60.0, 60.0, 8.0)  # β_h
HIDDEN_UNITS = 16
INT8_SCALE = 127.0


class QueryPrior(nn.Module):
    """V queries with embeddings e(q), (V, D) int8, over N trie nodes."""

    def __init__(self, queries: Tensor, trie: Trie) -> None:
        super().__init__()
        kinds = len(KERNELS)
        self.register_buffer("queries", queries.to(torch.float32) * (1.0 / INT8_SCALE))
        self.bias = nn.Parameter(torch.zeros(len(queries)))
        self.action = nn.Parameter(torch.zeros(ACTIONS, kinds))
        self.age = nn.Parameter(_half_lives(kinds))
        self.up = nn.Linear(kinds + 2, HIDDEN_UNITS)
        self.down = nn.Linear(HIDDEN_UNITS, 1)
        self.direct = nn.Linear(kinds + 2, 1, bias=False)
        with torch.no_grad():
            self.down.weight.zero_()
            self.direct.weight.copy_(torch.tensor([[0.5, 0.5, 0.5, 0.1, 0.5, 1.0]]))
        inner = np.flatnonzero(trie.query < 0)
        self.register_buffer("below", torch.from_numpy(_below(trie, inner)), persistent=False)
        place = np.empty(len(trie.query), np.int32)
        place[inner] = np.arange(len(inner))
        place[trie.leaves()] = len(inner) + np.arange(len(queries))
        self.register_buffer("place", torch.from_numpy(place), persistent=False)

    def forward(self, events: Tensor, actions: Tensor, ages: Tensor, interests: Tensor) -> Tensor:
        """events: (B, L, D) float; actions, ages: (B, L) int32; interests: (B, 2, D) float. To (B, N)."""
        return self.of_nodes(self.of_queries(events, actions, ages, interests))

    def of_queries(self, events: Tensor, actions: Tensor, ages: Tensor, interests: Tensor) -> Tensor:
        """Log-scores s_q, (B, V)."""
        features = torch.cat(
            [
                torch.log1p(self._counts(events, actions, ages)),
                interests @ self.queries.transpose(0, 1),
            ],
            1,
        ).transpose(1, 2)  # (B, V, H + 2)
        refined = self.down(F.relu(self.up(features))) + self.direct(features)
        scores: Tensor = self.bias + refined.squeeze(-1)
        return scores

    def of_nodes(self, scores: Tensor) -> Tensor:
        """(B, V) to (B, N): an inner node's is the log-sum-exp of the queries below it."""
        top = scores.amax(-1, keepdim=True)
        inner = torch.log((scores - top).exp() @ self.below + 1e-20) + top
        return torch.cat([inner, scores], 1).index_select(1, self.place)

    def _counts(self, events: Tensor, actions: Tensor, ages: Tensor) -> Tensor:
        """c, (B, H, V). The kernel is a fixed function of fixed embeddings: nothing to learn in it."""
        shown = (actions > 0).to(torch.float32).unsqueeze(-1)
        marks = self.action.index_select(0, actions.reshape(-1)) + self.age.index_select(0, ages.reshape(-1))
        weights = (marks.exp().reshape(*actions.shape, -1) * shown).transpose(1, 2)  # (B, H, L)
        nearness = events @ self.queries.transpose(0, 1) - 1.0  # (B, L, V)
        counts, start = [], 0
        for kernel in dict.fromkeys(KERNELS):
            end = start + KERNELS.count(kernel)
            counts.append(weights[:, start:end] @ (nearness * kernel).exp())
            start = end
        return torch.cat(counts, 1)


def _half_lives(kinds: int) -> Tensor:
    """(AGES, H): begin with slow, middle and fast forgetting, the last kind slow again."""
    buckets = torch.arange(AGES, dtype=torch.float32).unsqueeze(-1)
    return -buckets * torch.tensor([0.0, 0.1, 0.3, 0.0])[:kinds]


def _below(trie: Trie, inner: np.ndarray[tuple[int, ...], np.dtype[np.int64]]) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """(V, inner nodes): 1 where the query lies below the node."""
    column = {int(node): place for place, node in enumerate(inner)}
    below = np.zeros((int(trie.queries[ROOT]), len(inner)), np.float32)
    for query, leaf in enumerate(trie.leaves()):
        for node in (ROOT, *trie.path(int(leaf))[:-1]):
            below[query, column[node]] = 1.0
    return below
