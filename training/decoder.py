"""The decoder: writes an ordered list of K distinct queries as one sequence, inside the trie.

As in the paper (§3.1) the list is one decode, so a later hint sees the earlier ones and no online beam is
needed. Each step chooses among the children of the current trie node; reaching a leaf completes a hint and
returns to the root. A node that has no query left is closed, so that no query comes twice. (The paper's
text is free, §2.2; the trie is ours.)

The other form that the design names, K slots decoded side by side, would replace `ListDecoder`: its `write`
would keep K current nodes a row instead of one, and return the same queries and scores.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from agents.hints.trie import ROOT, Trie
from training.network import HIDDEN, INT8_SCALE, ContextEncoder, Layer, Shape, layers_of
from training.prior import QueryPrior

Context = list[tuple[Tensor, Tensor]]  # per layer: keys and values of the memory, (B, heads, S, ·)
State = tuple[Tensor, ...]  # see ListDecoder.start
Loop = Callable[[Callable[..., Tensor], Callable[..., State], State], State]


def python_loop(going: Callable[..., Tensor], advance: Callable[..., State], state: State) -> State:
    """The loop as PyTorch runs it; training.export puts an ONNX Loop in its place."""
    while bool(going(*state)):
        state = advance(*state)
    return state


class ListDecoder(nn.Module):
    """N trie nodes; the trie's arrays are buffers, and so become part of the graph.

    A node's logit is its prior (training.prior) + h · vector of its token: tokens share what they mean
    wherever they stand. Counting the queries left costs N numbers a row: meant for thousands of queries;
    for a hundred thousand, compare ranges of leaves instead.

    In training all earlier hints are true; in a greedy list seven in eight are not, and a decoder that takes
    them for bought drifts away. So a hint is chosen from h_0 + history · (h_t − h_0), h_0 being what the
    decoder says before any hint is written. Of 0, 0.1, 0.25, 0.5 and 1 the value 0.1 gave the best lists for
    November's baskets, and 1 by far the worst; training on lists with wrong hints in them may change that.
    """

    trie_token: Tensor
    trie_parent: Tensor
    trie_first: Tensor
    trie_count: Tensor
    trie_query: Tensor
    trie_queries: Tensor

    def __init__(self, shape: Shape, trie: Trie) -> None:
        super().__init__()
        self.shape = shape
        self.token = nn.Embedding(shape.tokens, shape.width)
        self.place = nn.Embedding(shape.hints + 1, shape.width)
        self.inside = nn.Parameter(torch.zeros(shape.width))
        self.layers = nn.ModuleList(Layer(shape, cross=True) for _ in range(shape.decoder_layers))
        self.norm = nn.LayerNorm(shape.width)
        nn.init.constant_(self.norm.weight, 0.02)  # begin near the prior
        nn.init.normal_(self.token.weight, std=shape.width**-0.5)
        for name in ("token", "parent", "first", "count", "query", "queries"):
            self.register_buffer(
                f"trie_{name}", torch.from_numpy(getattr(trie, name).copy()), persistent=False
            )

    def node_vectors(self) -> Tensor:
        """(N, width): what a node is fed and scored by."""
        return self.token.weight.index_select(0, self.trie_token)

    def context(self, memory: Tensor, rows: int) -> Context:
        """Keys and values of the memory, once per list."""
        return [layer.context(memory, rows) for layer in layers_of(self.layers)]

    def inputs(self, vectors: Tensor, last: Tensor, inside: Tensor, made: Tensor) -> Tensor:
        """(n, width) from the last node reached, whether a hint is under way, and how many are complete."""
        under_way = inside.to(torch.float32).unsqueeze(-1) * self.inside
        x: Tensor = vectors.index_select(0, last) + self.place.weight.index_select(0, made) + under_way
        return x

    def forward(self, memory: Tensor, bias: Tensor, prior: Tensor, targets: Tensor) -> Tensor:
        """Log-probabilities of the target nodes given those before them, (B, T); 0 where padded.

        prior: (B, N). targets: (B, T) int64, the nodes of the list's paths in order, ROOT = padding.
        """
        rows, steps = targets.shape
        vectors, parents = self.node_vectors(), self.trie_parent[targets]
        h = self._teacher_forced(memory, bias, vectors, targets, parents)
        left = self._left_before(targets)
        row = torch.arange(rows).repeat_interleave(steps)
        chosen = torch.zeros(rows * steps)
        for inner in (False, True):
            at = ((parents > ROOT) if inner else (parents == ROOT)).flatten().nonzero().squeeze(-1)
            if len(at):
                found = self._choices(h[at], vectors, prior, row[at], targets.flatten()[at], left[at], inner)
                chosen = chosen.index_put((at,), found)
        return chosen.reshape(rows, steps)

    def _teacher_forced(
        self, memory: Tensor, bias: Tensor, vectors: Tensor, targets: Tensor, parents: Tensor
    ) -> Tensor:
        """All steps at once, each seeing the true ones before it: (B·T, width)."""
        rows, steps = targets.shape
        last = torch.cat([torch.zeros_like(targets[:, :1]), targets[:, :-1]], 1)
        complete = (self.trie_query[targets] >= 0).to(torch.int64)
        made = (complete.cumsum(1) - complete).clamp(max=self.shape.hints)
        x = self.inputs(vectors, last.flatten(), (parents > ROOT).flatten(), made.flatten())
        order = torch.arange(steps)
        causal = (order[None, :] > order[:, None]).to(torch.float32) * HIDDEN
        for layer, seen in zip(layers_of(self.layers), self.context(memory, rows), strict=True):
            y = layer.norm(x)
            x = x + layer.attention(y, *layer.attention.keys_values(y, rows), causal)
            x = layer.feed_forward(layer.look(x, *seen, bias))
        h: Tensor = self.norm(x)
        return h

    def _left_before(self, targets: Tensor) -> Tensor:
        """(B·T, N) int8: queries left under each node before each step, at most 127."""
        entered = torch.zeros((*targets.shape, len(self.trie_token)), dtype=torch.int8)
        entered.scatter_(2, targets.unsqueeze(-1), 1)
        before = entered.cumsum(1, dtype=torch.int8) - entered
        return (self.trie_queries.clamp(max=127).to(torch.int8) - before).flatten(0, 1)

    def _choices(
        self,
        h: Tensor,
        vectors: Tensor,
        prior: Tensor,
        row: Tensor,
        targets: Tensor,
        left: Tensor,
        inner: bool,
    ) -> Tensor:
        """Log-probability of n targets among their open siblings, (n,).

        Scores siblings only: either all targets begin a hint, and have the root's many children for
        siblings, or none does (`inner`), and each has a few of its own.
        """
        parent = self.trie_parent[targets] if inner else torch.zeros(1, dtype=torch.int32)
        reach = torch.arange(int(self.trie_count[parent].max()))
        siblings = self.trie_first[parent].unsqueeze(-1) + reach  # (n or 1, C)
        siblings = siblings.clamp(max=len(self.trie_token) - 1).long()
        open_ = (reach < self.trie_count[parent].unsqueeze(-1)) & (
            left.gather(1, siblings.expand(len(h), -1)) > 0
        )
        if inner:
            logits = (vectors[siblings] @ h.unsqueeze(-1)).squeeze(-1) + prior[row.unsqueeze(-1), siblings]
        else:
            logits = h @ vectors[siblings[0]].transpose(0, 1) + prior[:, siblings[0]][row]
        place = (targets - self.trie_first[parent]).unsqueeze(-1)
        return torch.where(open_, logits, HIDDEN).log_softmax(-1).gather(1, place).squeeze(-1)

    def write(
        self, memory: Tensor, bias: Tensor, prior: Tensor, loop: Loop = python_loop
    ) -> tuple[Tensor, Tensor]:
        """Greedy lists: queries (B, K) int32, -1 = none; scores (B, K), log-probability of each hint."""
        rows = prior.shape[0]
        context, vectors = self.context(memory, rows), self.node_vectors()
        hints, steps = self.shape.hints, self.shape.steps

        def going(step: Tensor, made: Tensor, *_: Tensor) -> Tensor:
            return (step < steps) & (made < hints).any()

        def advance(*state: Tensor) -> State:
            return self._advance(state, context, bias, prior, vectors)

        end = loop(going, advance, self.start(rows))
        return end[6], end[7]

    def start(self, rows: int) -> State:
        """Step, hints made, node, last node, left (B, N), path score, queries, scores, h_0, caches."""
        shape, whole = self.shape, torch.zeros((rows,), dtype=torch.int32)
        cache = (rows, shape.heads, shape.steps, shape.width // shape.heads)
        return (
            torch.zeros((), dtype=torch.int64),
            whole,
            whole.clone(),
            whole.clone(),
            self.trie_queries.unsqueeze(0).repeat(rows, 1),
            torch.zeros((rows,)),
            torch.full((rows, shape.hints), -1, dtype=torch.int32),
            torch.zeros((rows, shape.hints)),
            torch.zeros((rows, shape.width)),
            *(torch.zeros(cache) for _ in range(2 * shape.decoder_layers)),
        )

    def _advance(self, state: State, context: Context, bias: Tensor, prior: Tensor, vectors: Tensor) -> State:
        step, made, node, last, left, path, queries, scores, first, *before = state
        caches = list(before)
        x = self.inputs(vectors, last, node != ROOT, made)
        for place, (layer, seen) in enumerate(zip(layers_of(self.layers), context, strict=True)):
            x = self._attend(x, layer, caches, 2 * place, step)
            x = layer.feed_forward(layer.look(x, *seen, bias))
        h = self.norm(x)
        first = torch.where(step == 0, h, first)
        calm = first + (h - first) * self.shape.history
        h = torch.where((node == ROOT).unsqueeze(-1), calm, h)
        open_ = (self.trie_parent.unsqueeze(0) == node.unsqueeze(-1)) & (left > 0)
        logits = torch.where(open_, h @ vectors.transpose(0, 1) + prior, HIDDEN)
        best, chosen = logits.max(-1)
        path = path + best - logits.logsumexp(-1)
        return (
            step + 1,
            *self._entered(chosen.to(torch.int32), made, left, path, queries, scores),
            first,
            *caches,
        )

    def _entered(
        self, chosen: Tensor, made: Tensor, left: Tensor, path: Tensor, queries: Tensor, scores: Tensor
    ) -> State:
        """The state after entering a node: at a leaf the hint is noted, and the walk is at the root again."""
        query = self.trie_query.index_select(0, chosen)
        at_leaf = query >= 0
        complete = at_leaf & (made < self.shape.hints)
        hints = torch.arange(self.shape.hints, dtype=torch.int32)
        here = (hints == made.unsqueeze(-1)) & complete.unsqueeze(-1)
        nodes = torch.arange(len(self.trie_token), dtype=torch.int32)
        return (
            made + complete.to(torch.int32),
            torch.where(at_leaf, torch.zeros_like(chosen), chosen),
            chosen,
            left - (nodes.unsqueeze(0) == chosen.unsqueeze(-1)).to(torch.int32),
            torch.where(at_leaf, torch.zeros_like(path), path),
            torch.where(here, query.unsqueeze(-1), queries),
            torch.where(here, path.unsqueeze(-1), scores),
        )

    def _attend(self, x: Tensor, layer: Layer, caches: list[Tensor], at: int, step: Tensor) -> Tensor:
        """Self-attention over the steps so far; writes this step's keys and values into the caches."""
        y = layer.norm(x)
        keys, values = layer.attention.keys_values(y, x.shape[0])
        places = torch.arange(self.shape.steps)
        now = (places == step).reshape(1, 1, -1, 1)
        caches[at] = torch.where(now, keys, caches[at])
        caches[at + 1] = torch.where(now, values, caches[at + 1])
        later = (places > step).to(torch.float32) * HIDDEN
        seen: Tensor = x + layer.attention(y, caches[at], caches[at + 1], later)
        return seen


class Generator(nn.Module):
    """Contexts in, lists out: what is trained and exported. queries: (V, D), e(q) of the lexicon."""

    def __init__(self, shape: Shape, trie: Trie, queries: Tensor) -> None:
        super().__init__()
        self.encoder, self.decoder = ContextEncoder(shape), ListDecoder(shape, trie)
        self.prior = QueryPrior(queries, trie)

    def read(
        self, events: Tensor, actions: Tensor, ages: Tensor, repeats: Tensor, interests: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Memory, its bias and the nodes' prior (B, N) of agents.hints.context.Contexts' arrays."""
        vectors = events.to(torch.float32) * (1.0 / INT8_SCALE)
        wishes = interests.to(torch.float32) * (1.0 / INT8_SCALE)
        memory, bias = self.encoder(vectors, actions, ages, repeats, wishes)
        return memory, bias, self.prior(vectors, actions, ages, wishes)

    def forward(
        self, events: Tensor, actions: Tensor, ages: Tensor, repeats: Tensor, interests: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Queries (B, K) int32 and scores (B, K) float32; see ListDecoder.write."""
        return self.write(events, actions, ages, repeats, interests, python_loop)

    def write(
        self, events: Tensor, actions: Tensor, ages: Tensor, repeats: Tensor, interests: Tensor, loop: Loop
    ) -> tuple[Tensor, Tensor]:
        """As `forward`, with a loop of the caller's choice."""
        return self.decoder.write(*self.read(events, actions, ages, repeats, interests), loop)
