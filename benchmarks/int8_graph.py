"""A bundle's graph with int8 weights: what it would be, and what its lists are worth.

A part of benchmarks.generation. Quantised dynamically by onnxruntime's own tool: per channel, all products
with constant matrices. Activations are scaled over the whole batch, so a list would depend on its batch
mates: this is measured, and not shipped (docs/log.md).
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx

from training.datasets.dataset import Dataset, load_dataset
from training.evaluation.cases import cases_of
from training.evaluation.metrics import Hits, recall
from training.sessions import NEXT, REST, taken

DATA: Final = Path("data/complete-journey")
CASES_AT_ONCE: Final = 32
PRODUCTS: Final = ("MatMul", "Gemm")


def int8_graph(graph: bytes, folder: Path) -> bytes:
    """Raises ValueError when hardly anything was quantised."""
    import onnxruntime
    from onnxruntime.quantization import QuantType, quantize_dynamic

    logging.getLogger().setLevel(logging.ERROR)  # the tool advises preprocessing, which is done here
    folded, out = folder / "folded.onnx", folder / "int8.onnx"
    options = onnxruntime.SessionOptions()  # weights stand behind transposes until a session folds them
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath, options.log_severity_level = str(folded), 3
    onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    quantize_dynamic(
        folded,
        out,
        weight_type=QuantType.QInt8,
        per_channel=True,
        op_types_to_quantize=list(PRODUCTS),
        extra_options={"MatMulConstBOnly": True},
    )
    written = out.read_bytes()
    count = sum(node.op_type == "MatMulInteger" for node in onnx.load_from_string(written).graph.node)
    if count < 2:
        raise ValueError(f"{count} products were quantised")
    return written


def recall_at_10(run: Any, data: Dataset) -> float:
    """Mean over December's next baskets and rests of baskets. run: contexts to queries (B, K)."""
    samples, names = data.samples("test"), [query for query, _ in data.lexicon]
    found = []
    for task in (NEXT, REST):
        cases = cases_of(samples, data.purchases, task)
        lists: list[list[str]] = []
        for start in range(0, len(cases), CASES_AT_ONCE):
            part = slice(start, start + CASES_AT_ONCE)
            written = run(taken(samples.contexts, cases.rows[part]))
            for row, seen in zip(written.tolist(), cases.seen[part], strict=True):
                lists.append([names[number] for number in row if names[number] not in seen])
        found.append(float(np.nanmean(recall(Hits.of(lists, cases.truths), 10))))
    return float(np.mean(found))


def data_at_hand() -> Dataset | None:
    """The data set of the shipped bundle, if `make reproduce` has made it here."""
    return load_dataset(DATA) if DATA.exists() else None
