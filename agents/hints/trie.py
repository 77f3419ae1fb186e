"""The lexicon's trie: which queries can be written, as flat arrays that fit inside the ONNX graph.

Nodes are numbered breadth first from the root, 0, so that a node's children stand side by side (CSR).
Chains without a choice are cut short: a node whose only continuation is one query *is* that query. A list
is then written in as few steps as there are choices ("plug in air freshener" costs one step when nothing
else begins with "plug"). A query that is the beginning of another ("milk", "milk chocolate") ends with an
explicit end token; every other query ends by reaching its leaf.

The paper generates free text (§2.2, natural language, no constraint named); the trie is ours.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Int32 = npt.NDArray[np.int32]
ROOT = 0
Entry = tuple[int, tuple[int, ...]]  # number of the query, its tokens


@dataclass(frozen=True, slots=True)
class Trie:
    """N nodes over V queries; all arrays (N,) int32.

    token: the token on the edge into the node (the root's is the end token). parent: the root's is -1.
    first, count: the children are first .. first + count - 1. query: number of the query that is complete
    here, -1 at inner nodes. queries: how many queries lie at or below the node.
    """

    token: Int32
    parent: Int32
    first: Int32
    count: Int32
    query: Int32
    queries: Int32

    def path(self, leaf: int) -> list[int]:
        """Nodes from below the root down to `leaf`."""
        nodes = []
        while leaf != ROOT:
            nodes.append(leaf)
            leaf = int(self.parent[leaf])
        return nodes[::-1]

    def leaves(self) -> Int32:
        """(V,) int32: the node of each query."""
        nodes = np.flatnonzero(self.query >= 0).astype(np.int32)
        by_query = np.empty_like(nodes)
        by_query[self.query[nodes]] = nodes
        return by_query

    @property
    def depth(self) -> int:
        """Steps that the longest query takes."""
        return max((len(self.path(int(leaf))) for leaf in self.leaves()), default=0)


def build_trie(sequences: Sequence[Sequence[int]], end: int) -> Trie:
    """Trie of the queries' token sequences, in the order of the queries; `end` is the end token.

    Raises ValueError when a query has no tokens, holds `end`, or has the same tokens as another.
    """
    entries = [(number, tuple(tokens)) for number, tokens in enumerate(sequences)]
    for number, tokens in entries:
        if not tokens or end in tokens:
            raise ValueError(f"query {number} has no tokens or holds the end token")
    rows: list[list[int]] = [[end, -1, 0, 0, -1, len(entries)]]
    waiting: deque[tuple[int, int, list[Entry]]] = deque([(ROOT, 0, entries)])
    while waiting:
        node, used, below = waiting.popleft()
        branches = _branches(below, used, end)
        rows[node][2:4] = [len(rows), len(branches)]
        for token, inside in branches.items():
            child = len(rows)
            rows.append([token, node, 0, 0, -1, len(inside)])
            if len(inside) == 1:
                rows[child][4] = inside[0][0]
            else:
                waiting.append((child, _shared(inside, used + 1), inside))
    return Trie(*np.array(rows, np.int32).T.copy())


def _branches(entries: list[Entry], used: int, end: int) -> dict[int, list[Entry]]:
    """Entries by their next token, in token order; whoever has none left branches by the end token."""
    branches: dict[int, list[Entry]] = {}
    for entry in entries:
        tokens = entry[1]
        branches.setdefault(tokens[used] if used < len(tokens) else end, []).append(entry)
    if len(branches.get(end, ())) > 1:
        twins = [number for number, _ in branches[end]]
        raise ValueError(f"queries {twins} have the same tokens")
    return dict(sorted(branches.items()))


def _shared(entries: list[Entry], used: int) -> int:
    """How many leading tokens all entries share, at least `used`."""
    first, last = min(tokens for _, tokens in entries), max(tokens for _, tokens in entries)
    limit = min(len(first), len(last))
    while used < limit and first[used] == last[used]:
        used += 1
    return used
