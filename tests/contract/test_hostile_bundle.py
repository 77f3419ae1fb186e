"""A changed graph is refused by its hash before onnxruntime is so much as imported.

A graph's own crash inside onnxruntime would end the process: no exception can be caught. So nothing that was
not hashed ever reaches it, and only somebody who can write the manifest, too, can make it read other bytes
(a signature closes that: `aigq bundle sign`).
"""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

COMMITTED = Path(__file__).resolve().parents[2] / "exported_models" / "complete-journey"
LOAD = """
import sys
from pathlib import Path
from agents.hints.bundle import load_bundle
from streams.errors import BundleError
try:
    load_bundle(Path(sys.argv[1]))
except BundleError as error:
    print(error.message)
print("onnxruntime" in sys.modules)
"""


def load_elsewhere(bundle: Path) -> list[str]:
    """What a fresh process says: the refusal, and whether onnxruntime was imported."""
    done = subprocess.run(
        [sys.executable, "-c", LOAD, str(bundle)], capture_output=True, text=True, check=True
    )
    return done.stdout.splitlines()


@pytest.mark.parametrize("name", ["generator.onnx", "ranker.onnx"])
@pytest.mark.parametrize("kind", ["one bit", "cut", "longer", "empty", "other bytes of the same length"])
def test_a_changed_graph_never_reaches_onnxruntime(tmp_path: Path, name: str, kind: str) -> None:
    bundle = Path(shutil.copytree(COMMITTED, tmp_path / "bundle"))
    graph = (bundle / name).read_bytes()
    middle = len(graph) // 2
    (bundle / name).write_bytes(
        {
            "one bit": graph[:middle] + bytes([graph[middle] ^ 1]) + graph[middle + 1 :],
            "cut": graph[:middle],
            "longer": graph + b"\0",
            "empty": b"",
            "other bytes of the same length": random.Random(1).randbytes(len(graph)),
        }[kind]
    )
    refusal, imported = load_elsewhere(bundle)
    assert name in refusal
    assert imported == "False"


def test_the_same_process_does_import_it_for_the_graph_that_was_hashed() -> None:
    assert load_elsewhere(COMMITTED) == ["True"]
