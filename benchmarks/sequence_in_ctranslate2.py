"""The decoder of a bundle as CTranslate2 can express it: hint after hint, with the same layer and sizes.

A part of benchmarks.generation. CTranslate2 takes tokens alone, so it does not do all of our work: the
encoder looks vectors of queries up, and knows no actions, ages, repeats, interests and prior. It must have a
layer, where our network has none: this one adds zero to what goes through. The decoder is that of
benchmarks.sequence_decoder: one layer with the slots' weights, the slots as places, a query as one token.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import ctranslate2
import numpy as np
import numpy.typing as npt
import torch
from ctranslate2.specs import transformer_spec
from torch import Tensor, nn

from benchmarks.sequence_decoder import SequenceWriter
from training.network import HIDDEN, Attention, layers_of

SPECIAL: Final = ("<s>", "</s>", "<unk>")
Tokens = Sequence[Sequence[int]]  # numbers of queries, a row a list
Lists = npt.NDArray[np.int64]


def ctranslate2_lists(
    network: SequenceWriter, vectors: Tensor, folder: Path, compute: str
) -> Callable[[Tokens], Lists]:
    """From queries to lists (B, K). vectors: (V, D). compute: CTranslate2's word, `float32` or `int8`."""
    folder.mkdir(parents=True, exist_ok=True)
    _spec(network, vectors).save(str(folder))
    engine = ctranslate2.Translator(str(folder), compute_type=compute, inter_threads=1, intra_threads=1)
    hints = network.hints

    def lists(tokens: Tokens) -> Lists:
        found = engine.translate_batch(
            [[str(number) for number in row] for row in tokens],
            beam_size=1,
            max_decoding_length=hints,
            min_decoding_length=hints,
            no_repeat_ngram_size=1,
            disable_unk=True,
        )
        return np.array([[int(word) for word in one.hypotheses[0]] for one in found])

    return lists


def the_same_in_pytorch(network: SequenceWriter, vectors: Tensor, tokens: Tokens) -> Lists:
    """The lists that the engine must write: our own sequence decoder, given as little."""
    table, written = _source(network, vectors), []
    for row in tokens:
        memory = network.encoder.norm(table[torch.tensor(row)])
        scores = torch.zeros(1, len(vectors))
        written.append(network.decoder.written((memory, torch.zeros(1, 1, 1, len(row)), scores))[0])
    return torch.cat(written).numpy()


def _source(network: SequenceWriter, vectors: Tensor) -> Tensor:
    """(V, width): what the encoder knows of each query."""
    table: Tensor = network.encoder.event(vectors)
    return table


def _spec(network: SequenceWriter, vectors: Tensor) -> Any:
    decoder, count = network.decoder, len(vectors)
    (layer,) = layers_of(decoder.layers)
    heads, width = layer.attention.heads, decoder.query.shape[1]
    spec = transformer_spec.TransformerSpec.from_config((1, 1), heads)
    words = [*map(str, range(count)), *SPECIAL]
    others = torch.zeros(len(SPECIAL), width)
    spec.encoder.scale_embeddings = spec.decoder.scale_embeddings = False
    spec.encoder.embeddings[0].weight = _array(torch.cat([_source(network, vectors), others]))
    spec.encoder.position_encodings.encodings = np.zeros((count, width), np.float32)
    _norm(spec.encoder.layer_norm, network.encoder.norm)
    targets = torch.cat([decoder.query, decoder.begin.unsqueeze(0), others[1:]])
    spec.decoder.embeddings.weight = spec.decoder.projection.weight = _array(targets)
    closed = torch.cat([torch.zeros(count), torch.full((len(SPECIAL),), HIDDEN)])
    spec.decoder.projection.bias = _array(closed)
    spec.decoder.position_encodings.encodings = _array(decoder.slots)
    _norm(spec.decoder.layer_norm, decoder.norm)
    _layer(spec.decoder.layer[0], layer)
    _nothing(spec.encoder.layer[0], width, layer.up.out_features)
    for register in (spec.register_source_vocabulary, spec.register_target_vocabulary):
        register(words)
    spec.config.decoder_start_token, spec.config.eos_token, spec.config.unk_token = SPECIAL
    spec.config.add_source_bos = spec.config.add_source_eos = False
    spec.validate()
    return spec


def _layer(theirs: Any, ours: Any) -> None:
    own, cross = theirs.self_attention, theirs.attention
    _norm(own.layer_norm, ours.norm)
    _linear(own.linear[0], ours.attention, "qkv")
    _linear(own.linear[1], ours.attention, "o")
    _norm(cross.layer_norm, ours.cross_norm)
    for place, names in enumerate(("q", "kv", "o")):
        _linear(cross.linear[place], ours.cross, names)
    _norm(theirs.ffn.layer_norm, ours.ff_norm)
    for copy, original in ((theirs.ffn.linear_0, ours.up), (theirs.ffn.linear_1, ours.down)):
        copy.weight, copy.bias = _array(original.weight), _array(original.bias)


def _nothing(theirs: Any, width: int, between: int) -> None:
    """An encoder layer of zeros."""
    own, ffn = theirs.self_attention, theirs.ffn
    sizes = ((own.linear[0], 3 * width, width), (own.linear[1], width, width))
    for linear, rows, columns in (*sizes, (ffn.linear_0, between, width), (ffn.linear_1, width, between)):
        linear.weight, linear.bias = np.zeros((rows, columns), np.float32), np.zeros(rows, np.float32)
    for norm in (own.layer_norm, ffn.layer_norm):
        norm.gamma, norm.beta = np.ones(width, np.float32), np.zeros(width, np.float32)


def _linear(theirs: Any, ours: Attention, names: str) -> None:
    """One matrix of several projections, one below the other; keys have no bias."""
    parts = [getattr(ours, name) for name in names]
    blank = torch.zeros(parts[0].out_features)
    theirs.weight = _array(torch.cat([part.weight for part in parts]))
    theirs.bias = _array(torch.cat([blank if part.bias is None else part.bias for part in parts]))


def _norm(theirs: Any, ours: nn.LayerNorm) -> None:
    theirs.gamma, theirs.beta = _array(ours.weight), _array(ours.bias)


def _array(values: Tensor) -> npt.NDArray[np.float32]:
    return values.detach().numpy().astype(np.float32).copy()
