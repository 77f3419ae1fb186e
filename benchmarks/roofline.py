"""What this machine can compute and read, the least time that a list needs for it, and the share reached.

    python -m benchmarks.roofline [--quick] [--json] [--save]

One thread, CPU time, everything in turns in one process.

    GEMM       GFLOP/s of onnxruntime: a product of two 1024² matrices
    memory     GB/s that a sum over 256 MB reads (DRAM), and over 0.5 MB (the second cache)
    bundle     the shipped generator.onnx
    wide       the same kind of network at a size where products decide: width 256, feed-forward 1024, 4 + 2
               layers, random weights, exported by the same code

The floor of a batch is the greater of FLOPs over the GFLOP/s of GEMM and bytes over the GB/s of DRAM. FLOPs
are those of the graph's products (MatMul and Gemm, counted from the shapes of a run), bytes its weights, read
once a batch. What else a node does (choices, exponentials, lookups, sums) has no FLOPs here. "Its products
alone" are the products with weights in a graph of their own, as a share of the whole graph's time.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from agents.hints.context import Contexts
from agents.hints.generator import open_session
from agents.hints.graph_session import GraphSession
from agents.hints.manifest import GRAPH
from agents.serving import open_bundle
from benchmarks.harness import Bar, Figure, alternated
from benchmarks.hint_requests import PURCHASES, QUICK_PURCHASES, newest_requests
from benchmarks.network_of_bundle import blank_network
from benchmarks.product_flops import Work, work_of
from benchmarks.report import Report, command_line, finish, rounds_of
from streams.hint_request import decode_request
from streams.settings import load_settings
from training.export import network_graph
from training.generator import Generator
from training.network import Shape

BATCHES: Final = (1, 8, 32)
SQUARE: Final = 1024
DRAM_BYTES: Final = 256 << 20
CACHE_BYTES: Final = 1 << 19
LEAST_S: Final = 0.05  # of each measurement
WIDE: Final = Shape(width=256, feed_forward=1024, encoder_layers=4, decoder_layers=2)
OF_GEMM: Final = {8: Bar.at_least(0.7), 32: Bar.at_least(0.7)}


@dataclass(frozen=True, slots=True)
class Network:
    """A graph, and what its products need for each batch size."""

    name: str
    graph: bytes
    session: GraphSession
    batches: dict[int, Contexts]

    @property
    def work(self) -> dict[int, Work]:
        """FLOPs, products and bytes, by batch size."""
        return {size: work_of(self.graph, one.graph_inputs()) for size, one in self.batches.items()}


def main() -> None:
    """Measure and print."""
    given = command_line(__doc__).parse_args()
    settings = load_settings()
    bundle = open_bundle(settings)
    requests = newest_requests(bundle, settings, QUICK_PURCHASES if given.quick else PURCHASES)
    decoded = [decode_request(one) for one in requests[: BATCHES[-1]]]
    batches = {size: bundle.generator.contexts(decoded[:size]) for size in BATCHES}
    graphs = {
        "bundle": (settings.bundle_dir / GRAPH).read_bytes(),
        "wide": network_graph(blank_network(bundle, WIDE, Generator)),
    }
    networks = [Network(name, graph, open_session(graph), batches) for name, graph in graphs.items()]
    figures = _figures(networks, rounds_of(given))
    finish(Report("roofline", __doc__ or "", figures, (), [_shapes(one) for one in networks]), given)


def _figures(networks: Sequence[Network], rounds: int) -> list[Figure]:
    works: dict[str, Callable[[], object]] = {"GEMM": _product((SQUARE, SQUARE, SQUARE))}
    size_of = {"DRAM": DRAM_BYTES, "cache": CACHE_BYTES}
    works |= {name: np.ones(size // 8).sum for name, size in size_of.items()}
    for network in networks:
        for size, contexts in network.batches.items():
            inputs = contexts.graph_inputs()
            works[f"{network.name} {size}"] = partial(network.session.run, ["queries"], inputs)
            works[f"{network.name} {size} products"] = _products(network.work[size])
    seconds = alternated({name: partial(_seconds, work) for name, work in works.items()}, rounds)
    gemm = [2 * SQUARE**3 / took / 1e9 for took in seconds["GEMM"]]
    memory = {name: [size / took / 1e9 for took in seconds[name]] for name, size in size_of.items()}
    figures = [Figure.of(f"GEMM {SQUARE}³, one thread", "GFLOP/s", gemm)]
    figures += [Figure.of(f"memory read, {name}", "GB/s", values) for name, values in memory.items()]
    for network in networks:
        for size, work in network.work.items():
            figures += _reached(
                f"{network.name}, batch {size}", size, work, seconds, gemm, memory["DRAM"], network.name
            )
    return figures


def _reached(
    name: str,
    size: int,
    work: Work,
    seconds: dict[str, tuple[float, ...]],
    gemm: Sequence[float],
    dram: Sequence[float],
    network: str,
) -> list[Figure]:
    took, products = seconds[f"{network} {size}"], seconds[f"{network} {size} products"]
    floors = [max(work.flops / g / 1e9, work.weight_bytes / m / 1e9) for g, m in zip(gemm, dram, strict=True)]
    share = [work.flops / t / 1e9 / g for t, g in zip(took, gemm, strict=True)]
    return [
        Figure.of(f"{name}: lists", "lists/s", [size / one for one in took]),
        Figure.of(f"{name}: floor", "lists/s", [size / one for one in floors]),
        Figure.of(f"{name}: share of the floor", "", [f / t for f, t in zip(floors, took, strict=True)]),
        Figure.of(f"{name}: share of GEMM", "", share, OF_GEMM.get(size)),
        Figure.of(f"{name}: its products alone", "", [p / t for p, t in zip(products, took, strict=True)]),
    ]


def _shapes(network: Network) -> str:
    flops = {size: work.flops / size / 1e6 for size, work in network.work.items()}
    least, most = min(flops.values()), max(flops.values())
    weights = network.work[1].weight_bytes / 1e6
    return f"{network.name}: {least:.1f} to {most:.1f} MFLOP of products a list, {weights:.1f} MB of weights."


def _seconds(work: Callable[[], object]) -> float:
    """CPU time of one call; as many calls as fill LEAST_S."""
    calls, started_s = 0, time.process_time()
    while (spent_s := time.process_time() - started_s) < LEAST_S or not calls:
        work()
        calls += 1
    return spent_s / calls


def _product(shape: tuple[int, int, int]) -> Callable[[], object]:
    """One product (m, k) · (k, n) by onnxruntime, with a constant second matrix, as weights are."""
    return _products(Work(0, 0, (shape,)))


def _products(work: Work) -> Callable[[], object]:
    """A network's products alone, one graph of independent MatMul nodes."""
    nodes, inputs, outputs, constants, feeds = [], [], [], [], {}
    for place, (m, k, n) in enumerate(work.products):
        x, w, y = f"x{place}", f"w{place}", f"y{place}"
        feeds[x] = np.ones((m, k), np.float32)
        nodes.append(helper.make_node("MatMul", [x, w], [y]))
        inputs.append(helper.make_tensor_value_info(x, TensorProto.FLOAT, [m, k]))
        outputs.append(helper.make_tensor_value_info(y, TensorProto.FLOAT, [m, n]))
        constants.append(numpy_helper.from_array(np.ones((k, n), np.float32), w))
    graph = helper.make_graph(nodes, "products", inputs, outputs, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    session = open_session(model.SerializeToString())
    names = [one.name for one in outputs]
    return partial(session.run, names, feeds)


if __name__ == "__main__":
    main()
