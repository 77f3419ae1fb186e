"""Outputs token by token, each from what the grammar allows, and how likely given outputs are.

Greedy for reasoning; drawn at a temperature from the likeliest `top_k` for rollouts (§3.5.4). The policy is
always the network's after the grammar: log-probabilities are of the choice among allowed tokens, so a token
that had to come costs nothing and teaches nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from training.network import HIDDEN
from training.slots import only_top
from training.think.network.grammar import Grammar, State
from training.think.network.inputs import Inputs
from training.think.network.tokens import BEGIN, PAD
from training.think.network.transformer import ThinkNetwork

Tokens = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Draws:
    """How to draw. temperature, top_k: of the policy."""

    generator: torch.Generator
    temperature: float = 1.0
    top_k: int = 100


@torch.no_grad()
def decode(
    network: ThinkNetwork,
    inputs: Inputs,
    grammars: Sequence[Grammar],
    *,
    group: int = 1,
    draws: Draws | None = None,
) -> list[list[int]]:
    """`group` outputs for each history, one after another; all well-formed. Without `draws` the likeliest."""
    memory = network.read(inputs.to(network.device)).repeated(group)
    own = [grammar for grammar in grammars for _ in range(group)]
    outputs = [[BEGIN] for _ in own]
    states = [grammar.step(State(), BEGIN) for grammar in own]
    live, cache = list(range(len(own))), None
    while live:
        last = torch.tensor([[outputs[row][-1]] for row in live], device=network.device)
        logits, cache = network.write(memory, last, cache)
        allowed = torch.from_numpy(np.stack([own[row].allowed(states[row]) for row in live]))
        chosen = _chosen(logits[:, -1].cpu(), allowed, draws)
        for row, token in zip(live, chosen.tolist(), strict=True):
            outputs[row].append(token)
            states[row] = own[row].step(states[row], token)
        going = [place for place, row in enumerate(live) if states[row].at != "done"]
        if len(going) < len(live):  # what is done costs nothing more
            places = torch.tensor(going, dtype=torch.int64, device=network.device)
            memory, cache, live = memory.at(places), cache.at(places), [live[place] for place in going]
    return outputs


def padded(outputs: Sequence[Sequence[int]]) -> Tokens:
    """(N, T) int64, PAD behind the shorter ones."""
    tokens = np.full((len(outputs), max(map(len, outputs), default=0)), PAD, np.int64)
    for row, output in enumerate(outputs):
        tokens[row, : len(output)] = output
    return tokens


def masks_of(grammars: Sequence[Grammar], outputs: Sequence[Sequence[int]]) -> Tensor:
    """(N, T − 1, tokens) bool: what was allowed at each token after the first; nothing behind an end."""
    length = max(map(len, outputs), default=1) - 1
    masks = np.zeros((len(outputs), length, grammars[0].tokens), np.bool_)
    for row, (grammar, output) in enumerate(zip(grammars, outputs, strict=True)):
        state = grammar.step(State(), output[0])
        for place, token in enumerate(output[1:]):
            masks[row, place] = grammar.allowed(state)
            state = grammar.step(state, token)
    return torch.from_numpy(masks)


def choices(
    logits: Tensor, masks: Tensor, *, temperature: float = 1.0, top_k: int | None = None
) -> tuple[Tensor, Tensor]:
    """Where there was a choice, (N, T − 1) bool, and the policy there: log-probabilities (choices, tokens).

    logits: of what follows tokens 0 … T − 2. masks: of `masks_of`.
    """
    open_ = masks.sum(-1) > 1
    policy = logits[open_].masked_fill(~masks[open_], HIDDEN) / temperature
    return open_, (policy if top_k is None else only_top(policy, top_k)).log_softmax(-1)


def entropies(policy: Tensor) -> Tensor:
    """(choices,) nats. policy: log-probabilities (choices, tokens)."""
    return -(policy.exp() * policy.clamp(min=HIDDEN / 2)).sum(-1)


def of_tokens(policy: Tensor, tokens: Tensor, open_: Tensor) -> Tensor:
    """(choices,) log-probabilities of what was written. tokens: (N, T)."""
    return policy.gather(-1, tokens[:, 1:][open_].unsqueeze(-1)).squeeze(-1)


def _chosen(logits: Tensor, allowed: Tensor, draws: Draws | None) -> Tensor:
    masked = logits.masked_fill(~allowed, HIDDEN)
    if draws is None:
        return masked.argmax(-1)
    policy = only_top(masked / draws.temperature, draws.top_k)
    chance = torch.rand(policy.shape, generator=draws.generator).clamp(1e-9, 1 - 1e-7)
    noisy = policy - torch.log(-torch.log(chance))
    return noisy.masked_fill(~allowed, -torch.inf).argmax(-1)
