"""Order by click probability where the bundle has a ranker, and say why a hint is there.

The paper's ranker is the shop's production CTR model (§3.5.1); ours is a graph of the bundle,
``ranker.onnx``, with this contract. One context and its N candidates in:

    events actions ages interests habits    (1, …), as the generator's graph has them
    features  (N, F)  float32, agents.hints.ranking_features
    numbers   (N,)    int32, of the queries in the bundle's lexicon, -1 for none
    position  (N,)    int32, place on the shown list, from 0
    → p       (N,)    float32, click probability, 0 to 1

Candidates are compared as if each stood first: a place must not be an argument for itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from agents.hints.context import Contexts, QueryIndex, context_arrays
from agents.hints.generator import Candidate
from agents.hints.graph_session import GraphSession
from agents.hints.ranking_features import ranking_features
from agents.session.habit import text_digest
from agents.session.interest import ACTION_CODES
from agents.session.step import TextEncoder
from streams.hint_request import HintRequest, to_unit

CONTEXT_INPUTS: Final = ("events", "actions", "ages", "interests", "habits")
CANDIDATE_INPUTS: Final = ("features", "numbers", "position")
RANKER_OUTPUT: Final = "p"
READ: Final = 10  # hints that a reader asks for unless it says otherwise
NEAR: Final = 0.5  # cosine from which a behaviour counts as the reason for a hint
ACTION_NAMES: Final = {code: str(action) for action, code in ACTION_CODES.items()}

Float32 = npt.NDArray[np.float32]
Int32 = npt.NDArray[np.int32]


class Ranker:
    """Orders a list by p. `counts`: the lexicon's, by query."""

    def __init__(self, session: GraphSession, encoder: TextEncoder, counts: Mapping[str, int]) -> None:
        self._session, self._encoder, self._counts = session, encoder, counts
        self._index = QueryIndex(list(counts))

    def order(self, candidates: Sequence[Candidate], request: HintRequest) -> list[Candidate]:
        """The first READ candidates with the likeliest click first; ties, and the others, keep their order.

        A candidate from behind may be likelier by itself and still repeat what the list already says: which
        hints are read is the generator's choice, which is read first the ranker's. Scores stay the
        generator's.
        """
        if not candidates:
            return []
        read = candidates[:READ]
        p = self.probabilities(read, request)
        return [*(read[place] for place in np.argsort(-p, kind="stable")), *candidates[READ:]]

    def probabilities(self, candidates: Sequence[Candidate], request: HintRequest) -> Float32:
        """(N,) click probabilities, each as on the first place."""
        queries = [candidate.query for candidate in candidates]
        context = context_arrays([request], self._index)
        numbers = self._index.numbers(np.array([text_digest(query) for query in queries], np.int64))
        features = ranking_features(
            context,
            to_unit(np.stack([self._encoder.embed(query) for query in queries])),
            np.log1p([float(self._counts.get(query, 0)) for query in queries]).astype(np.float32),
            numbers,
        )
        return self.run(context, features[0], numbers.astype(np.int32), np.zeros(len(queries), np.int32))

    def run(self, context: Contexts, features: Float32, numbers: Int32, position: Int32) -> Float32:
        """The graph itself: one context, (N, F), (N,) and (N,) to click probabilities (N,)."""
        known = context.inputs()
        inputs: dict[str, Any] = {name: known[name] for name in CONTEXT_INPUTS}
        inputs |= {"features": features, "numbers": numbers, "position": position}
        p: Float32 = self._session.run([RANKER_OUTPUT], inputs)[0]
        return p


def explain(query: str, request: HintRequest, encoder: TextEncoder) -> str:
    """The behaviour nearest to a hint, e.g. "purchase: milk"; "" when none is near.

    The request's vectors are the encoder's own (agents.hints.generator.Generator.own).
    """
    if not request.behaviours:
        return ""
    nearness = to_unit(request.vectors) @ to_unit(encoder.embed(query))
    nearest = int(np.argmax(nearness))  # the newest among equals
    if nearness[nearest] < NEAR:
        return ""
    behaviour = request.behaviours[nearest]
    return f"{ACTION_NAMES.get(behaviour.action, 'event')}: {behaviour.text}"
