"""The network of a bundle in PyTorch, with the weights that its graph holds.

A part of benchmarks.generation and benchmarks.roofline.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final, TypeVar

import numpy as np
import numpy.typing as npt
import onnx
import torch

from agents.hints.bundle import Bundle, load_bundle
from agents.hints.manifest import GRAPH
from streams.hint_request import to_unit
from training.generator import Generator
from training.network import Shape

_G = TypeVar("_G", bound=Generator)
MADE_ANEW: Final = {"prior.popularity", "decoder.begin"}  # from the lexicon; and what a sequence alone has


def network_of(folder: Path, kind: type[_G]) -> _G:
    """The graph's network, ready. kind: a generator, maybe with another decoder of the same weights."""
    bundle = load_bundle(folder)
    graph = onnx.load(folder / GRAPH).graph
    held = {one.name: onnx.numpy_helper.to_array(one) for one in graph.initializer}
    network = blank_network(bundle, _shape(bundle.manifest.training), kind)
    weights = network.state_dict()
    known = {name: torch.from_numpy(held[name].copy()) for name in weights if name in held}
    missing = network.load_state_dict(known, strict=False).missing_keys
    if set(missing) - MADE_ANEW:
        raise ValueError(f"the graph holds no {missing}")
    return network.eval()


def blank_network(bundle: Bundle, shape: Shape, kind: type[_G]) -> _G:
    """With random weights, for the bundle's lexicon."""
    torch.manual_seed(0)
    popularity = np.log1p(np.array([*bundle.lexicon.values()], np.float32))
    return kind(shape, torch.from_numpy(units_of(bundle)), torch.from_numpy(popularity)).eval()


def units_of(bundle: Bundle) -> npt.NDArray[np.float32]:
    """(V, D): unit embeddings of the lexicon."""
    return to_unit(np.stack([bundle.encoder.embed(query) for query in bundle.lexicon]))


def _shape(training: dict[str, object]) -> Shape:
    """Of the base, at the beginning of the chain of runs."""
    while isinstance(start := training.get("start"), dict):
        training = start
    config = training.get("config")
    if not isinstance(config, dict):
        raise ValueError("the manifest says nothing of the network's shape")
    return Shape(**config["shape"])
