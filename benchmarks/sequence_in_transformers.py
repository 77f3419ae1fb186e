"""The decoder of a bundle in transformers' generate(): hint after hint, with the same layer and sizes.

A part of benchmarks.generation. The network is that of benchmarks.sequence_decoder: one layer with the slots'
weights, the slots as places, a query as one token. Pegasus' decoder has our layer's form. It is given our
context encoder's memory, and our prior by a logits processor, so it does all of the work, and its lists are
those of our own sequence decoder.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import transformers
from torch import Tensor
from transformers.modeling_outputs import BaseModelOutput

from benchmarks.sequence_decoder import SequenceWriter
from training.network import HIDDEN, layers_of

Lists = npt.NDArray[np.int64]
Inputs = dict[str, Tensor]


def transformers_lists(network: SequenceWriter) -> Callable[[Inputs], Lists]:
    """Lists (B, K) by Pegasus' generate(), whose decoder has our layer's form."""

    class Wanted(transformers.LogitsProcessor):
        """The context's scores, without what the list has."""

        def __init__(self, scores: Tensor) -> None:
            self.scores = torch.nn.functional.pad(scores, (0, 1), value=HIDDEN)

        def __call__(self, written: Tensor, logits: Tensor) -> Tensor:
            return logits + self.scores.scatter(1, written, HIDDEN)

    model, begin = _pegasus(network), len(network.decoder.query)
    config = _untyped(transformers.GenerationConfig)(
        max_new_tokens=network.hints,
        do_sample=False,
        num_beams=1,
        eos_token_id=None,
        pad_token_id=begin,
        decoder_start_token_id=begin,
    )

    def lists(inputs: Inputs) -> Lists:
        memory, bias, scores = network.read(inputs)
        written = model.generate(
            encoder_outputs=_untyped(BaseModelOutput)(
                last_hidden_state=memory.reshape(len(scores), -1, memory.shape[-1])
            ),
            attention_mask=(bias.reshape(len(scores), -1) == 0).to(torch.int64),
            generation_config=config,
            logits_processor=transformers.LogitsProcessorList([Wanted(scores)]),
        )
        found: Lists = written[:, 1:].numpy()
        return found

    return lists


def _untyped(made: Any) -> Any:
    """What transformers leaves without types."""
    return made


def _pegasus(network: SequenceWriter) -> Any:
    decoder, count = network.decoder, len(network.decoder.query)
    (layer,) = layers_of(decoder.layers)
    pairs: list[tuple[Any, Any]]
    heads, width = layer.attention.heads, decoder.query.shape[1]
    config = transformers.PegasusConfig(
        vocab_size=count + 1,
        d_model=width,
        encoder_layers=0,
        decoder_layers=1,
        encoder_attention_heads=heads,
        decoder_attention_heads=heads,
        decoder_ffn_dim=layer.up.out_features,
        encoder_ffn_dim=layer.up.out_features,
        activation_function="relu",
        scale_embedding=False,
        max_position_embeddings=network.hints + 1,
        pad_token_id=count,
        eos_token_id=None,
        forced_eos_token_id=None,
        decoder_start_token_id=count,
    )
    model = _untyped(transformers.PegasusForConditionalGeneration)(config).eval()
    theirs = model.model.decoder.layers[0]
    pairs = [
        (theirs.self_attn_layer_norm, layer.norm),
        (theirs.encoder_attn_layer_norm, layer.cross_norm),
        (theirs.final_layer_norm, layer.ff_norm),
        (theirs.fc1, layer.up),
        (theirs.fc2, layer.down),
        (model.model.decoder.layer_norm, decoder.norm),
    ]
    attentions: Any = ((theirs.self_attn, layer.attention), (theirs.encoder_attn, layer.cross))
    for attention, ours in attentions:
        pairs += [(getattr(attention, f"{one}_proj"), getattr(ours, one)) for one in "qkv"]
        pairs.append((attention.out_proj, ours.o))
    with torch.no_grad():
        for copy, original in pairs:
            copy.weight.copy_(original.weight)
            if copy.bias is not None:
                copy.bias.copy_(original.bias if original.bias is not None else torch.zeros(()))
        model.model.shared.weight.copy_(torch.cat([decoder.query, decoder.begin.unsqueeze(0)]))
        model.model.decoder.embed_positions.weight[: network.hints].copy_(decoder.slots)
    return model
