"""The decoder: K slots side by side on one shared context, each of which writes one query of the list.

The paper writes a list as one sequence of sub-words (§3.1). Here a query is one token, whose vector begins as
the mean of its sub-words' (as the paper does for feature tokens, §3.2.2), and a list takes one pass: the
slots attend to each other and to the context, and slot j's distribution over the V queries is

    p_j(q | earlier slots) = softmax_q( s_q + h_j · v_q ),   q not written by slots 1 to j−1

with the context's score s_q (training.prior). So no query comes twice, the probability of a whole list is
exact, and the slot is the unit that IL-GRPO rewards (Eq 11). One sequence was tried first and compared:
docs/decisions/0010.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from training.network import HIDDEN, Layer, Shape, layers_of

# Least probability that earlier slots can leave over, so that rounding does not decide what is left.
LEFT_MIN = {torch.float32: 1e-6, torch.float64: 1e-12}


class SlotDecoder(nn.Module):
    """queries: (V, D) float32, the lexicon's unit embeddings, each the mean of its sub-words'."""

    def __init__(self, shape: Shape, queries: Tensor) -> None:
        super().__init__()
        self.slots = nn.Parameter(torch.randn(shape.hints, shape.width) * 0.02)
        self.layers = nn.ModuleList(Layer(shape, cross=True) for _ in range(shape.decoder_layers))
        self.norm = nn.LayerNorm(shape.width)
        nn.init.constant_(self.norm.weight, 0.02)  # begin near the context's scores
        self.query = nn.Parameter(queries @ torch.randn(shape.dim, shape.width) * shape.width**-0.5)

    def forward(self, memory: Tensor, bias: Tensor, scores: Tensor) -> Tensor:
        """Logits (B, K, V). memory, bias: of the context encoder; scores: (B, V)."""
        added = self._hidden(memory, bias) @ self.query.transpose(0, 1)
        logits: Tensor = added.reshape(*scores.shape[:1], -1, scores.shape[1]) + scores.unsqueeze(1)
        return logits

    def among(self, memory: Tensor, bias: Tensor, scores: Tensor, candidates: Tensor) -> Tensor:
        """Logits (B, K, N) of each context's candidates (B, N), whose scores (B, N) are given."""
        queries = self.query.index_select(0, candidates.reshape(-1)).reshape(*candidates.shape, -1)
        hidden = self._hidden(memory, bias).reshape(candidates.shape[0], -1, queries.shape[-1])
        logits: Tensor = hidden @ queries.transpose(1, 2) + scores.unsqueeze(1)
        return logits

    def _hidden(self, memory: Tensor, bias: Tensor) -> Tensor:
        """(B·K, width): what the slots have made of the context and of each other."""
        rows, alike = bias.shape[0], True  # until they look at a context, one row is enough
        x: Tensor = self.slots
        for layer in layers_of(self.layers):
            y = layer.norm(x)
            keys, values = layer.attention.keys_values(y, 1 if alike else rows)
            x = x + layer.attention(y, keys, values, torch.zeros(()))
            x = layer.feed_forward(layer.look(x, *layer.context(memory, rows), bias, alike=alike))
            alike = False
        hidden: Tensor = self.norm(x)
        return hidden


def list_log_probs(logits: Tensor, lists: Tensor) -> tuple[Tensor, Tensor]:
    """Log-probability of each hint given those before it, and the entropy of its choice; (B, G, K) both.

    logits: (B, K, V), with -1e9 or less for what cannot be chosen. lists: (B, G, K) int64 of distinct
    queries. Missing slots (-1) give 0 and 0, and take nothing from those after them. Of a sharp policy the
    earlier slots leave a millionth or less: give its logits as float64.
    """
    logp = logits.log_softmax(-1)
    present = lists >= 0
    chosen = lists.clamp(min=0)
    rows, groups, slots = lists.shape
    # (B, G, K, K): what slot j (third axis) says of the query in slot i (fourth).
    asked = chosen.reshape(rows, 1, -1).expand(-1, slots, -1)
    said = logp.gather(2, asked).reshape(rows, slots, groups, slots).transpose(1, 2)
    own = said.diagonal(dim1=2, dim2=3)
    before = torch.ones(slots, slots, dtype=torch.bool, device=lists.device).tril(-1)
    earlier = before & present.unsqueeze(2)
    gone = torch.where(earlier, said, torch.full_like(said, HIDDEN))
    left = (1.0 - gone.exp().sum(-1)).clamp(min=LEFT_MIN[logits.dtype])
    # Entropy of the renormalised rest: log left − (1/left) · Σ_rest p log p.
    whole = (logp.exp() * logp.clamp(min=HIDDEN / 2)).sum(-1).unsqueeze(1)
    rest = whole - (gone.exp() * gone).sum(-1)
    entropy = left.log() - rest / left
    zero = torch.zeros((), dtype=logits.dtype)
    return torch.where(present, own - left.log(), zero), torch.where(present, entropy, zero)


def greedy(logits: Tensor, hints: int, rest: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """The likeliest query of each slot after those before it: queries (B, hints) int32 and their
    log-probabilities. Beyond K the last slot goes on. A slot with nothing left to choose gives -1.
    rest: (B, 1), the logit of all that cannot be chosen, together.

    Unrolled: this is what is exported.
    """
    slots = torch.split(logits, 1, 1)
    gone = torch.full_like(logits[:, :1, :1], HIDDEN)
    taken, offered, chosen = torch.zeros_like(slots[0]), [], []
    for place in range(hints):
        offered.append(slots[min(place, len(slots) - 1)] + taken)
        chosen.append(offered[-1].argmax(-1, keepdim=True))
        taken = taken.scatter(2, chosen[-1], gone)
    # All normalised in one go, which costs a small part of a log-sum-exp after each choice.
    every, queries = torch.cat(offered, 1), torch.cat(chosen, 1)
    possible = every.gather(2, queries) > HIDDEN / 2
    whole = every if rest is None else torch.cat([every, rest.unsqueeze(1).expand(-1, hints, -1)], -1)
    scores = torch.where(possible, whole.log_softmax(-1).gather(2, queries), torch.zeros_like(gone))
    queries = torch.where(possible, queries, torch.full_like(queries, -1)).to(torch.int32)
    return queries.squeeze(-1), scores.squeeze(-1)


def sampled(
    logits: Tensor, groups: int, temperature: float, top_k: int, generator: torch.Generator
) -> Tensor:
    """G lists per context from the policy, (B, G, K) int64.

    Each slot draws from its `top_k` likeliest queries at a temperature, without those that earlier slots of
    its list have drawn; -1 where none of them is left. The draws are made on the CPU, so that a seed means
    the same on every device.
    """
    values, places = (logits / temperature).topk(min(top_k, logits.shape[2]), dim=-1)  # (B, K, top)
    lists = torch.full_like(places[:, None, :, 0], -1).repeat(1, groups, 1)
    for slot in range(logits.shape[1]):
        draws = torch.rand(logits.shape[0], groups, values.shape[2], generator=generator).to(logits.device)
        noisy = values[:, None, slot] - torch.log(-torch.log(draws.clamp(1e-9, 1 - 1e-7)))
        offered = places[:, None, slot].expand(-1, groups, -1)
        repeated = (offered.unsqueeze(-1) == lists[:, :, None, :slot]).any(-1)
        best, pick = noisy.masked_fill(repeated, -torch.inf).max(-1, keepdim=True)
        possible = best > HIDDEN / temperature / 2
        drawn = torch.where(possible, offered.gather(2, pick), torch.full_like(pick, -1))
        lists[:, :, slot] = drawn.squeeze(-1)
    return lists


def only_top(logits: Tensor, top_k: int) -> Tensor:
    """Logits with all but the `top_k` likeliest of each slot closed: the policy that `sampled` draws from."""
    if top_k >= logits.shape[-1]:
        return logits
    floor = logits.topk(top_k, dim=-1).values[..., -1:]
    return torch.where(logits >= floor, logits, torch.full_like(logits, HIDDEN))
