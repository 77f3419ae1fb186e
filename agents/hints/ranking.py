"""Order by click probability where the bundle has a ranker, and say why a hint is there.

The paper's ranker is the shop's production CTR model (§3.5.1); ours is a graph of the bundle,
``ranker.onnx``, with this contract. B contexts and all their candidates in, N together:

    events actions ages interests habits habit_rows    as the generator's graph has them
    features  (N, F)  float32, agents.hints.ranking_features
    numbers   (N,)    int32, of the queries in the bundle's lexicon, -1 for none
    position  (N,)    int32, place on the shown list, from 0
    rows      (N,)    int32, whose candidate it is, 0 to B − 1
    → p       (N,)    float32, click probability, 0 to 1

Candidates are compared as if each stood first: a place must not be an argument for itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from agents.hints.context import Contexts
from agents.hints.generator import Candidate
from agents.hints.graph_session import GraphSession
from agents.hints.ranking_features import ranking_features
from agents.session.interest import ACTION_CODES
from agents.session.step import TextEncoder
from streams.hint_request import INT8_SCALE, HintRequest, Int8, to_unit

CONTEXT_INPUTS: Final = ("events", "actions", "ages", "interests", "habits", "habit_rows")
CANDIDATE_INPUTS: Final = ("features", "numbers", "position", "rows")
RANKER_OUTPUT: Final = "p"
READ: Final = 10  # hints that a reader asks for unless it says otherwise
NEAR: Final = 0.5  # cosine from which a behaviour counts as the reason for a hint
ACTION_NAMES: Final = {code: str(action) for action, code in ACTION_CODES.items()}

Lists = Sequence[Sequence[Candidate]]
Float32 = npt.NDArray[np.float32]
Int32 = npt.NDArray[np.int32]


class Ranker:
    """Orders lists by p. `counts`: the lexicon's, by query."""

    def __init__(self, session: GraphSession, counts: Mapping[str, int]) -> None:
        self._session = session
        self._numbers = {query: number for number, query in enumerate(counts)}
        # The last is for what the lexicon lacks: number -1.
        self._log_popularity = np.log1p([*map(float, counts.values()), 0.0]).astype(np.float32)

    def orders(self, lists: Lists, vectors: Int8, contexts: Contexts) -> list[list[int]]:
        """Of each context's list the places of its candidates: of the first READ the likeliest click first;
        ties, and the others, keep their order. vectors: of `query_vectors`.

        A candidate from behind may be likelier by itself and still repeat what the list already says: which
        hints are read is the generator's choice, which is read first the ranker's.
        """
        orders = orders_of(lists)
        read = [candidates[:READ] for candidates in lists]
        p = self.probabilities(read, vectors, contexts)
        ends = np.cumsum([len(candidates) for candidates in read]).tolist()
        for order, candidates, end in zip(orders, read, ends, strict=True):
            its = p[end - len(candidates) : end]
            order[: len(its)] = np.argsort(-its, kind="stable").tolist()
        return orders

    def probabilities(self, lists: Lists, vectors: Int8, contexts: Contexts) -> Float32:
        """(N,) click probabilities of all lists' candidates in turn, each as on the first place."""
        numbers = np.full((len(lists), READ), -1)
        there = np.arange(READ) < np.array([len(candidates) for candidates in lists])[:, None]
        numbers[there] = [self._numbers.get(one.query, -1) for candidates in lists for one in candidates]
        # Always READ wide: sums of another shape may round otherwise, and depend on batch mates.
        features = ranking_features(
            contexts, to_unit(vectors[:, :READ]), self._log_popularity[numbers], numbers
        )
        if not there.any():
            return np.zeros(0, np.float32)
        own, rows = numbers[there].astype(np.int32), np.nonzero(there)[0].astype(np.int32)
        return self.run(contexts, features[there], own, np.zeros(len(own), np.int32), rows)

    def run(
        self, contexts: Contexts, features: Float32, numbers: Int32, position: Int32, rows: Int32
    ) -> Float32:
        """The graph itself: contexts, (N, F) and three times (N,) to click probabilities (N,)."""
        known = contexts.graph_inputs()
        inputs: dict[str, Any] = {name: known[name] for name in CONTEXT_INPUTS}
        inputs |= {"features": features, "numbers": numbers, "position": position, "rows": rows}
        p: Float32 = self._session.run([RANKER_OUTPUT], inputs)[0]
        return p


def orders_of(lists: Lists) -> list[list[int]]:
    """The places of each list's candidates as they are."""
    return [list(range(len(candidates))) for candidates in lists]


def query_vectors(lists: Lists, encoder: TextEncoder) -> Int8:
    """(B, N, D): e(query)·127 of all candidates, zeros behind the shorter lists; N is READ at least."""
    vectors = np.zeros((len(lists), max(READ, *map(len, lists)), encoder.dim), np.int8)
    for row, candidates in enumerate(lists):
        for place, candidate in enumerate(candidates):
            vectors[row, place] = encoder.embed(candidate.query)
    return vectors


def explain(vectors: Int8, requests: Sequence[HintRequest], contexts: Contexts) -> list[list[str]]:
    """The behaviour nearest to each hint, e.g. "purchase: milk"; "" when none is near.

    Of equally near ones it is the newest. The requests' vectors are the encoder's own
    (agents.hints.generator.Generator.own).
    """
    across = np.swapaxes(vectors, 1, 2).astype(np.float32)
    nearness = contexts.events.astype(np.float32) @ across  # (B, L, N); whole numbers, exact
    nearest = nearness.argmax(1)
    near = np.take_along_axis(nearness, nearest[:, None], 1)[:, 0] >= NEAR * INT8_SCALE**2
    return [
        [_reason(request, place) if is_near else "" for place, is_near in zip(*both, strict=True)]
        for request, *both in zip(requests, nearest.tolist(), near.tolist(), strict=True)
    ]


def _reason(request: HintRequest, place: int) -> str:
    behaviour = request.behaviours[place]
    return f"{ACTION_NAMES.get(behaviour.action, 'event')}: {behaviour.text}"
