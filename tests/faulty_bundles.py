"""Copies of the committed bundle whose real graph raises, or does not end, for some requests or for all.

The graph is the committed one with a few nodes more, which do nothing until a behaviour has a given action.
The warm-up's blank context has none, so each of these bundles loads.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import onnx
import orjson
from onnx import TensorProto, helper

from agents.hints.manifest import GRAPH, MANIFEST_NAME, entry_of

COMMITTED = Path("exported_models/complete-journey")
ANY_ACTION = 0
NO_ACTION_TOO = -1  # even the warm-up's blank context
ENDLESS = 1 << 50
Parts = tuple[Sequence[Any], Sequence[Any]]  # nodes, constants


def faulty(folder: Path, fault: Callable[[], Parts], action: int = ANY_ACTION) -> Path:
    """A bundle in `folder` that has this fault whenever a behaviour has the action; ANY_ACTION: whichever."""
    if not folder.exists():
        shutil.copytree(COMMITTED, folder)
    model = onnx.load(COMMITTED / GRAPH)
    for node in model.graph.node:
        node.output[:] = ["scores_before" if name == "scores" else name for name in node.output]
        node.input[:] = ["scores_before" if name == "scores" else name for name in node.input]
    for nodes, constants in (_trigger(action), fault()):
        model.graph.node.extend(nodes)
        model.graph.initializer.extend(constants)
    model.graph.node.append(helper.make_node("Add", ["scores_before", "extra"], ["scores"]))
    onnx.checker.check_model(model)
    replace_graph(folder, model.SerializeToString())
    return folder


def replace_graph(folder: Path, graph: bytes, **manifest: Any) -> None:
    """Another graph, with a manifest that agrees; `manifest`: other fields of it."""
    (folder / GRAPH).write_bytes(graph)
    change_manifest(folder, lambda found: found["files"].update({GRAPH: entry_of(graph).model_dump()}))
    change_manifest(folder, lambda found: found.update(manifest))


def repaired(folder: Path) -> None:
    """The committed files again."""
    shutil.copytree(COMMITTED, folder, dirs_exist_ok=True)


def change_manifest(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Read, change, write."""
    path = folder / MANIFEST_NAME
    manifest = orjson.loads(path.read_bytes())
    change(manifest)
    path.write_bytes(orjson.dumps(manifest))


def raises() -> Parts:
    """A place far outside of a table."""
    return [
        helper.make_node("Mul", ["triggered", "far"], ["place"]),
        helper.make_node("Gather", ["one_zero", "place"], ["extra"]),
    ], [
        helper.make_tensor("far", TensorProto.INT64, [], [1000]),
        helper.make_tensor("one_zero", TensorProto.FLOAT, [1], [0.0]),
    ]


def loops_forever() -> Parts:
    """A Loop without end: onnxruntime can stop it between two turns."""
    turn = helper.make_graph(
        [
            helper.make_node("Identity", ["go"], ["go_on"]),
            helper.make_node("Identity", ["sum"], ["sum_on"]),
        ],
        "turn",
        [
            helper.make_tensor_value_info("number", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("sum", TensorProto.FLOAT, []),
        ],
        [
            helper.make_tensor_value_info("go_on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("sum_on", TensorProto.FLOAT, []),
        ],
    )
    return [
        helper.make_node("Mul", ["triggered", "endless"], ["turns"]),
        helper.make_node("Loop", ["turns", "go_first", "sum_first"], ["extra"], body=turn),
    ], [
        helper.make_tensor("endless", TensorProto.INT64, [], [ENDLESS]),
        helper.make_tensor("go_first", TensorProto.BOOL, [], [True]),
        helper.make_tensor("sum_first", TensorProto.FLOAT, [], [0.0]),
    ]


def one_long_node(size: int) -> Callable[[], Parts]:
    """One product of matrices of whole numbers, size × size: a run that nobody can stop before it is done."""

    def parts() -> Parts:
        return [
            helper.make_node("Mul", ["triggered", "large"], ["wanted"]),
            helper.make_node("Add", ["wanted", "at_least"], ["side"]),
            helper.make_node("Unsqueeze", ["side", "first_axis"], ["side_1"]),
            helper.make_node("Concat", ["side_1", "side_1"], ["square"], axis=0),
            helper.make_node(
                "ConstantOfShape",
                ["square"],
                ["fault_ones"],
                value=helper.make_tensor("v", TensorProto.INT64, [1], [1]),
            ),
            helper.make_node("MatMul", ["fault_ones", "fault_ones"], ["product"]),
            helper.make_node("ReduceMin", ["product"], ["least"], keepdims=0),
            helper.make_node("Cast", ["least"], ["least_float"], to=TensorProto.FLOAT),
            helper.make_node("Mul", ["least_float", "nothing"], ["extra"]),
        ], [
            helper.make_tensor("large", TensorProto.INT64, [], [size]),
            helper.make_tensor("at_least", TensorProto.INT64, [], [1]),
            helper.make_tensor("first_axis", TensorProto.INT64, [1], [0]),
            helper.make_tensor("nothing", TensorProto.FLOAT, [], [0.0]),
        ]

    return parts


def _trigger(action: int) -> Parts:
    """`triggered`: 1 if a behaviour of the batch has the action, else 0."""
    compare = "Equal" if action > ANY_ACTION else "Greater"
    return [
        helper.make_node(compare, ["actions", "trigger_action"], ["is_trigger"]),
        helper.make_node("Cast", ["is_trigger"], ["trigger_number"], to=TensorProto.INT64),
        helper.make_node("ReduceMax", ["trigger_number"], ["triggered"], keepdims=0),
    ], [helper.make_tensor("trigger_action", TensorProto.INT32, [], [action])]
