"""What the exporter writes and no runtime needs."""

from __future__ import annotations

from collections import Counter

from onnx import GraphProto, NodeProto

INDEXING = frozenset({"Gather"})  # takes int32 as well as int64


def simplify(graph: GraphProto) -> None:
    """In place: e^log x becomes x, and numbers that only look rows up are not cast to int64 before."""
    makers = {name: node for node in graph.node for name in node.output}
    renamed: dict[str, str] = {}
    for node in graph.node:
        if node.op_type == "Exp" and (maker := makers.get(node.input[0])) and maker.op_type == "Log":
            renamed[node.output[0]] = maker.input[0]
        elif _only_looks_up(node, graph):
            renamed[node.output[0]] = node.input[0]
    for node in graph.node:
        node.input[:] = [renamed.get(name, name) for name in node.input]
    _without_idle(graph)


def _only_looks_up(node: NodeProto, graph: GraphProto) -> bool:
    if node.op_type != "Cast":
        return False
    users = [one for one in graph.node if node.output[0] in one.input]
    return bool(users) and all(
        one.op_type in INDEXING and list(one.input).index(node.output[0]) == 1 for one in users
    )


def _without_idle(graph: GraphProto) -> None:
    """Without the nodes whose results nobody uses."""
    while True:
        used = Counter(name for node in graph.node for name in node.input)
        used.update(value.name for value in graph.output)
        idle = [node for node in graph.node if not any(used[name] for name in node.output)]
        if not idle:
            return
        for node in idle:
            graph.node.remove(node)
