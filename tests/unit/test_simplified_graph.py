"""What is taken out of an exported graph, and what must stay."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from training.simplified_graph import simplify


def model() -> onnx.ModelProto:
    """Looks rows up by numbers that are cast before, adds e^log of another input, and counts the numbers."""
    nodes = [
        helper.make_node("Cast", ["numbers"], ["wide"], to=TensorProto.INT64),
        helper.make_node("Gather", ["table", "wide"], ["rows"]),
        helper.make_node("Log", ["x"], ["log"]),
        helper.make_node("Exp", ["log"], ["again"]),
        helper.make_node("Add", ["rows", "again"], ["y"]),
        helper.make_node("Cast", ["numbers"], ["kept"], to=TensorProto.INT64),
        helper.make_node("Add", ["kept", "one"], ["z"]),
    ]
    constants = [
        numpy_helper.from_array(np.arange(8, dtype=np.float32).reshape(4, 2), "table"),
        numpy_helper.from_array(np.ones(1, np.int64), "one"),
    ]
    graph = helper.make_graph(
        nodes,
        "small",
        [
            helper.make_tensor_value_info("numbers", TensorProto.INT32, ["N"]),
            helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 2]),
        ],
        [
            helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 2]),
            helper.make_tensor_value_info("z", TensorProto.INT64, ["N"]),
        ],
        constants,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def test_idle_nodes_go_and_the_results_stay() -> None:
    graph = model()
    simplify(graph.graph)
    onnx.checker.check_model(graph, full_check=True)
    assert [node.op_type for node in graph.graph.node] == ["Gather", "Add", "Cast", "Add"]
    inputs = {"numbers": np.array([3, 0], np.int32), "x": np.array([[1, 2], [0.5, 3]], np.float32)}
    session = onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    y, z = session.run(None, inputs)
    assert y.tolist() == [[7.0, 9.0], [0.5, 4.0]]
    assert z.tolist() == [4, 1]
