"""Which slot learns which target: the assignment that a list says best, as DETR does it (Carion et al. 2020).

    maximise Σ_i log p_s(i)(q_i)   over s: targets → slots, one to one

by Bertsekas' auction, for all rows at once: a target without a slot bids on the slot that is worth most to it
after prices, as much as that slot is worth more than its second best, and EPSILON more. Ours; for
benchmarks.decoders alone.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

EPSILON: Final = 0.05  # nats by which the assignment may miss the best, per target
WORST: Final = -20.0  # log-probability below which all are alike


def dealt_out(logits: Tensor, lists: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Targets and weights (B, K) at the slots that say them best together; -1 and 0 in slots without one.

    logits: (B, K, V). lists: (B, K) int64, -1 behind the last. weights: (B, K) float32.
    """
    rows, slots, _ = logits.shape
    asked = lists.clamp(min=0).unsqueeze(1).expand(-1, slots, -1)
    worth = logits.log_softmax(-1).gather(2, asked).transpose(1, 2).clamp(min=WORST)
    slot = assigned(worth, lists >= 0)
    placed = torch.full((rows, slots + 1), -1).scatter(1, slot, lists)
    weighed = torch.zeros(rows, slots + 1).scatter(1, slot, weights)
    return placed[:, :-1], weighed[:, :-1]


def assigned(worth: Tensor, present: Tensor) -> Tensor:
    """The slot of each target, (B, N) int64; K for those that are not present.

    worth: (B, N, K) float32, N ≤ K. present: (B, N) bool. The sum of worth is within N · EPSILON of the
    greatest, also with more slots than targets, since all prices begin at 0.
    """
    rows, targets, slots = worth.shape
    prices, chosen = torch.zeros(rows, slots), torch.full((rows, targets), slots)
    while bool((waiting := present & (chosen == slots)).any()):
        high, winner = _bids(worth - prices.unsqueeze(1), waiting).max(1)  # of each slot
        sold = high > -torch.inf
        prices = torch.where(sold, prices + high, prices)
        nowhere = torch.zeros(rows, 1, dtype=torch.bool)
        outbid = torch.cat([sold, nowhere], 1).gather(1, chosen)
        won = (torch.arange(targets).reshape(1, -1, 1) == winner.unsqueeze(1)) & sold.unsqueeze(1)
        chosen = torch.where(outbid, slots, chosen)
        chosen = torch.where(won.any(-1), won.to(torch.int8).argmax(-1), chosen)
    return chosen


def _bids(value: Tensor, waiting: Tensor) -> Tensor:
    """(B, N, K): what each waiting target adds to the price of its best slot, -inf elsewhere."""
    best = value.topk(min(2, value.shape[2]), -1)
    more = best.values[..., 0] - best.values[..., -1] + EPSILON
    more = torch.where(waiting, more, torch.full_like(more, -torch.inf))
    return torch.full_like(value, -torch.inf).scatter(2, best.indices[..., :1], more.unsqueeze(-1))
