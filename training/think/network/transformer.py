"""The Think network: an encoder over the lines of a history, and a decoder that writes the whole output.

    token   = row of a table (structure, values) | memory of a line | row of a query
    p(next) = softmax over allowed tokens of   h·u | h·P·memory_i | h·q + g(h)·[popularity, lift_S, lift_all]

A line is written by pointing at its memory, a query by the row that it is also read with (tied), which begins
as its e(text): the paper's new tokens begin as the mean of their sub-words' embeddings (§3.2.2). lift_S(q) is
the mean of log(1 + shrunk lift) between q and the lines S that the open rationale or point has named so far,
lift_all between q and all lines: what was counted need not be learned, as Direct stands on its base. The
network learns how much to trust it, and what it does not say. About a million parameters, trained from
nothing; the paper fine-tunes 30 billion (§5.1).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from training.network import HIDDEN, Layer, Shape, layers_of
from training.think.mining.histories import LINES
from training.think.network.grammar import TOKENS_MAX
from training.think.network.inputs import ACTIONS, Inputs
from training.think.network.tokens import BUCKETS, FIRST_LINE, FIRST_QUERY, FIRST_VALUE, POINT

KeysValues = list[tuple[Tensor, Tensor]]


@dataclass(frozen=True, slots=True)
class ThinkShape:
    """Sizes of the network. dim: D of the text encoder; a training run takes it from its data set."""

    dim: int = 64
    width: int = 128
    heads: int = 4
    feed_forward: int = 256
    encoder_layers: int = 2
    decoder_layers: int = 3

    def layers(self) -> Shape:
        """As the generator's layers take it."""
        return Shape(dim=self.dim, width=self.width, heads=self.heads, feed_forward=self.feed_forward)


@dataclass(frozen=True, slots=True)
class Memory:
    """Of B histories. lines: (B, L, width). bias: (B, 1, 1, L), HIDDEN on empty places. looks: of each
    decoder layer, keys and values of the lines. lifts: (B, L, V) of each line's text and each query. rows:
    (V, width) of the queries, the same for all."""

    lines: Tensor
    bias: Tensor
    looks: KeysValues
    lifts: Tensor
    rows: Tensor

    def at(self, places: Tensor) -> Memory:
        """Of those histories."""
        looks = [(keys[places], values[places]) for keys, values in self.looks]
        return Memory(self.lines[places], self.bias[places], looks, self.lifts[places], self.rows)

    def repeated(self, times: int) -> Memory:
        """Each history so many times in a row."""
        return self.at(torch.arange(len(self.lines), device=self.lines.device).repeat_interleave(times))


class Cache(NamedTuple):
    """Of the tokens so far. layers: keys and values. named: (B, L) lines since the last POINT."""

    layers: KeysValues
    named: Tensor

    def at(self, places: Tensor) -> Cache:
        """Of those outputs."""
        return Cache([(keys[places], values[places]) for keys, values in self.layers], self.named[places])


class ThinkNetwork(nn.Module):
    """units: (V, D) e(text) of the lexicon, unit length. popularity: (V,) log1p of the counts. lifts: (V, V)
    float16, log1p of the shrunk lift of a trigger's query (row) and a query."""

    units: Tensor
    popularity: Tensor
    lifts: Tensor

    def __init__(self, shape: ThinkShape, units: Tensor, popularity: Tensor, lifts: Tensor) -> None:
        super().__init__()
        self.shape, width = shape, shape.width
        self.register_buffer("units", units)
        self.register_buffer("popularity", popularity.log_softmax(0))
        self.register_buffer("lifts", lifts)
        self.text = nn.Linear(shape.dim, width)
        self.category = nn.Linear(shape.dim, width, bias=False)
        self.own = nn.Parameter(torch.zeros(len(units), width))  # what a query's row is beyond its text
        self.place = nn.Parameter(torch.randn(LINES, width) * 0.02)
        self.action = nn.Embedding(len(ACTIONS), width)
        self.days = nn.Embedding(BUCKETS["days"], width)
        self.times = nn.Embedding(BUCKETS["times"], width)
        self.words = nn.Parameter(torch.randn(FIRST_QUERY - LINES, width) * 0.02)  # structure, then values
        self.step = nn.Parameter(torch.randn(TOKENS_MAX, width) * 0.02)
        sizes = shape.layers()
        self.encoder = nn.ModuleList(Layer(sizes, cross=False) for _ in range(shape.encoder_layers))
        self.decoder = nn.ModuleList(Layer(sizes, cross=True) for _ in range(shape.decoder_layers))
        self.memory_norm, self.norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.point, self.ask = nn.Linear(width, width), nn.Linear(width, width)
        self.trust = nn.Linear(width, 3)
        nn.init.zeros_(self.trust.weight)
        nn.init.ones_(self.trust.bias)

    @property
    def device(self) -> torch.device:
        """Where it is."""
        return self.units.device

    def rows(self) -> Tensor:
        """(V, width): each query's row, read and written with."""
        found: Tensor = self.text(self.units) + self.own
        return found

    def read(self, inputs: Inputs) -> Memory:
        """Histories to memory."""
        count, width = len(inputs), self.shape.width
        own = torch.cat([self.own.new_zeros(1, width), self.own])[inputs.queries]
        marks = self.action(inputs.actions) + self.days(inputs.days) + self.times(inputs.times) + self.place
        seen = self.text(inputs.texts) + own + self.category(inputs.categories) + marks
        bias = torch.where(inputs.actions > 0, 0.0, HIDDEN).reshape(count, 1, 1, LINES)
        x = seen.reshape(-1, width)
        for layer in layers_of(self.encoder):
            y = layer.norm(x)
            x = layer.feed_forward(x + layer.attention(y, *layer.attention.keys_values(y, count), bias))
        memory = self.memory_norm(x)
        looks = [layer.context(memory, count) for layer in layers_of(self.decoder)]
        known = (inputs.queries > 0).unsqueeze(-1)
        lifts = self.lifts[(inputs.queries - 1).clamp(min=0)].to(torch.float32) * known
        return Memory(memory.reshape(count, LINES, width), bias, looks, lifts, self.rows())

    def write(self, memory: Memory, tokens: Tensor, cache: Cache | None = None) -> tuple[Tensor, Cache]:
        """Logits of what follows each token, (B, T, tokens), before the grammar; and the cache to go on from.

        tokens: (B, T) int64, those after the `cache`'s. Nothing looks ahead: place t sees tokens up to t.
        """
        count, length = tokens.shape
        done = cache.layers[0][0].shape[2] if cache else 0
        named = _named(tokens, cache.named if cache else memory.lines.new_zeros(count, LINES))
        x = self._seen(memory, tokens, done).reshape(-1, self.shape.width)
        bias = torch.full((length, done + length), HIDDEN, device=x.device).triu(done + 1)
        kept: KeysValues = []
        for place, layer in enumerate(layers_of(self.decoder)):
            y = layer.norm(x)
            keys, values = layer.attention.keys_values(y, count)
            if cache:
                before = cache.layers[place]
                keys, values = torch.cat([before[0], keys], 2), torch.cat([before[1], values], 2)
            kept.append((keys, values))
            x = x + layer.attention(y, keys, values, bias)
            x = layer.feed_forward(layer.look(x, *memory.looks[place], memory.bias))
        logits = self._logits(memory, self.norm(x).reshape(count, length, -1), named)
        return logits, Cache(kept, named[:, -1])

    def _seen(self, memory: Memory, tokens: Tensor, done: int) -> Tensor:
        """(B, T, width) of the tokens."""
        word = torch.where(tokens >= FIRST_VALUE, tokens - LINES, tokens).clamp(max=len(self.words) - 1)
        query = (tokens - FIRST_QUERY).clamp(min=0)
        line = (tokens - FIRST_LINE).clamp(0, LINES - 1)
        pointed = memory.lines.gather(1, line.unsqueeze(-1).expand(-1, -1, memory.lines.shape[-1]))
        is_query = (tokens >= FIRST_QUERY).unsqueeze(-1)
        is_line = ((tokens >= FIRST_LINE) & (tokens < FIRST_VALUE)).unsqueeze(-1)
        seen = torch.where(is_query, memory.rows[query], torch.where(is_line, pointed, self.words[word]))
        return seen + self.step[done : done + tokens.shape[1]]

    def _logits(self, memory: Memory, hidden: Tensor, named: Tensor) -> Tensor:
        scale = self.shape.width**-0.5
        words = hidden @ self.words.transpose(0, 1)
        lines = self.point(hidden) @ memory.lines.transpose(1, 2) * scale
        queries = self.ask(hidden) @ memory.rows.transpose(0, 1) * scale + self._counted(
            memory, hidden, named
        )
        structure, values = words[..., :FIRST_LINE], words[..., FIRST_LINE:]
        return torch.cat([structure, lines, values, queries], -1)

    def _counted(self, memory: Memory, hidden: Tensor, named: Tensor) -> Tensor:
        """(B, T, V): what counts alone say of each query, as far as they are trusted here."""
        popular, of_named, of_all = self.trust(hidden).unsqueeze(-2).unbind(-1)
        shares = named / named.sum(-1, keepdim=True).clamp(min=1.0)
        lines = (memory.bias.reshape(len(named), -1) > HIDDEN / 2).to(torch.float32)
        every = (lines / lines.sum(-1, keepdim=True).clamp(min=1.0)).unsqueeze(1)
        # One product for both: weights of the lines, then their lifts.
        lifts = (of_named * shares + of_all * every) @ memory.lifts
        found: Tensor = popular * self.popularity + lifts
        return found


def _named(tokens: Tensor, before: Tensor) -> Tensor:
    """(B, T, L): the lines named since the last POINT, at each token, that one too. before: (B, L)."""
    found, now = [], before
    places = torch.arange(LINES, device=tokens.device) + FIRST_LINE
    for token in tokens.unbind(1):
        now = torch.where((token == POINT).unsqueeze(1), torch.zeros_like(now), now)
        now = torch.maximum(now, (token.unsqueeze(1) == places).to(now.dtype))
        found.append(now)
    return torch.stack(found, 1)
