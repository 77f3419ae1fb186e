"""What the matrix products of a graph need, from the shapes that a run has. A part of benchmarks.roofline."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import onnx
from onnx import helper

from agents.hints.generator import open_session

PRODUCTS: Final = frozenset({"MatMul", "Gemm"})


@dataclass(frozen=True, slots=True)
class Work:
    """Of one run. flops: of all products. weight_bytes: of all weights that it reads in whole.

    products: (m, k, n) of those with constant weights.
    """

    flops: float
    weight_bytes: float
    products: tuple[tuple[int, int, int], ...]


def work_of(graph: bytes, inputs: Mapping[str, Any]) -> Work:
    """Runs the graph once, with every product's operands as outputs."""
    model = onnx.load_from_string(graph)
    nodes = [node for node in _of_inputs(model.graph) if node.op_type in PRODUCTS]
    constants = {one.name: tuple(one.dims) for one in model.graph.initializer}
    asked = sorted({name for node in nodes for name in (*node.input[:2], *node.output)} - constants.keys())
    known = {value.name for value in model.graph.output}
    model.graph.output.extend(
        helper.make_empty_tensor_value_info(name) for name in asked if name not in known
    )
    found = open_session(model.SerializeToString()).run(asked, inputs) if asked else []
    shapes = constants | {name: array.shape for name, array in zip(asked, found, strict=True)}
    flops, weights, products = 0.0, 0.0, []
    for node in nodes:
        left, out = shapes[node.input[0]], shapes[node.output[0]]
        inner, rows = left[-1], int(np.prod(out[:-1]))
        flops += 2.0 * rows * inner * out[-1]
        if node.input[1] in constants:
            weights += 4.0 * inner * out[-1]
            products.append((rows, inner, out[-1]))
    return Work(flops, weights, tuple(products))


def _of_inputs(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    """The nodes that depend on an input: a session computes the others once, when it is made."""
    known = {value.name for value in graph.input}
    for node in graph.node:
        if known.intersection(node.input):
            known.update(node.output)
            yield node
