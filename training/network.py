"""The network's layers, and its encoder: L behaviours and two interests, one token each.

Departures from the paper: behaviours are vectors embedded when they arrived, not text (§3.2), and there is
about a million parameters instead of 30 billion (§5.1). The decoder is in training.slots.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F  # noqa: N812 - PyTorch's own convention
from torch import Tensor, nn

from agents.hints.context import ACTIONS, AGES, REPEATS

HIDDEN = -1e9  # logit or attention bias of what must not be chosen or seen
INT8_SCALE = 127.0


@dataclass(frozen=True, slots=True)
class Shape:
    """Sizes of the network."""

    dim: int = 64  # D
    width: int = 64
    heads: int = 4
    feed_forward: int = 128
    encoder_layers: int = 0
    decoder_layers: int = 1
    hints: int = 12  # K


class Attention(nn.Module):
    """Multi-head attention with separate projections, which export to fused Gemm nodes."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q, self.k = nn.Linear(width, width), nn.Linear(width, width, bias=False)
        self.v, self.o = nn.Linear(width, width), nn.Linear(width, width)

    def split(self, x: Tensor, rows: int) -> Tensor:
        """(rows·n, width) to (rows, heads, n, width / heads)."""
        return x.reshape(rows, -1, self.heads, x.shape[-1] // self.heads).transpose(1, 2)

    def keys_values(self, x: Tensor, rows: int) -> tuple[Tensor, Tensor]:
        """Of (rows·n, width) inputs: two (rows, heads, n, width / heads)."""
        return self.split(self.k(x), rows), self.split(self.v(x), rows)

    def forward(
        self, x: Tensor, keys: Tensor, values: Tensor, bias: Tensor, *, alike: bool = False
    ) -> Tensor:
        """x: (rows·m, width) to the same; keys, values: (rows, heads, n, ·); bias: broadcast to (rows, heads,
        m, n). alike: the same x (m, width) asks in all rows."""
        queries = self.split(self.q(x), 1 if alike else keys.shape[0])
        scale = float(queries.shape[-1]) ** -0.5
        seen = ((queries @ keys.transpose(-1, -2)) * scale + bias).softmax(-1) @ values
        mixed: Tensor = self.o(seen.transpose(1, 2).reshape(-1, x.shape[-1]))
        return mixed


class Layer(nn.Module):
    """Pre-norm Transformer layer; `cross` adds attention to the context."""

    def __init__(self, shape: Shape, *, cross: bool) -> None:
        super().__init__()
        self.norm, self.attention = nn.LayerNorm(shape.width), Attention(shape.width, shape.heads)
        self.cross = Attention(shape.width, shape.heads) if cross else None
        self.cross_norm = nn.LayerNorm(shape.width) if cross else None
        self.ff_norm = nn.LayerNorm(shape.width)
        self.up = nn.Linear(shape.width, shape.feed_forward)
        self.down = nn.Linear(shape.feed_forward, shape.width)

    def feed_forward(self, x: Tensor) -> Tensor:
        """With residual. ReLU, because ONNX Runtime fuses it into the Gemm."""
        y: Tensor = x + self.down(F.relu(self.up(self.ff_norm(x))))
        return y

    def context(self, memory: Tensor, rows: int) -> tuple[Tensor, Tensor]:
        """Keys and values of the context for `look`."""
        if self.cross is None:
            raise TypeError("a layer without cross-attention sees no context")
        return self.cross.keys_values(memory, rows)

    def look(self, x: Tensor, keys: Tensor, values: Tensor, bias: Tensor, *, alike: bool = False) -> Tensor:
        """Cross-attention to the context, with residual; `alike` as in Attention, rows come out of it."""
        if self.cross is None or self.cross_norm is None:
            return x
        seen: Tensor = self.cross(self.cross_norm(x), keys, values, bias, alike=alike)
        return (seen.reshape(-1, *x.shape) + x).reshape(-1, x.shape[-1]) if alike else x + seen


class ContextEncoder(nn.Module):
    """Contexts to memory: (B, 2 + L, width), the two interests first."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.event = nn.Linear(shape.dim, shape.width)
        self.action = nn.Embedding(ACTIONS, shape.width)
        self.age = nn.Embedding(AGES, shape.width)
        self.repeat = nn.Embedding(REPEATS, shape.width)
        self.interest = nn.ModuleList(nn.Linear(shape.dim, shape.width) for _ in range(2))
        self.layers = nn.ModuleList(Layer(shape, cross=False) for _ in range(shape.encoder_layers))
        self.norm = nn.LayerNorm(shape.width)

    def forward(
        self, events: Tensor, actions: Tensor, ages: Tensor, repeats: Tensor, interests: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Arrays of agents.hints.context.Contexts, vectors as floats, to memory and bias (B, 1, 1, 2 + L)."""
        rows, width = events.shape[0], self.shape.width
        marks = rows_of(self.action, actions) + rows_of(self.age, ages) + rows_of(self.repeat, repeats)
        seen = self.event(events.reshape(-1, self.shape.dim)).reshape(rows, -1, width) + marks
        wished = [project(interests[:, place]) for place, project in enumerate(self.interest)]
        x = torch.cat([torch.stack(wished, 1), seen], 1).reshape(-1, width)
        shown = torch.cat([torch.ones_like(actions[:, :2]), actions], 1) > 0
        bias = (1.0 - shown.to(torch.float32)).reshape(rows, 1, 1, -1) * HIDDEN
        for layer in layers_of(self.layers):
            y = layer.norm(x)
            x = x + layer.attention(y, *layer.attention.keys_values(y, rows), bias)
            x = layer.feed_forward(x)
        memory: Tensor = self.norm(x)
        return memory, bias


def layers_of(modules: nn.ModuleList) -> list[Layer]:
    """The list's modules as what they are."""
    return cast("list[Layer]", list(modules))


def rows_of(table: nn.Embedding, codes: Tensor) -> Tensor:
    """Embedding of int32 codes of any shape; index_select, because the exporter's indexing needs int64."""
    rows: Tensor = table.weight.index_select(0, codes.reshape(-1))
    return rows.reshape(*codes.shape, -1)
