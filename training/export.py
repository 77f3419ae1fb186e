"""From checkpoint to bundle: one ONNX graph that writes whole lists, and the files around it.

Sample inputs have batch 3: with 1 the exporter fixes the batch size in silence.
"""

from __future__ import annotations

import io
import logging
import shutil
import warnings
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
import torch
from torch import Tensor, nn

from agents.hints.bundle import LEXICON_DIGEST, format_lexicon, lexicon_digest
from agents.hints.context import HABIT_BLOCK, HABITS
from agents.hints.manifest import (
    BUNDLE_FORMAT,
    CODE_VERSION,
    GRAPH,
    LEXICON,
    MANIFEST_NAME,
    RANKER,
    TABLE,
    TOKENIZER,
    Manifest,
    Shapes,
    entry_of,
)
from agents.hints.ranking import CANDIDATE_INPUTS, CONTEXT_INPUTS, RANKER_OUTPUT
from agents.hints.ranking_features import RANKING_FEATURES
from agents.session.window import WINDOW_LIMIT
from streams.errors import TrainingError
from training.checkpoint import Checkpoint, load_run
from training.generator import Generator
from training.ranker import ClickRanker, RankerGraph, load_ranker
from training.simplified_graph import simplify

OPSET: Final = 20
INPUTS: Final = ("events", "actions", "ages", "repeats", "interests", "habits", "habit_rows")
BLOCKS: Final = ("habits", "habit_rows")
OUTPUTS: Final = ("queries", "scores")
MOST: Final = {"B": 4096, "P": 65_536, "N": 65_536}  # contexts; blocks of habits, and candidates, of them all


def export_bundle(
    run: Path,
    out: Path,
    *,
    name: str,
    version: str = "1",
    ranker: Path | None = None,
) -> Path:
    """Write the bundle of a checkpoint, or of a run's folder, as folder `out`; returns it.

    What was there is replaced only when the new one is complete. `ranker`: the run or file of the click
    ranker to order lists with. The manifest has no figures yet: `aigq evaluate --record` puts them in.
    Raises TrainingError when checkpoint or graph cannot be used.
    """
    trained = load_run(run)
    lexicon = format_lexicon(trained.lexicon)
    files = {
        GRAPH: export_graph(trained, lexicon),
        TOKENIZER: trained.tokenizer,
        TABLE: _npy(trained.table),
        LEXICON: lexicon,
    }
    if ranker is not None:
        files[RANKER] = export_ranker(load_ranker(ranker))
    shape = trained.shape
    manifest = Manifest(
        format=BUNDLE_FORMAT,
        name=name,
        version=version,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        min_code_version=CODE_VERSION,
        encoder=trained.encoder().name,
        decoder="slots",
        shapes=Shapes(L=WINDOW_LIMIT, K=shape.hints, D=shape.dim, V=len(trained.lexicon), H=HABITS),
        files={file: entry_of(data) for file, data in files.items()},
        training=trained.run,
        metrics={},
        commands=(_command(run, out, ranker),),
        k_anonymity=_k_anonymity(trained.run),
    )
    write_bundle(out, manifest, files)
    return out


def _command(run: Path, out: Path, ranker: Path | None) -> str:
    """Names only: a manifest says nothing of the machine it was made on."""
    option = f" --ranker runs/{ranker.name}" if ranker else ""
    return f"aigq export runs/{run.name}{option} --out exported_models/{out.name}"


def _k_anonymity(run: Mapping[str, Any]) -> int | None:
    """What the base was told, at the beginning of the chain of runs."""
    start = run.get("start")
    found = run.get("k_anonymity")
    return _k_anonymity(start) if found is None and isinstance(start, Mapping) else found


def write_bundle(out: Path, manifest: Manifest, files: dict[str, bytes]) -> None:
    """Write a bundle's folder beside its place, then put it there."""
    unfinished, old = out.with_name(out.name + ".part"), out.with_name(out.name + ".old")
    for leftover in (unfinished, old):
        shutil.rmtree(leftover, ignore_errors=True)
    unfinished.mkdir(parents=True)
    for name, data in files.items():
        (unfinished / name).write_bytes(data)
    (unfinished / MANIFEST_NAME).write_text(manifest.to_json(), encoding="utf-8")
    if out.exists():
        out.rename(old)
    unfinished.rename(out)
    shutil.rmtree(old, ignore_errors=True)


def export_graph(checkpoint: Checkpoint, lexicon: bytes) -> bytes:
    """The network as ONNX bytes; `lexicon` is the file that its query numbers refer to."""
    model = onnx.load_from_string(network_graph(checkpoint.network()))
    onnx.helper.set_model_props(model, {LEXICON_DIGEST: lexicon_digest(lexicon)})
    return bytes(model.SerializeToString())


def network_graph(network: Generator) -> bytes:
    """A network as ONNX bytes, without the digest of a lexicon."""
    sample = _sample(network.encoder.shape.dim)
    return bytes(_onnx(network, sample, INPUTS, OUTPUTS, _sizes(INPUTS)).SerializeToString())


def export_ranker(network: ClickRanker) -> bytes:
    """The ranker as ONNX bytes, with the contract of agents.hints.ranking."""
    context = dict(zip(INPUTS, _sample(network.features.base.shape.dim), strict=True))
    numbers = torch.zeros(5, dtype=torch.int32)
    sample = (
        *(context[name] for name in CONTEXT_INPUTS),
        torch.zeros((5, len(RANKING_FEATURES))), numbers, numbers.clone(), numbers.clone(),
    )  # fmt: skip
    inputs = (*CONTEXT_INPUTS, *CANDIDATE_INPUTS)
    graph = RankerGraph(network).eval()
    sizes = _sizes(CONTEXT_INPUTS) | dict.fromkeys(CANDIDATE_INPUTS, "N")
    return bytes(_onnx(graph, sample, inputs, (RANKER_OUTPUT,), sizes).SerializeToString())


def _onnx(
    network: nn.Module,
    sample: tuple[Tensor, ...],
    inputs: Sequence[str],
    outputs: Sequence[str],
    sizes: Mapping[str, str],
) -> onnx.ModelProto:
    """sizes: by input the name of the free size that it has in front."""
    free = {name: torch.export.Dim(name, min=1, max=MOST[name]) for name in sizes.values()}
    program = _quiet(
        lambda: torch.onnx.export(
            network,
            sample,
            dynamo=True,
            opset_version=OPSET,
            input_names=inputs,
            output_names=outputs,
            dynamic_shapes={name: {0: free[sizes[name]]} for name in inputs},
            verbose=False,
        )
    )
    if program is None:
        raise TrainingError("The exporter gave no graph.", action="Look at PyTorch's messages above.")
    model: onnx.ModelProto = program.model_proto
    for value in model.graph.input:
        if not value.type.tensor_type.shape.dim[0].dim_param:
            raise TrainingError(
                f"The batch size of {value.name} was fixed.", action="This is a bug: report it."
            )
    simplify(model.graph)
    return without_origins(model)


def without_origins(model: onnx.ModelProto) -> onnx.ModelProto:
    """Without what the exporter notes of each node: source lines, with the paths of whoever exported."""
    graphs = [model.graph, *model.functions]
    while graphs:
        graph = graphs.pop()
        graph.ClearField("metadata_props")
        for part in (*graph.node, *graph.value_info, *getattr(graph, "initializer", ())):
            part.ClearField("metadata_props")
            part.ClearField("doc_string")
        graphs += [one.g for node in graph.node for one in node.attribute if one.HasField("g")]
    return model


def _sizes(names: Sequence[str]) -> dict[str, str]:
    return {name: "P" if name in BLOCKS else "B" for name in names}


def _sample(dim: int) -> tuple[Tensor, ...]:
    codes = [torch.ones((3, WINDOW_LIMIT), dtype=torch.int32) for _ in range(3)]
    events = torch.ones((3, WINDOW_LIMIT, dim), dtype=torch.int8)
    interests, habits = (
        torch.ones((3, 2, dim), dtype=torch.int8),
        torch.ones((4, HABIT_BLOCK, 3), dtype=torch.int16),
    )
    return (events, *codes, interests, habits, torch.tensor([0, 1, 1, 2], dtype=torch.int32))


def _quiet(export: Callable[[], Any]) -> Any:
    """The exporter warns about its own internals; an error still comes through."""
    log = logging.getLogger("torch.onnx")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return export()
    finally:
        log.setLevel(level)


def _npy(table: np.ndarray[Any, Any]) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, table, allow_pickle=False)
    return buffer.getvalue()
