"""One sequence instead of slots: hint after hint, each from the hints before it.

    p(q_j | q_1 … q_j−1) = softmax_q( s_q + h_j · v_q ),   h_j from the context and q_1 … q_j−1

as the paper's language model writes (§3.1), with a query as one token. Layers, query vectors and the
context's scores s_q are those of training.slots; only the first input is new. Keys and values of earlier
hints are kept, so a list takes K passes of one token each; slots take one pass of K. For
benchmarks.decoders alone.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from training.generator import Generator
from training.network import HIDDEN, INT8_SCALE, Shape, layers_of
from training.slots import SlotDecoder, greedy

Read = tuple[Tensor, Tensor, Tensor]  # memory, its bias, scores
Inputs = dict[str, Tensor]


class SequenceDecoder(SlotDecoder):
    """As SlotDecoder; `slots` are its places, `begin` stands before the first hint."""

    def __init__(self, shape: Shape, queries: Tensor) -> None:
        super().__init__(shape, queries)
        self.begin = nn.Parameter(torch.randn(shape.width) * 0.02)

    def forced(self, read: Read, lists: Tensor) -> Tensor:
        """Logits (B, K, V) where the hints before each are those of `lists` (B, K), -1 behind the last."""
        memory, bias, scores = read
        rows, steps = lists.shape
        fed = self.query[lists.clamp(min=0)][:, :-1]
        x = torch.cat([self.begin.expand(rows, 1, -1), fed], 1) + self.slots[:steps]
        x = x.reshape(-1, x.shape[-1])
        ahead = torch.full((steps, steps), HIDDEN).triu(1)
        for layer in layers_of(self.layers):
            y = layer.norm(x)
            x = x + layer.attention(y, *layer.attention.keys_values(y, rows), ahead)
            x = layer.feed_forward(layer.look(x, *layer.context(memory, rows), bias))
        h = (self.norm(x) @ self.query.transpose(0, 1)).reshape(rows, steps, -1)
        logits: Tensor = h + scores.unsqueeze(1)
        return logits

    def written(self, read: Read, *, repeating: bool = False) -> tuple[Tensor, Tensor]:
        """The likeliest query of each step: queries and their log-probabilities, (B, K) both.

        repeating: nothing is closed, so that a query may come again.
        """
        memory, bias, scores = read
        seen = [layer.context(memory, len(scores)) for layer in layers_of(self.layers)]
        kept: list[tuple[Tensor, Tensor]] = []
        fed, queries, chances = self.begin.expand(len(scores), -1), [], []
        for place in self.slots:
            logits = self._next(fed + place, seen, kept, bias) + scores
            best, query = logits.max(-1)
            queries.append(query)
            chances.append(best - logits.logsumexp(-1))
            if not repeating:
                scores = scores.scatter(1, query.unsqueeze(1), HIDDEN)
            fed = self.query[query]
        return torch.stack(queries, 1), torch.stack(chances, 1)

    def _next(
        self, x: Tensor, seen: list[tuple[Tensor, Tensor]], kept: list[tuple[Tensor, Tensor]], bias: Tensor
    ) -> Tensor:
        """What the next step adds to the scores, (B, V). x: (B, width). kept: keys and values so far."""
        for number, layer in enumerate(layers_of(self.layers)):
            y = layer.norm(x)
            own = layer.attention.keys_values(y, len(x))
            if number < len(kept):
                before = kept[number]
                own = torch.cat([before[0], own[0]], 2), torch.cat([before[1], own[1]], 2)
            kept[number : number + 1] = [own]
            x = x + layer.attention(y, *own, torch.zeros(()))
            x = layer.feed_forward(layer.look(x, *seen[number], bias))
        added: Tensor = self.norm(x) @ self.query.transpose(0, 1)
        return added


class Writer(Generator):
    """A generator whose parts can be called one by one; this one's slots stand side by side."""

    def read(self, inputs: Inputs, closed: Tensor | None = None) -> Read:
        """Memory, its bias, and the context's scores. closed: (B, V), HIDDEN for what may not come."""
        vectors, wishes = (inputs[name].to(torch.float32) / INT8_SCALE for name in ("events", "interests"))
        memory, bias = self.encoder(
            vectors, *(inputs[name] for name in ("actions", "ages", "repeats")), wishes
        )
        scores = self.scores(**inputs)
        return memory, bias, scores if closed is None else scores + closed

    def logits_for(self, inputs: Inputs, lists: Tensor) -> Tensor:
        """Logits (B, K, V) to be trained on; slots do not see the lists (B, K)."""
        del lists
        logits: Tensor = self.decoder(*self.read(inputs))
        return logits

    def write(
        self, inputs: Inputs, closed: Tensor | None = None, *, repeating: bool = False
    ) -> tuple[Tensor, Tensor]:
        """Queries (B, K) and their log-probabilities; `repeating`: nothing that was written is closed."""
        logits = self.decoder(*self.read(inputs, closed))
        if repeating:
            chances, queries = logits.log_softmax(-1).max(-1)
            return queries, chances
        queries, chances = greedy(logits, self.hints)
        return queries.to(torch.int64), chances


class SequenceWriter(Writer):
    """The same with the other decoder."""

    decoder: SequenceDecoder

    def __init__(self, shape: Shape, queries: Tensor, popularity: Tensor) -> None:
        super().__init__(shape, queries, popularity)
        self.decoder = SequenceDecoder(shape, queries)

    def logits_for(self, inputs: Inputs, lists: Tensor) -> Tensor:
        """Logits (B, K, V), teacher-forced."""
        return self.decoder.forced(self.read(inputs), lists)

    def write(
        self, inputs: Inputs, closed: Tensor | None = None, *, repeating: bool = False
    ) -> tuple[Tensor, Tensor]:
        """As Writer.write."""
        return self.decoder.written(self.read(inputs, closed), repeating=repeating)
