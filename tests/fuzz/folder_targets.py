"""What is loaded from folders: Think mappings and bundles. A torn file, and one with a hash that fits."""

from __future__ import annotations

import atexit
import hashlib
import io
import shutil
import tempfile
from functools import cache
from pathlib import Path
from typing import Any, Final

import numpy as np
import orjson

from agents.hints import bundle as bundles
from agents.hints.bundle import load_encoder, load_manifest, parse_lexicon
from agents.hints.encoder import SubwordEncoder
from agents.hints.manifest import LEXICON, MANIFEST_NAME, TABLE, TOKENIZER, entry_of
from agents.think.mapping_files import read_mapping
from agents.think.version_folder import read_current, read_manifest
from streams.errors import BundleError, MappingError
from tests.fuzz.target import Target, must
from tests.hostile import QUERIES

ROOT: Final = Path(__file__).parents[2]
BUNDLE: Final = ROOT / "exported_models/complete-journey"
CUT: Final = b"\n~~\n"  # between two files
PARTS: Final = (LEXICON, TOKENIZER, TABLE)


@cache
def _work() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="aigq-fuzz-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def run_mapping(data: bytes) -> None:
    """Four files, as they are and with a manifest that fits: every line is read, or a MappingError."""
    mapping, popular, manifest, current = (data.split(CUT) + [b""] * 4)[:4]
    root = _work() / "think"
    (root / "v1").mkdir(parents=True, exist_ok=True)
    (root / "v1/mapping.jsonl").write_bytes(mapping)
    (root / "v1/popular.json").write_bytes(popular)
    (root / "current.json").write_bytes(current)
    counts = mapping.count(b"\n"), popular.count(b"query")
    fitting = orjson.dumps({"format_version": 1, "version": "v1", "files": _facts(mapping, popular, *counts)})
    for content, named in ((manifest, None), (fitting, "v1")):
        (root / "v1/manifest.json").write_bytes(content)
        try:
            if named is None:
                read_current(root)
            found = read_mapping(root, read_manifest(root, named))
            lines = list(found.lines())
        except MappingError:
            continue
        must(len(lines) == found.manifest.triggers, "as many lines as the manifest says")
        must(len({line.trigger for line in lines}) == len(lines), "no trigger twice")
        must(all(entry.queries is not None for entry in found.entries()), "every line is an entry")


def run_bundle_manifest(data: bytes) -> None:
    """A manifest, or a BundleError."""
    folder = _work() / "manifest"
    folder.mkdir(exist_ok=True)
    (folder / MANIFEST_NAME).write_bytes(data)
    try:
        manifest = load_manifest(folder)
    except BundleError:
        return
    must(manifest.files and manifest.full_name, "a manifest names files")


def run_bundle_parts(data: bytes) -> None:
    """Lexicon, tokenizer or table, with a manifest that fits: an encoder that embeds, or a BundleError."""
    kind, content = PARTS[data[0] % 3] if data else LEXICON, data[1:]
    if kind == LEXICON:
        try:
            lexicon = parse_lexicon(content)
        except BundleError:
            return
        must(all(query and 0 <= count < 2**63 for query, count in lexicon.items()), "queries with counts")
        return
    try:
        encoder, _ = load_encoder(_small_bundle(kind, content))
    except BundleError:
        return
    vector = encoder.embed("oat milk \U0001f353")
    must(vector.shape == (encoder.dim,) and vector.dtype == np.int8, "a text has a vector")


def run_bundle_copies(data: bytes) -> None:
    """A copy of the committed bundle, one file changed: refused by its hash, before anything reads it."""
    spot = int.from_bytes(data[:4], "big")
    folder = _copy()
    names = sorted(load_manifest(BUNDLE).files)
    name = names[spot % len(names)]
    original = (BUNDLE / name).read_bytes()
    at = spot % len(original)
    changed = original[:at] + data[4:] + original[at + (spot % 7) * len(data) :]
    (folder / name).write_bytes(changed)
    try:
        bundles.load_bundle(folder)
        must(changed == original, f"{name} was changed and loaded")
    except BundleError as error:
        must(name in error.message, "the changed file is named")
    finally:
        shutil.copy(BUNDLE / name, folder / name)


@cache
def _copy() -> Path:
    return Path(shutil.copytree(BUNDLE, _work() / "copy"))


def _small_bundle(changed: str, content: bytes) -> Path:
    folder = _work() / "small"
    folder.mkdir(exist_ok=True)
    manifest = orjson.loads((BUNDLE / MANIFEST_NAME).read_bytes())
    for name, data in (_small() | {changed: content}).items():
        (folder / name).write_bytes(data)
        manifest["files"][name] = entry_of(data).model_dump() if data else {"sha256": "0" * 64, "bytes": 1}
    manifest["shapes"]["D"], manifest["encoder"] = 4, _name(folder)
    (folder / MANIFEST_NAME).write_bytes(orjson.dumps(manifest))
    return folder


@cache
def _small() -> dict[str, bytes]:
    """A tokenizer of bytes alone and a table for it."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: number for number, token in enumerate([*alphabet, "</q>"])}
    made = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    made.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    made.decoder = decoders.ByteLevel()
    table = io.BytesIO()
    np.save(table, np.ones((len(vocabulary), 4), np.float16))
    return {TOKENIZER: made.to_str().encode(), TABLE: table.getvalue()}


def _name(folder: Path) -> str:
    """The name that the encoder would have, so that one of strange parts is used, too."""
    try:
        return SubwordEncoder.load(folder / TOKENIZER, folder / TABLE).name
    except Exception:
        return "none"


def _mapping_seeds() -> list[bytes]:
    texts = ["milk", "eggs", *QUERIES.values()]
    queries = [{"query": text, "score": 0.5, "support": 9, "lift": 2.0} for text in texts[:3]]
    lines = b"".join(orjson.dumps({"trigger": text, "queries": queries}) + b"\n" for text in texts)
    popular = orjson.dumps(queries)
    files = _facts(lines, popular, len(texts), 3)
    manifest = orjson.dumps({"format_version": 1, "version": "v1", "created": "2026-11-01", "files": files})
    few = orjson.dumps({"trigger": "milk", "queries": queries}) + b"\n"
    named = b'{"version":"v1"}'
    return [CUT.join((lines, popular, manifest, named)), CUT.join((few, popular, manifest, b"{}"))]


def _facts(mapping: bytes, popular: bytes, triggers: int, queries: int) -> dict[str, Any]:
    """What a manifest says of the two files."""
    return {
        name: {"sha256": hashlib.sha256(content).hexdigest(), "count": count}
        for name, content, count in (("mapping.jsonl", mapping, triggers), ("popular.json", popular, queries))
    }


def _part_seeds() -> list[bytes]:
    lexicon = b"query\tcount\nmilk\t9\neggs\t5\nx\t1\n"
    return [b"\0" + lexicon, b"\1" + _small()[TOKENIZER], b"\2" + _small()[TABLE]]


TARGETS: Final = {
    one.name: one
    for one in (
        Target("mapping", run_mapping, _mapping_seeds(), in_ci=250, share=0.04, max_bytes=8192),
        Target(
            "bundle_manifest", run_bundle_manifest, [(BUNDLE / MANIFEST_NAME).read_bytes()],
            in_ci=200, share=0.03, max_bytes=16_384,
        ),
        Target("bundle_parts", run_bundle_parts, _part_seeds(), in_ci=150, share=0.02, max_bytes=16_384),
        Target("bundle_copies", run_bundle_copies, [bytes(8), b"\0\0\1\1\xff"], in_ci=20, share=0.0005),
    )
}  # fmt: skip
