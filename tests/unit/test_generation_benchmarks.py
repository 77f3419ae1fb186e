"""What the generation benchmarks count and decide by themselves."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from agents.hints.bundle import load_bundle
from benchmarks import generation_load
from benchmarks.decoder_graph import PADDING, token_array
from benchmarks.generation_load import poisson, served
from benchmarks.network_of_bundle import network_of
from benchmarks.product_flops import work_of
from streams.hint_request import HintRequest, Version
from training.generator import Generator, tensors

COMMITTED = Path(__file__).resolve().parents[2] / "exported_models" / "complete-journey"
NONE = np.zeros((0, 64), np.int8)
REQUEST = HintRequest("u", Version(1, 0), "first", 0.0, "e", (), NONE, np.zeros((2, 64), np.int8))


class Clock:
    """CPU time that goes on by a second with every batch."""

    def __init__(self) -> None:
        self.now_s, self.sizes = 0.0, []

    def process_time(self) -> float:
        return self.now_s

    def make(self, batch: Sequence[HintRequest]) -> None:
        self.sizes.append(len(batch))
        self.now_s += 1.0


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(generation_load.time, "process_time", made.process_time)
    return made


def test_a_free_worker_takes_what_waits_up_to_the_limit(clock: Clock) -> None:
    found = served(clock.make, [REQUEST], [0.0, 0.5, 0.6, 0.7, 5.0], limit=2)
    assert clock.sizes == [1, 2, 1, 1]
    assert found.latencies_s == pytest.approx([1.0, 1.5, 1.4, 2.3, 1.0])
    assert found.batch == 5 / 4


def test_one_that_waits_holds_an_incomplete_batch_back(clock: Clock) -> None:
    found = served(clock.make, [REQUEST], [0.0, 0.5, 0.6, 5.0], limit=3, waits_s=2.0)
    assert clock.sizes == [3, 1]  # the first is full at 0.6; the last waits in vain
    assert found.latencies_s == pytest.approx([1.6, 1.1, 1.0, 3.0])


def test_poisson_arrivals_come_at_the_rate_and_in_order() -> None:
    times = poisson(20_000, 50.0, seed=3)
    assert times == sorted(times)
    assert times[-1] == pytest.approx(20_000 / 50.0, rel=0.03)
    assert np.diff(times).std() == pytest.approx(1 / 50.0, rel=0.05)


def test_products_are_counted_by_the_shapes_of_a_run_and_constant_ones_not_at_all() -> None:
    nodes = [
        helper.make_node("MatMul", ["a", "a"], ["b"]),  # of constants: made once
        helper.make_node("MatMul", ["x", "b"], ["y"]),
        helper.make_node("Gemm", ["y", "w"], ["z"], transB=1),
    ]
    constants = [
        numpy_helper.from_array(np.ones((4, 4), np.float32), "a"),
        numpy_helper.from_array(np.ones((3, 4), np.float32), "w"),
    ]
    graph = helper.make_graph(
        nodes,
        "three",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["B", 4])],
        [helper.make_tensor_value_info("z", TensorProto.FLOAT, ["B", 3])],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    work = work_of(model.SerializeToString(), {"x": np.ones((5, 4), np.float32)})
    assert work.flops == 2 * 5 * 4 * 4 + 2 * 5 * 4 * 3
    assert work.products == ((5, 4, 3),)
    assert work.weight_bytes == 4 * 4 * 3


def test_the_network_of_a_bundle_writes_the_bundles_lists() -> None:
    bundle, network = load_bundle(COMMITTED), network_of(COMMITTED, Generator)
    contexts = bundle.generator.contexts([REQUEST, REQUEST])
    queries, scores = bundle.generator.run(contexts)
    with torch.no_grad():
        own, chances = network(**tensors(contexts))
    assert np.array_equal(own.numpy(), queries)
    assert np.abs(chances.numpy() - scores).max() < 1e-4


def test_tokens_are_laid_out_with_padding_behind() -> None:
    array = token_array([[3, 1], [2]])
    assert array[:, :3].tolist() == [[3, 1, PADDING], [2, PADDING, PADDING]]
    assert (array[:, 3:] == PADDING).all()
    assert onnx.helper.np_dtype_to_tensor_dtype(array.dtype) == TensorProto.INT32
