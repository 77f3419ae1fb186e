"""AIGQ-Direct: hint requests in, lists of candidates out, one graph call a batch.

onnxruntime is imported when the first generator is made: whoever only reads hints or keeps sessions needs
none. A request's list does not depend on the requests that it is batched with.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

import numpy as np

from agents.hints.context import HABITS, Contexts, QueryIndex, context_arrays
from agents.hints.encoder import SubwordEncoder
from agents.hints.graph_session import GraphSession, warmed_up
from agents.session.interest import Interest, InterestPolicy
from agents.session.window import WINDOW_LIMIT
from streams.errors import BundleError
from streams.hint_request import HintRequest

Provider = Literal["cpu", "cuda"]
PROVIDERS: Final = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
SCORE_DIGITS: Final = 4


@dataclass(frozen=True, slots=True)
class Candidate:
    """A generated query; `score` is its log-probability after the hints before it.

    held_until_ms: event time before which it is not to be shown (filters set it); 0: at once.
    """

    query: str
    score: float
    held_until_ms: int = 0


class Generator:
    """Writes lists with a bundle's graph. Safe to call from several threads.

    reembedded: how many requests so far came with another encoder's vectors.
    """

    def __init__(
        self,
        session: GraphSession,
        lexicon: Sequence[str],
        encoder: SubwordEncoder,
        policy: InterestPolicy = InterestPolicy(),  # noqa: B008 - frozen
    ) -> None:
        self._session, self._lexicon, self._encoder, self._policy = session, lexicon, encoder, policy
        self._index = QueryIndex(lexicon)
        self.reembedded = 0
        with warmed_up(session):  # the first run of a session costs twice the others
            self.run(_blank(encoder.dim))

    def generate(self, requests: Sequence[HintRequest]) -> list[list[Candidate]]:
        """One list a request, in the requests' order: distinct queries, the best first."""
        return self.write(self.contexts([self.own(request) for request in requests]))

    def contexts(self, requests: Sequence[HintRequest]) -> Contexts:
        """The arrays of requests in this bundle's embedding (`own`)."""
        return context_arrays(requests, self._index)

    def write(self, contexts: Contexts) -> list[list[Candidate]]:
        """One list a context, in their order."""
        if not len(contexts):
            return []
        queries, scores = self.run(contexts)
        # Rounded, so that a list reads the same wherever the last bits of a sum differ.
        scores = np.round(scores.astype(np.float64), SCORE_DIGITS)
        return [self._candidates(*row) for row in zip(queries.tolist(), scores.tolist(), strict=True)]

    def run(self, contexts: Contexts) -> tuple[Any, Any]:
        """The graph itself: lexicon numbers (B, K) int32, -1 for none, and scores (B, K) float32."""
        queries, scores = self._session.run(["queries", "scores"], contexts.graph_inputs())
        return queries, scores

    def _candidates(self, queries: list[int], scores: list[float]) -> list[Candidate]:
        written = zip(queries, scores, strict=True)
        return [Candidate(self._lexicon[q], s) for q, s in written if q >= 0]

    def own(self, request: HintRequest) -> HintRequest:
        """The request in this bundle's embedding: made anew from its texts when it came in another's.

        The shopper interest then knows the window only, until the session worker has the bundle, too.
        """
        if request.encoder == self._encoder.name:
            return request
        self.reembedded += 1
        vectors = [self._encoder.embed(behaviour.text) for behaviour in request.behaviours]
        interest = Interest.empty(self._encoder.dim)
        for behaviour, vector in zip(reversed(request.behaviours), reversed(vectors), strict=True):
            interest = interest.add(vector, behaviour.action, behaviour.at_ms, self._policy)
        empty = np.zeros((0, self._encoder.dim), np.int8)
        return replace(
            request,
            encoder=self._encoder.name,
            vectors=np.stack(vectors) if vectors else empty,
            interests=interest.unit(),
        )


def open_session(graph: bytes, *, threads: int = 1, provider: Provider = "cpu") -> GraphSession:
    """An onnxruntime session over a graph. Raises BundleError: no runtime, no such device, no such graph.

    One thread a process and no spinning: more processes use more cores better than more threads do
    (`python -m benchmarks.generation_options --cores`).

    cuda: no GPU was at hand, so no run on one has ever been made; tested are the refusals. Arrays go there
    and back with each run: a batch's inputs are some hundred kilobytes and its outputs a few, so binding them
    to the device would save copies that are small beside the launches of the graph's nodes. CUDA graphs are
    not enabled: they need fixed sizes. The graphs could be captured: they have no loop, no branch and no node
    whose result's size depends on data, and contexts that only fill a batch up change no list (tests).
    """
    runtime = _onnxruntime(provider)
    options = runtime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    wanted = PROVIDERS[provider]
    try:
        session = runtime.InferenceSession(
            graph, options, providers=list(dict.fromkeys([wanted, PROVIDERS["cpu"]]))
        )
    except Exception as error:  # onnxruntime raises its own kinds, some of them bare RuntimeError
        raise BundleError(
            f"The graph cannot be loaded: {error}.", action="Export the bundle again."
        ) from error
    if session.get_providers()[0] != wanted:  # the GPU package falls back to the CPU in silence
        raise BundleError(
            f"{wanted} did not start; onnxruntime offers {session.get_providers()}.",
            action="Check driver, CUDA and cuDNN, or set the provider to cpu.",
        )
    run_options = runtime.RunOptions()
    run_options.log_severity_level = 4  # what a run raises is said where it is caught
    return GraphSession(session, run_options)


def _onnxruntime(provider: Provider) -> Any:
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # read when the package is imported
    extra = "gpu" if provider == "cuda" else "cpu"
    try:
        runtime = importlib.import_module("onnxruntime")
        if provider == "cuda":
            runtime.preload_dlls()  # CUDA and cuDNN from the nvidia-* wheels that the extra brings
        available = runtime.get_available_providers()
    except (ImportError, AttributeError) as error:
        raise BundleError(
            "onnxruntime is not installed, so no hints can be generated.",
            action=f"Install exactly one of the extras, here: pip install 'aigq[{extra}]'",
        ) from error
    if PROVIDERS[provider] not in available:
        raise BundleError(
            f"The installed onnxruntime has no {PROVIDERS[provider]}.",
            action=f"Uninstall onnxruntime, then: pip install 'aigq[{extra}]'",
        )
    return runtime


def _blank(dim: int) -> Contexts:
    codes = np.zeros((1, WINDOW_LIMIT), np.int32)
    events, interests = np.zeros((1, WINDOW_LIMIT, dim), np.int8), np.zeros((1, 2, dim), np.int8)
    habits = np.zeros((1, HABITS, 3), np.int16)
    return Contexts(events, codes, codes, codes, interests, habits)
