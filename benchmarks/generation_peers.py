"""The shipped weights in other engines, each checked against ours before it is timed.

A part of benchmarks.generation.

    decoder alone    our own graph with as little work as CTranslate2's: benchmarks.decoder_graph
    torch eager      the exported network itself
    torch.compile    the same, compiled for each batch size; habits padded, since sizes must stay
    transformers     generate() of one sequence: benchmarks.sequence_in_transformers
    CTranslate2      one sequence without the prior: benchmarks.sequence_in_ctranslate2

Slots and the choice of distinct queries in the graph cannot be expressed in the last two: they write the same
work product, K distinct hints for one user, by K steps of the same layer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from agents.hints.bundle import Bundle
from agents.hints.context import Contexts
from agents.hints.generator import open_session
from benchmarks.decoder_graph import DecoderAlone, decoder_graph, token_array
from benchmarks.network_of_bundle import network_of, units_of
from benchmarks.sequence_decoder import SequenceWriter
from benchmarks.sequence_in_ctranslate2 import Tokens, ctranslate2_lists, the_same_in_pytorch
from benchmarks.sequence_in_transformers import transformers_lists
from streams.hint_request import HintRequest
from training.generator import Generator, tensors

DECODER: Final = "decoder alone"
PRECISIONS: Final = ("float32", "int8")
Lists = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch as each engine takes it, made before it is timed."""

    contexts: Contexts
    blocks: dict[str, Tensor]
    padded: dict[str, Tensor]
    tokens: Tokens
    token_array: npt.NDArray[np.int32]

    @classmethod
    def of(cls, bundle: Bundle, requests: Sequence[HintRequest]) -> Batch:
        """With the numbers of the queries that the behaviours name, for an engine that knows tokens alone."""
        contexts = bundle.generator.contexts(requests)
        numbers = {query: number for number, query in enumerate(bundle.lexicon)}
        known = [
            [numbers[one.text] for one in request.behaviours if one.text in numbers] for request in requests
        ]
        tokens = [row or [0] for row in known]
        blocks = {name: torch.from_numpy(array) for name, array in contexts.graph_inputs().items()}
        return cls(contexts, blocks, tensors(contexts), tokens, token_array(tokens))


@dataclass(frozen=True, slots=True)
class Peer:
    """write: one batch to lists (B, K). wanted: what it must write. share: of lists that must be equal."""

    name: str
    write: Callable[[Batch], Lists]
    wanted: Callable[[Batch], Lists]
    share: float = 1.0

    def checked(self, batches: Sequence[Batch]) -> float:
        """The share of equal lists. Raises ValueError when too few are."""
        equal = [(self.write(one) == self.wanted(one)).all(1) for one in batches]
        found = float(np.concatenate(equal).mean())
        if found < self.share:
            raise ValueError(f"{self.name} writes other lists: only {found:.3f} are equal")
        return found


def peers(folder: Path, bundle: Bundle, scratch: Path) -> Iterator[Peer]:
    """All that are to be timed beside the graph; one thread each."""
    torch.set_num_threads(1)
    network, sequence = network_of(folder, Generator), network_of(folder, SequenceWriter)
    vectors = torch.from_numpy(units_of(bundle))

    def ours(batch: Batch) -> Lists:
        found: Lists = bundle.generator.run(batch.contexts)[0]
        return found

    def one_after_the_other(batch: Batch) -> Lists:
        return sequence.write(batch.padded)[0].numpy()

    def without_prior(batch: Batch) -> Lists:
        return the_same_in_pytorch(sequence, vectors, batch.tokens)

    alone = open_session(decoder_graph(network, vectors))
    slots = DecoderAlone(network, vectors)
    yield Peer(
        DECODER,
        lambda batch: np.asarray(alone.run(["queries"], {"tokens": batch.token_array})[0]),
        lambda batch: np.asarray(slots.forward(torch.from_numpy(batch.token_array))),
        share=0.99,
    )
    yield Peer("torch eager", lambda batch: _written(network, batch.blocks), ours)
    compiled = torch.compile(network, dynamic=False)
    yield Peer("torch.compile", lambda batch: _written(compiled, batch.padded), ours, share=0.99)
    generate = transformers_lists(sequence)
    yield Peer("transformers generate", lambda batch: generate(batch.padded), one_after_the_other)
    for precision in PRECISIONS:
        engine = ctranslate2_lists(sequence, vectors, scratch / "ctranslate2", precision)
        share = 0.99 if precision == "float32" else 0.5
        yield Peer(f"CTranslate2 {precision}", _of_tokens(engine), without_prior, share)


def _of_tokens(engine: Callable[[Tokens], Lists]) -> Callable[[Batch], Lists]:
    return lambda batch: engine(batch.tokens)


def _written(network: Generator | Any, inputs: dict[str, Tensor]) -> Lists:
    found: Lists = network(**inputs)[0].numpy()
    return found
