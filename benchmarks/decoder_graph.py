"""Our decoder alone as a graph: as much work as an engine does that knows tokens and no prior.

A part of benchmarks.generation, beside CTranslate2: the behaviours' vectors looked up, the slots in one pass,
the choice of distinct queries.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from agents.session.window import WINDOW_LIMIT
from training.export import OPSET
from training.generator import Generator
from training.network import HIDDEN
from training.slots import greedy

if TYPE_CHECKING:  # CTranslate2 is in the extra [bench]
    from benchmarks.sequence_in_ctranslate2 import Tokens

PADDING: Final = -1


class DecoderAlone(nn.Module):
    """vectors: (V, D) of the lexicon."""

    def __init__(self, network: Generator, vectors: Tensor) -> None:
        super().__init__()
        self.network, self.queries = network, len(vectors)
        self.register_buffer("table", network.encoder.norm(network.encoder.event(vectors)).detach())

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, L) int32 numbers of queries, PADDING behind them, to lists (B, K)."""
        memory = self.get_buffer("table").index_select(0, tokens.clamp(min=0).reshape(-1))
        bias = (tokens < 0).to(torch.float32).reshape(tokens.shape[0], 1, 1, -1) * HIDDEN
        scores = torch.zeros(1, self.queries).expand(tokens.shape[0], -1)
        lists: Tensor = greedy(self.network.decoder(memory, bias, scores), self.network.hints)[0]
        return lists


def decoder_graph(network: Generator, vectors: Tensor) -> bytes:
    """Its ONNX bytes."""
    program = torch.onnx.export(
        DecoderAlone(network, vectors).eval(),
        (torch.zeros((3, WINDOW_LIMIT), dtype=torch.int32),),
        dynamo=True,
        opset_version=OPSET,
        input_names=["tokens"],
        output_names=["queries"],
        dynamic_shapes={"tokens": {0: torch.export.Dim("B", min=1, max=4096)}},
        verbose=False,
    )
    if program is None:
        raise ValueError("the exporter gave no graph")
    return bytes(program.model_proto.SerializeToString())


def token_array(tokens: Tokens) -> npt.NDArray[np.int32]:
    """Rows of numbers as the graph takes them."""
    array = np.full((len(tokens), WINDOW_LIMIT), PADDING, np.int32)
    for row, numbers in enumerate(tokens):
        array[row, : len(numbers)] = numbers
    return array
