"""What a context says about each query before any hint is written: a score per query, once per list.

A shopper buys again what they bought, and what goes with it. Both can be read off the embeddings directly:

    c_hq = Σ_l α_h(action_l, age_l) · exp(β_h · (e(text_l) · e(q) − 1))      decayed counts, H kinds of them
    r_q  = softplus(a_q · interests + b_q) + Σ_h g_h · c_hq                  expected purchases of q
    s_q  = log r_q − d · log(1 + c_0q)              what was bought a minute ago is not bought again now

The interests are sums over everything the shopper did, so a linear map recovers a good part of what they buy
by habit, also what has left the window. It begins as the ridge regression of baskets on interests (`warm`).
With large β the kernel counts the query itself, with small β also what is near it; α is learned from action
and age, so the network finds its own half-lives. A trie node's score is the log-sum-exp of the queries below
it, so that the scores alone are a proper distribution over the lexicon, factorised along the trie; the
decoder adds to it. Ours (the paper's network is a language model); a soft copy mechanism in the sense of
Gu et al. 2016, "Incorporating Copying Mechanism in Sequence-to-Sequence Learning", over texts, not tokens.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F  # noqa: N812 - PyTorch's own convention
from torch import Tensor, nn

from agents.hints.context import ACTIONS, AGES
from agents.hints.trie import ROOT, Trie

KERNELS: Final = (60.0, 60.0, 60.0, 8.0)  # β_h; kind 0 also counts what is fresh
FORGETTING: Final = (1.0, 0.0, 0.1, 0.05)  # per age bucket, to begin with
GAINS: Final = (1e-3, 0.02, 0.02, 1e-4)  # g_h, to begin with
SHARPNESS: Final = 60.0  # of the softplus: it bends at rates of about 1 / 60
FLOOR: Final = 1e-5
RIDGE: Final = 1e-3  # per sample

Float32 = npt.NDArray[np.float32]


class QueryPrior(nn.Module):
    """V queries with embeddings e(q), (V, D) float32, over N trie nodes."""

    queries: Tensor
    below: Tensor
    place: Tensor

    def __init__(self, queries: Tensor, trie: Trie) -> None:
        super().__init__()
        kinds = len(KERNELS)
        self.register_buffer("queries", queries)
        self.habit = nn.Linear(2 * queries.shape[1], len(queries))
        self.action = nn.Parameter(torch.zeros(ACTIONS, kinds))
        self.age = nn.Parameter(-torch.arange(AGES).unsqueeze(-1) * torch.tensor(FORGETTING))
        self.gain = nn.Parameter(torch.tensor(GAINS).log())
        self.fresh = nn.Parameter(torch.tensor(0.2))
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
        counts = self._counts(events, actions, ages)
        habit = F.softplus(self.habit(interests.flatten(1)) * SHARPNESS) * (1.0 / SHARPNESS)
        rates = habit + (counts * self.gain.exp().reshape(1, -1, 1)).sum(1) + FLOOR
        scores: Tensor = rates.log() - self.fresh * torch.log1p(counts[:, 0])
        return scores

    def of_nodes(self, scores: Tensor) -> Tensor:
        """(B, V) to (B, N): an inner node's is the log-sum-exp of the queries below it."""
        top = scores.amax(-1, keepdim=True)
        inner = torch.log((scores - top).exp() @ self.below + 1e-20) + top
        return torch.cat([inner, scores], 1).index_select(1, self.place)

    def warm(self, interests: Float32, bought: Float32) -> None:
        """Set a, b to the ridge regression of `bought` (n, V), 0 or 1, on `interests` (n, 2, D)."""
        flat = np.hstack([interests.reshape(len(interests), -1), np.ones((len(interests), 1), np.float32)])
        gram = (flat.T @ flat).astype(np.float64) + RIDGE * len(flat) * np.eye(flat.shape[1])
        solved = np.linalg.solve(gram, (flat.T @ bought).astype(np.float64)).astype(np.float32)
        with torch.no_grad():
            self.habit.weight.copy_(torch.from_numpy(solved[:-1].T.copy()))
            self.habit.bias.copy_(torch.from_numpy(solved[-1].copy()))

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


def _below(trie: Trie, inner: npt.NDArray[Any]) -> Float32:
    """(V, inner nodes): 1 where the query lies below the node."""
    column = {int(node): place for place, node in enumerate(inner)}
    below = np.zeros((int(trie.queries[ROOT]), len(inner)), np.float32)
    for query, leaf in enumerate(trie.leaves()):
        for node in (ROOT, *trie.path(int(leaf))[:-1]):
            below[query, column[node]] = 1.0
    return below
