"""What a context says about each query before any hint is written: a score per query, once per list.

A query is asked for because it is wanted anyway, or because of what else was seen; two causes add up as
intensities, so their score is the logarithm of a sum:

    s_q = log( exp(b_q + u_q + k_q) + Σ_i g_i · E_iq )        (the second sum at least 0)

- b_q: the query's popularity, learned from its log;
- u_q: what the interests, the window and the state of the visit say: a linear map of both interests, of P
  sums of the window's embeddings with weights learned per action and age, and of two facts of the visit
  (begun as a ridge regression on the interests, `begin`);
- k_q: habit, for the queries of the shopper's past only: a small network of how often, how long ago, how
  popular and which query it is (milk comes weekly, detergent monthly), and whether a visit is under way;
- Σ_i g_i E_iq: what goes with that past. E_iq are the strengths of each query's N neighbours, begun as EASE
  (training.neighbours) and learned on; the gate g_i ≥ 0 is a second output of habit's network.

The decoder adds to these scores. Ours: the paper's network is a language model.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F  # noqa: N812 - PyTorch's own convention
from torch import Tensor, nn

from agents.hints.context import ACTIONS, AGE_STEPS, AGES, COUNT_STEPS, VISIT_AGE
from training.neighbours import NEIGHBOURS, Neighbours

POOLS: Final = 2  # P
ITEM: Final = 8  # what habit knows of a query by name
HIDDEN_UNITS: Final = 32
VISIT: Final = 2  # facts of the visit
FACTS: Final = 5  # count, age, sum and maximum of the counts, log-popularity
GATE: Final = -1.0  # where the gates' pre-activation begins
FAINT: Final = 1e-6  # intensity of what nothing speaks for
RIDGE: Final = 1e-3  # per sample
LANES: Final = 16  # float32 numbers in the widest vector register
SHARE: Final = 10.0  # of the regression's probabilities, as logits to begin with

Float32 = npt.NDArray[np.float32]


class QueryPrior(nn.Module):
    """V queries with log-popularity (V,) float32; embeddings of `dim` numbers."""

    popularity: Tensor
    near: Tensor

    def __init__(self, popularity: Tensor, dim: int) -> None:
        super().__init__()
        count = len(popularity)
        self.register_buffer("popularity", popularity)
        self.register_buffer("near", torch.zeros((count + 1, NEIGHBOURS), dtype=torch.int32))
        self.nearness = nn.Parameter(torch.zeros((count + 1, NEIGHBOURS)))
        self.bias = nn.Parameter(popularity - popularity.max())
        self.wishes = nn.Linear(2 * dim, count, bias=False)
        self.pooled = nn.Linear(POOLS * dim, count, bias=False)
        self.visit = nn.Linear(VISIT, count, bias=False)
        self.action = nn.Parameter(torch.zeros(ACTIONS, POOLS))
        self.age = nn.Parameter(-torch.arange(AGES).unsqueeze(-1) * torch.tensor([1.0, 0.1]))
        self.item = nn.Embedding(count + 1, ITEM)
        self.facts = nn.Linear(VISIT + FACTS + ITEM, HIDDEN_UNITS)
        self.verdict = nn.Linear(HIDDEN_UNITS, 2)  # k and the gate
        for small in (self.wishes, self.pooled, self.visit):
            nn.init.zeros_(small.weight)
        nn.init.normal_(self.item.weight, std=0.1)
        with torch.no_grad():
            self.verdict.bias[1] = GATE

    def forward(
        self,
        events: Tensor,
        actions: Tensor,
        ages: Tensor,
        interests: Tensor,
        habits: Tensor,
        rows: Tensor | None = None,
    ) -> Tensor:
        """To scores s_q, (B, V). events: (B, L, D) float; actions, ages: (B, L) int32; interests: (B, 2, D)
        float; habits: (B, H, 3) as agents.hints.context.Contexts has them, or blocks (P, n, 3) of them with
        rows (P,) int32, whose they are."""
        visit = visit_facts(ages)
        said = self.wishes(interests.flatten(1)) + self.pooled(self._pools(events, actions, ages))
        whose = torch.arange(len(habits), device=habits.device) if rows is None else rows.to(torch.int64)
        kept, along = self._past(habits, whose, visit)
        wanted = self.bias + said + self.visit(visit) + kept
        scores: Tensor = torch.logaddexp(wanted, (F.relu(along) + FAINT).log())
        return scores

    def begin(self, interests: Float32, bought: Float32, neighbours: Neighbours) -> None:
        """Begin the map of the interests with the ridge regression of `bought` (n, V), 0 or 1, on `interests`
        (n, 2, D), and what goes with what as the neighbours say."""
        flat = interests.reshape(len(interests), -1)
        gram = (flat.T @ flat).astype(np.float64) + RIDGE * len(flat) * np.eye(flat.shape[1])
        solved = np.linalg.solve(gram, (flat.T @ (bought - bought.mean(0))).astype(np.float64))
        kept = neighbours.numbers.shape[1]  # fewer than N in a small lexicon
        with torch.no_grad():
            self.wishes.weight.copy_(torch.from_numpy((SHARE * solved.T).astype(np.float32)))
            self.near[1:, :kept] = torch.from_numpy(neighbours.numbers).to(torch.int32)
            self.nearness[1:, :kept] = torch.from_numpy(neighbours.strengths)

    def _pools(self, events: Tensor, actions: Tensor, ages: Tensor) -> Tensor:
        """(B, P·D): weighted sums of the window's embeddings."""
        shown = (actions > 0).to(torch.float32).unsqueeze(-1)
        marks = self.action.index_select(0, actions.reshape(-1)) + self.age.index_select(0, ages.reshape(-1))
        weights = (marks.exp().reshape(*actions.shape, -1) * shown).transpose(1, 2)  # (B, P, L)
        return (weights @ events).flatten(1)

    def _past(self, habits: Tensor, rows: Tensor, visit: Tensor) -> tuple[Tensor, Tensor]:
        """k (B, V), 0 for queries that are not of the past; what goes with the past (B, V)."""
        numbers = habits[:, :, 0]
        flat = numbers.reshape(-1)
        shown = (numbers > 0).to(torch.float32)
        # Of two sizes, rows and facts: one Gemm for each layer.
        facts = self._facts(habits, rows, shown.unsqueeze(-1), visit).flatten(0, 1)
        verdict = self.verdict(F.relu(self.facts(facts))).reshape(*numbers.shape, -1)
        gates = (F.softplus(verdict[:, :, 1]) * shown).unsqueeze(-1)
        strengths = self.nearness.index_select(0, flat).reshape(*numbers.shape, -1) * gates
        near = self.near.index_select(0, flat).reshape(numbers.shape[0], -1)
        count = visit.shape[0]
        # What pads has number 0 and gives 0 to query 0.
        kept = self._scattered(rows, (numbers - 1).clamp(min=0), verdict[:, :, 0] * shown, count)
        return kept, self._scattered(rows, near, strengths.flatten(1), count)

    def _facts(self, habits: Tensor, rows: Tensor, shown: Tensor, visit: Tensor) -> Tensor:
        """(P, n, ·): what is known of each query of the past. shown: (P, n, 1)."""
        numbers = habits[:, :, 0]
        flat = numbers.reshape(-1)
        counts = habits[:, :, 1].to(torch.float32).unsqueeze(-1) * (1 / COUNT_STEPS)
        ages = habits[:, :, 2].to(torch.float32).unsqueeze(-1) * (1 / AGE_STEPS)
        item = self.item.weight.index_select(0, flat).reshape(*numbers.shape, ITEM)
        popular = F.pad(self.popularity, (1, 0)).index_select(0, flat).reshape(*numbers.shape, 1)
        of_context = self._around((counts * shown).squeeze(-1), rows, visit)
        around = of_context.unsqueeze(1) * torch.ones_like(counts)
        parts = around[:, :, :VISIT], counts, ages * 0.2, around[:, :, VISIT:], popular * 0.1, item
        return torch.cat(parts, -1)

    def _around(self, counts: Tensor, rows: Tensor, visit: Tensor) -> Tensor:
        """(P, ·) of the blocks' contexts: the visit, sum and maximum of the past's counts. counts: (P, n)."""
        blank = torch.zeros_like(visit[:, 0])
        sums = blank.scatter_add(0, rows, counts.sum(1))
        most = blank.scatter_reduce(0, rows, counts.amax(1), "amax")
        # The logarithm of as many equal numbers as fill a vector register, not of one: a row's last bits must
        # not depend on how many rows there are.
        together = torch.log1p(sums.unsqueeze(1) * torch.ones(1, LANES, device=sums.device))[:, :1]
        return torch.cat([visit, together, most.unsqueeze(1)], 1).index_select(0, rows)

    def _scattered(self, rows: Tensor, queries: Tensor, values: Tensor, count: int) -> Tensor:
        """(P, n) values summed up at their contexts' rows and their queries' numbers, (B, V)."""
        places = rows.unsqueeze(1) * len(self.bias) + queries.to(torch.int64)
        blank = torch.zeros(count * len(self.bias), device=values.device)
        return blank.scatter_add(0, places.reshape(-1), values.reshape(-1)).reshape(count, -1)


def visit_facts(ages: Tensor) -> Tensor:
    """(B, 2) of age codes (B, L): whether a visit is under way (1 or 0), and how much was done in it."""
    recent = ((ages > 0) & (ages <= VISIT_AGE)).to(torch.float32).sum(1)
    steps = torch.log1p(torch.arange(ages.shape[1] + 1, dtype=torch.float32, device=ages.device))
    return torch.stack([recent.clamp(max=1.0), 0.5 * steps.index_select(0, recent.to(torch.int32))], 1)
