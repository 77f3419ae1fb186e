"""From checkpoint to bundle: one ONNX graph that decodes whole lists, and the files around it.

PyTorch's exporter turns `while_loop` into an ONNX Loop that ends as soon as all lists of the batch are
complete. Sample inputs have batch 3: with 1 the exporter fixes the batch size in silence.
"""

from __future__ import annotations

import io
import logging
import shutil
import warnings
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
import torch
from torch import Tensor
from torch._higher_order_ops import while_loop

from agents.hints.bundle import LEXICON_DIGEST, format_lexicon, lexicon_digest, load_manifest
from agents.hints.manifest import (
    BUNDLE_FORMAT,
    CODE_VERSION,
    GRAPH,
    LEXICON,
    MANIFEST_NAME,
    TABLE,
    TOKENIZER,
    Manifest,
    Shapes,
    entry_of,
)
from agents.session.window import WINDOW_LIMIT
from streams.errors import TrainingError
from training.checkpoint import CHECKPOINT_NAME, Checkpoint, load_checkpoint
from training.decoder import Generator, State
from training.evaluate import evaluate_bundle

OPSET: Final = 20
INPUTS: Final = ("events", "actions", "ages", "repeats", "interests")
OUTPUTS: Final = ("queries", "scores")


def export_bundle(
    run: Path, out: Path, *, name: str, version: str = "1", measure: bool = True, commands: Sequence[str] = ()
) -> Path:
    """Write the bundle of a checkpoint, or of a run's folder, as folder `out`; returns it.

    What was there is replaced only when the new one is complete. With `measure` the manifest gets December's
    figures (minutes; the data must be installed). `commands`: what made the bundle, `aigq train` and
    `aigq export` when not given. Raises TrainingError when checkpoint or graph cannot be used.
    """
    trained = load_checkpoint(run / CHECKPOINT_NAME if run.is_dir() else run)
    lexicon = format_lexicon(trained.lexicon)
    files = {
        GRAPH: export_graph(trained, lexicon),
        TOKENIZER: trained.tokenizer,
        TABLE: _npy(trained.table),
        LEXICON: lexicon,
    }
    shape = trained.shape
    manifest = Manifest(
        format=BUNDLE_FORMAT,
        name=name,
        version=version,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        min_code_version=CODE_VERSION,
        encoder=trained.encoder().name,
        decoder="list",
        shapes=Shapes(L=WINDOW_LIMIT, K=shape.hints, D=shape.dim, V=len(trained.lexicon), T=shape.steps),
        files={file: entry_of(data) for file, data in files.items()},
        training=trained.run,
        metrics={},
        commands=tuple(commands) or _commands(trained.run, name),
    )
    write_bundle(out, manifest, files)
    if measure:
        add_metrics(out, evaluate_bundle(out))
    return out


def _commands(run: dict[str, Any], name: str) -> tuple[str, ...]:
    config = run["config"]
    options = f"--seed {config['seed']} --threads {config['threads']}" + " --small" * (
        config["households"] > 0
    )
    return (
        f"aigq train {options} --out runs/{name}",
        f"aigq export runs/{name} --out exported_models/{name}",
    )


def add_metrics(bundle: Path, metrics: dict[str, Any]) -> Manifest:
    """Put measured figures into a bundle's manifest, in one step. Raises BundleError."""
    manifest = load_manifest(bundle).model_copy(update={"metrics": metrics})
    unfinished = bundle / (MANIFEST_NAME + ".part")
    unfinished.write_text(_text(manifest), encoding="utf-8")
    unfinished.replace(bundle / MANIFEST_NAME)
    return manifest


def write_bundle(out: Path, manifest: Manifest, files: dict[str, bytes]) -> None:
    """Write a bundle's folder beside its place, then put it there."""
    unfinished, old = out.with_name(out.name + ".part"), out.with_name(out.name + ".old")
    for leftover in (unfinished, old):
        shutil.rmtree(leftover, ignore_errors=True)
    unfinished.mkdir(parents=True)
    for name, data in files.items():
        (unfinished / name).write_bytes(data)
    (unfinished / MANIFEST_NAME).write_text(_text(manifest), encoding="utf-8")
    if out.exists():
        out.rename(old)
    unfinished.rename(out)
    shutil.rmtree(old, ignore_errors=True)


def export_graph(checkpoint: Checkpoint, lexicon: bytes) -> bytes:
    """The network as ONNX bytes; `lexicon` is the file that its query numbers refer to."""
    batch = torch.export.Dim("B", min=1, max=4096)
    program = _quiet(
        lambda: torch.onnx.export(
            _LoopedGenerator(checkpoint.network()).eval(),
            _sample(checkpoint.shape.dim),
            dynamo=True,
            opset_version=OPSET,
            input_names=INPUTS,
            output_names=OUTPUTS,
            dynamic_shapes={name: {0: batch} for name in INPUTS},
            verbose=False,
        )
    )
    if program is None:
        raise TrainingError("The exporter gave no graph.", action="Look at PyTorch's messages above.")
    model: onnx.ModelProto = program.model_proto
    onnx.helper.set_model_props(model, {LEXICON_DIGEST: lexicon_digest(lexicon)})
    for value in model.graph.input:
        if not value.type.tensor_type.shape.dim[0].dim_param:
            raise TrainingError(
                f"The batch size of {value.name} was fixed.", action="This is a bug: report it."
            )
    return bytes(model.SerializeToString())


class _LoopedGenerator(torch.nn.Module):
    """The network with its decode loop as one operator."""

    def __init__(self, network: Generator) -> None:
        super().__init__()
        self.network = network

    def forward(
        self, events: Tensor, actions: Tensor, ages: Tensor, repeats: Tensor, interests: Tensor
    ) -> tuple[Tensor, Tensor]:
        return self.network.write(events, actions, ages, repeats, interests, _graph_loop)


def _graph_loop(going: Callable[..., Tensor], advance: Callable[..., State], state: State) -> State:
    end: State = while_loop(going, advance, state)  # type: ignore[no-untyped-call]
    return end


def _sample(dim: int) -> tuple[Tensor, ...]:
    codes = [torch.ones((3, WINDOW_LIMIT), dtype=torch.int32) for _ in range(3)]
    events = torch.ones((3, WINDOW_LIMIT, dim), dtype=torch.int8)
    return (events, *codes, torch.ones((3, 2, dim), dtype=torch.int8))


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


def _text(manifest: Manifest) -> str:
    return manifest.model_dump_json(indent=1) + "\n"


def _npy(table: np.ndarray[Any, Any]) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, table, allow_pickle=False)
    return buffer.getvalue()
