"""Order by click probability where the bundle has a ranker, and say why a hint is there.

The paper's ranker is the shop's production CTR model (§3.5.1); ours is an optional graph of the bundle,
``ranker.onnx``, with this contract. N candidates in, float32 all:

    interests       (N, 2, D)   unit interests of the visit and of the shopper
    query           (N, D)      unit embedding of the candidate
    position        (N, 1)      place in the generated list, from 0
    log_popularity  (N, 1)      log(1 + lexicon count)
    → p             (N,)        click probability, 0 to 1
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from agents.hints.generator import Candidate
from agents.session.interest import ACTION_CODES
from agents.session.step import TextEncoder
from streams.hint_request import HintRequest, to_unit

RANKER_INPUTS: Final = ("interests", "query", "position", "log_popularity")
RANKER_OUTPUT: Final = "p"
NEAR: Final = 0.5  # cosine from which a behaviour counts as the reason for a hint
ACTION_NAMES: Final = {code: str(action) for action, code in ACTION_CODES.items()}

Float32 = npt.NDArray[np.float32]


class Ranker:
    """Orders a list by p. `counts`: the lexicon's, by query."""

    def __init__(self, session: Any, encoder: TextEncoder, counts: Mapping[str, int]) -> None:
        self._session, self._encoder, self._counts = session, encoder, counts

    def order(self, candidates: Sequence[Candidate], request: HintRequest) -> list[Candidate]:
        """Candidates with the likeliest click first; ties keep their order. Scores stay the generator's."""
        if not candidates:
            return []
        p = self.probabilities(candidates, request)
        return [candidates[place] for place in np.argsort(-p, kind="stable")]

    def probabilities(self, candidates: Sequence[Candidate], request: HintRequest) -> Float32:
        """(N,) click probabilities."""
        queries = [candidate.query for candidate in candidates]
        popularity = np.log1p([float(self._counts.get(query, 0)) for query in queries])
        inputs = {
            "interests": np.repeat(to_unit(request.interests)[None], len(queries), axis=0),
            "query": to_unit(np.stack([self._encoder.embed(query) for query in queries])),
            "position": np.arange(len(queries), dtype=np.float32)[:, None],
            "log_popularity": popularity.astype(np.float32)[:, None],
        }
        p: Float32 = self._session.run([RANKER_OUTPUT], inputs)[0]
        return p.reshape(-1)


def explain(query: str, request: HintRequest, encoder: TextEncoder) -> str:
    """The behaviour nearest to a hint, e.g. "purchase: milk"; "" when none is near.

    The request's vectors must be the encoder's own, or the texts are embedded anew.
    """
    if not request.behaviours:
        return ""
    vectors = request.vectors
    if request.encoder != encoder.name:
        vectors = np.stack([encoder.embed(behaviour.text) for behaviour in request.behaviours])
    nearness = to_unit(vectors) @ to_unit(encoder.embed(query))
    nearest = int(np.argmax(nearness))  # the newest among equals
    if nearness[nearest] < NEAR:
        return ""
    behaviour = request.behaviours[nearest]
    return f"{ACTION_NAMES.get(behaviour.action, 'event')}: {behaviour.text}"
