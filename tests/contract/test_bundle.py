"""The committed bundle loads; a bundle with any part torn, exchanged or missing is refused and named."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import orjson
import pytest

from agents.hints.bundle import (
    format_lexicon,
    load_bundle,
    load_encoder,
    load_manifest,
    parse_lexicon,
    verify_bundle,
)
from agents.hints.generator import Provider
from agents.hints.manifest import CODE_VERSION, REQUIRED_FILES, entry_of
from streams.errors import BundleError

ROOT = Path(__file__).resolve().parents[2]
COMMITTED = ROOT / "exported_models" / "complete-journey"


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """A copy of the committed bundle that a test may spoil."""
    return Path(shutil.copytree(COMMITTED, tmp_path / "bundle"))


def change_manifest(bundle: Path, change: Callable[[dict], object]) -> None:
    path = bundle / "manifest.json"
    manifest = orjson.loads(path.read_bytes())
    change(manifest)
    path.write_bytes(orjson.dumps(manifest))


def replace_file(bundle: Path, name: str, data: bytes) -> None:
    """Another content with a manifest that agrees with it."""
    (bundle / name).write_bytes(data)
    change_manifest(bundle, lambda m: m["files"].update({name: entry_of(data).model_dump()}))


def refused(bundle: Path, why: str) -> None:
    with pytest.raises(BundleError, match=why):
        load_bundle(bundle)
    assert any(why in finding for finding in verify_bundle(bundle))


def test_the_committed_bundle_is_in_order() -> None:
    assert verify_bundle(COMMITTED) == []
    assert load_bundle(COMMITTED).name == load_manifest(COMMITTED).full_name


def test_the_manifest_shows_that_the_lists_beat_popularity() -> None:
    metrics = load_manifest(COMMITTED).metrics
    recall = {arm: one["recall@10"] for arm, one in metrics["next_basket"].items()}
    assert recall["bundle"]["low"] > 1.25 * recall["popular"]["high"]
    assert metrics["cases"]["next_basket"]["cases"] > 10_000


def test_the_committed_graphs_hold_no_source_lines() -> None:
    assert not any(b".py" in path.read_bytes() for path in COMMITTED.glob("*.onnx"))


def test_the_committed_bundle_is_a_few_megabytes() -> None:
    assert sum(path.stat().st_size for path in COMMITTED.iterdir()) < 12_000_000


def test_the_code_version_is_the_projects() -> None:
    assert f'version = "{CODE_VERSION}"' in (ROOT / "pyproject.toml").read_text()


@pytest.mark.parametrize("name", sorted(REQUIRED_FILES))
def test_a_missing_file_is_named(bundle: Path, name: str) -> None:
    (bundle / name).unlink()
    refused(bundle, f"{name} cannot be read")


@pytest.mark.parametrize("name", sorted(REQUIRED_FILES))
def test_a_flipped_bit_is_found(bundle: Path, name: str) -> None:
    data = bytearray((bundle / name).read_bytes())
    data[len(data) // 2] ^= 1
    (bundle / name).write_bytes(bytes(data))
    refused(bundle, f"{name} is not the file")


@pytest.mark.parametrize("name", sorted(REQUIRED_FILES))
def test_a_torn_file_is_found(bundle: Path, name: str) -> None:
    (bundle / name).write_bytes((bundle / name).read_bytes()[:-1])
    refused(bundle, f"{name} has")


def test_an_oversized_file_is_not_read_to_its_end(bundle: Path) -> None:
    with (bundle / "lexicon.tsv").open("ab") as file:
        file.write(b"x" * 1000)
    refused(bundle, "lexicon.tsv is larger than")


def test_a_link_out_of_the_folder_is_refused(bundle: Path, tmp_path: Path) -> None:
    outside = tmp_path / "lexicon.tsv"
    (bundle / "lexicon.tsv").rename(outside)
    (bundle / "lexicon.tsv").symlink_to(outside)
    refused(bundle, "lexicon.tsv leads out of the bundle's folder")


def test_a_link_to_itself_and_a_folder_are_refused(bundle: Path) -> None:
    (bundle / "lexicon.tsv").unlink()
    (bundle / "lexicon.tsv").symlink_to(bundle / "lexicon.tsv")
    refused(bundle, "lexicon.tsv cannot be read")
    (bundle / "lexicon.tsv").unlink()
    (bundle / "lexicon.tsv").mkdir()
    refused(bundle, "lexicon.tsv is no plain file")


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"format": 1}', b"\xff\xfe"])
def test_a_torn_manifest_is_refused(bundle: Path, content: bytes) -> None:
    (bundle / "manifest.json").write_bytes(content)
    refused(bundle, "manifest.json")


def test_no_folder_no_bundle(tmp_path: Path) -> None:
    refused(tmp_path / "nothing", "manifest.json cannot be read")


def test_another_format_is_refused(bundle: Path) -> None:
    change_manifest(bundle, lambda m: m.update(format=1))
    refused(bundle, "format")


def test_a_bundle_for_a_newer_aigq_is_refused(bundle: Path) -> None:
    change_manifest(bundle, lambda m: m.update(min_code_version="99.0.0"))
    refused(bundle, "needs AIGQ 99.0.0")


@pytest.mark.parametrize("name", ["../lexicon.tsv", "/etc/hostname", "extra.bin"])
def test_a_manifest_cannot_name_other_files(bundle: Path, name: str) -> None:
    change_manifest(bundle, lambda m: m["files"].update({name: m["files"]["lexicon.tsv"]}))
    refused(bundle, "names unknown")


@pytest.mark.parametrize("key", ["K", "D", "V"])
def test_shapes_must_be_the_graphs(bundle: Path, key: str) -> None:
    change_manifest(bundle, lambda m: m["shapes"].update({key: m["shapes"][key] + 1}))
    refused(bundle, "does not fit together")


def test_another_lexicon_of_the_same_length_is_refused(bundle: Path) -> None:
    lexicon = list(parse_lexicon((bundle / "lexicon.tsv").read_bytes()).items())
    lexicon[0], lexicon[1] = lexicon[1], lexicon[0]
    replace_file(bundle, "lexicon.tsv", format_lexicon(lexicon))
    refused(bundle, "exported for another lexicon.tsv")


@pytest.mark.parametrize(
    "lexicon", [b"", b"query\tcount\nmilk", b"query\tcount\nmilk\t1\nmilk\t2\n", b"\xff"]
)
def test_a_lexicon_of_another_form_is_refused(bundle: Path, lexicon: bytes) -> None:
    replace_file(bundle, "lexicon.tsv", lexicon or b"\n")
    refused(bundle, "lexicon.tsv")


def test_another_embedding_table_is_refused(bundle: Path) -> None:
    table = np.load(bundle / "embeddings.npy")
    np.save(bundle / "embeddings.npy", table * 2)
    replace_file(bundle, "embeddings.npy", (bundle / "embeddings.npy").read_bytes())
    refused(bundle, "not the manifest's")


def test_a_table_with_python_objects_is_not_unpickled(bundle: Path) -> None:
    np.save(bundle / "embeddings.npy", np.array([{}]), allow_pickle=True)
    replace_file(bundle, "embeddings.npy", (bundle / "embeddings.npy").read_bytes())
    refused(bundle, "do not fit together")


def test_a_graph_that_is_none_is_refused(bundle: Path) -> None:
    replace_file(bundle, "generator.onnx", b"not a graph")
    refused(bundle, "graph cannot be loaded")


def test_a_graph_with_other_inputs_is_refused(bundle: Path) -> None:
    model = onnx.load(bundle / "generator.onnx")
    model.graph.input[0].name = "happenings"
    for node in model.graph.node:
        node.input[:] = ["happenings" if name == "events" else name for name in node.input]
    replace_file(bundle, "generator.onnx", model.SerializeToString())
    refused(bundle, "generator.onnx has")


def test_a_ranker_that_ranks_by_other_inputs_is_refused(bundle: Path) -> None:
    replace_file(bundle, "ranker.onnx", (bundle / "generator.onnx").read_bytes())
    refused(bundle, "ranker.onnx has ")


def test_session_workers_need_no_onnxruntime() -> None:
    program = (
        "import sys; sys.modules['onnxruntime'] = None\n"
        "from pathlib import Path; from agents.hints.bundle import load_bundle, load_encoder\n"
        f"encoder, name = load_encoder(Path({str(COMMITTED)!r})); print(encoder.embed('milk').any(), name)\n"
        f"load_bundle(Path({str(COMMITTED)!r}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.stdout.startswith("True complete-journey")
    assert "pip install 'aigq[cpu]'" in done.stderr


def test_the_encoder_alone_is_the_bundles() -> None:
    encoder, name = load_encoder(COMMITTED)
    bundle = load_bundle(COMMITTED)
    assert (encoder.name, name) == (bundle.encoder.name, bundle.name)


def test_a_cuda_bundle_never_falls_back_to_the_cpu_in_silence() -> None:
    import onnxruntime

    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this machine may have a GPU")
    provider: Provider = "cuda"
    with pytest.raises(BundleError, match=r"no CUDAExecutionProvider.*aigq\[gpu\]"):
        load_bundle(COMMITTED, provider=provider)


def test_telemetry_is_off_before_onnxruntime_is_imported() -> None:
    load_bundle(COMMITTED)
    assert os.environ["ORT_DISABLE_TELEMETRY"] == "1"


@pytest.mark.parametrize("name", ["generator.onnx", "ranker.onnx"])
def test_the_graphs_could_be_captured_as_cuda_graphs(name: str) -> None:
    """No control flow, no sizes that depend on data, no operators of one runtime alone."""
    model = onnx.load(COMMITTED / name)
    kinds = {node.op_type for node in model.graph.node}
    assert not kinds & {"Loop", "If", "Scan", "NonZero", "Compress", "Unique", "NonMaxSuppression"}
    assert {node.domain for node in model.graph.node} == {""}
    assert not model.functions
