"""Load a bundle, or refuse it and say what does not fit; nothing half-loaded ever leaves this module.

Every file is read once, checked against the manifest, and used from those very bytes. The graph carries
the digest of the lexicon it was exported for, so that queries cannot be numbered differently.
"""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from pydantic import ValidationError

from agents.hints.context import HABIT_BLOCK, HABITS
from agents.hints.encoder import SubwordEncoder
from agents.hints.generator import Generator, Provider, open_session
from agents.hints.graph_session import GraphSession
from agents.hints.manifest import (
    CODE_VERSION,
    ENCODER_FILES,
    GRAPH,
    KNOWN_FILES,
    LEXICON,
    MANIFEST_LIMIT_BYTES,
    MANIFEST_NAME,
    RANKER,
    REQUIRED_FILES,
    TABLE,
    TOKENIZER,
    Manifest,
    Shapes,
    entry_of,
    is_newer,
)
from agents.hints.ranking import CANDIDATE_INPUTS, CONTEXT_INPUTS, RANKER_OUTPUT, Ranker
from agents.hints.ranking_features import F
from agents.session.interest import InterestPolicy
from agents.session.window import WINDOW_LIMIT
from streams.errors import BundleError
from streams.signed_manifests import Trusted, why_not_trusted

LEXICON_HEAD: Final = "query\tcount"
LEXICON_DIGEST: Final = "aigq.lexicon_sha256"  # in the graph's metadata
TRIAL_TEXT: Final = "Crème brûlée 2.0"
COUNT: Final = re.compile("[0-9]{1,15}")
Lexicon = dict[str, int]  # query to count, most popular first; a query's place is its number


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle in working order. `name` is the manifest's name and version; `sessions` are its graphs'."""

    name: str
    encoder: SubwordEncoder
    lexicon: Lexicon
    generator: Generator
    ranker: Ranker | None
    manifest: Manifest
    sessions: tuple[GraphSession, ...] = ()


def load_bundle(
    path: Path,
    *,
    threads: int = 1,
    provider: Provider = "cpu",
    policy: InterestPolicy = InterestPolicy(),  # noqa: B008 - frozen
    trusted: Trusted = None,
) -> Bundle:
    """Load and verify all of a bundle; one warm-up list is written. Raises BundleError."""
    manifest, files = _read(path, KNOWN_FILES, trusted)
    encoder = _encoder(files, manifest)
    lexicon = parse_lexicon(files[LEXICON])
    if len(lexicon) != manifest.shapes.V:
        raise _misfit(f"{LEXICON} has {len(lexicon)} queries, the manifest says {manifest.shapes.V}")
    session = open_session(files[GRAPH], threads=threads, provider=provider)
    _check_graph(session, manifest.shapes, files[LEXICON])
    try:
        generator = Generator(session, list(lexicon), encoder, policy)
    except Exception as error:  # the warm-up: whatever a wrong graph may raise
        raise _misfit(f"{GRAPH} does not run: {error}") from error
    ranker: Ranker | None = None
    sessions: tuple[GraphSession, ...] = (session,)
    if RANKER in files:
        ranking = open_session(files[RANKER], threads=threads, provider=provider)
        _check_ranker(ranking, manifest.shapes)
        ranker, sessions = Ranker(ranking, lexicon), (session, ranking)
    return Bundle(manifest.full_name, encoder, lexicon, generator, ranker, manifest, sessions)


def load_encoder(path: Path, trusted: Trusted = None) -> tuple[SubwordEncoder, str]:
    """Only the text encoder, and the bundle's full name, for workers that keep sessions.

    Needs no onnxruntime. Raises BundleError.
    """
    manifest, files = _read(path, ENCODER_FILES, trusted)
    return _encoder(files, manifest), manifest.full_name


def load_lexicon(path: Path) -> Lexicon:
    """Only the queries that the bundle can write, verified. Raises BundleError."""
    _, files = _read(path, frozenset({LEXICON}))
    return parse_lexicon(files[LEXICON])


def load_manifest(path: Path, trusted: Trusted = None) -> Manifest:
    """Only the manifest, unverified against its files. Raises BundleError."""
    raw = _file(path, MANIFEST_NAME, MANIFEST_LIMIT_BYTES)
    untrusted = why_not_trusted(raw, path / MANIFEST_NAME, trusted)
    if untrusted:
        raise BundleError(
            f"The bundle {path.name} is refused: {untrusted}.",
            action="Sign it with `aigq sign`, or add its key to AIGQ_TRUSTED_KEYS_FILE.",
        )
    try:
        manifest = Manifest.model_validate_json(raw)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or MANIFEST_NAME
        raise _misfit(f"{MANIFEST_NAME}: {where}: {first['msg']}") from error
    if is_newer(manifest.min_code_version, than=CODE_VERSION):
        raise BundleError(
            f"The bundle needs AIGQ {manifest.min_code_version}, this is {CODE_VERSION}.",
            action="Upgrade AIGQ, or serve an older bundle.",
        )
    missing, unknown = REQUIRED_FILES - manifest.files.keys(), manifest.files.keys() - KNOWN_FILES
    if missing or unknown:
        raise _misfit(f"the manifest lacks {sorted(missing)} and names unknown {sorted(unknown)}")
    return manifest


def verify_bundle(path: Path, trusted: Trusted = None) -> list[str]:
    """All that is wrong with a bundle, one sentence each; [] when it would load on the CPU."""
    try:
        manifest = load_manifest(path, trusted)
    except BundleError as error:
        return [error.message]
    findings = []
    for name in sorted(manifest.files):
        try:
            _verified(path, name, manifest)
        except BundleError as error:
            findings.append(error.message)
    if not findings:
        try:
            load_bundle(path)
        except BundleError as error:
            findings.append(error.message)
    return findings


def parse_lexicon(raw: bytes) -> Lexicon:
    """Lines "query<TAB>count" below a head line. Raises BundleError."""
    try:
        head, *lines = raw.decode("utf-8").removesuffix("\n").split("\n")
        if head != LEXICON_HEAD:
            raise ValueError(f"its first line is not {LEXICON_HEAD!r}")
        pairs = [line.split("\t") for line in lines]
        lexicon = {query: _count(count) for query, count in pairs if query}
        if len(lexicon) != len(lines):
            raise ValueError("a query is empty or stands twice")
    except ValueError as error:
        raise _misfit(f"{LEXICON}: {error}") from error
    return lexicon


def _count(text: str) -> int:
    """Plain digits, as `format_lexicon` writes them: `int` takes far more, and float64 far less."""
    if COUNT.fullmatch(text) is None:
        raise ValueError("a count is no number of 1 to 15 digits")
    return int(text)


def format_lexicon(lexicon: Iterable[tuple[str, int]]) -> bytes:
    """Inverse of `parse_lexicon`."""
    return "".join(f"{line}\n" for line in (LEXICON_HEAD, *(f"{q}\t{n}" for q, n in lexicon))).encode()


def lexicon_digest(raw: bytes) -> str:
    """What a graph's metadata says about its lexicon."""
    return hashlib.sha256(raw).hexdigest()


def _read(path: Path, wanted: frozenset[str], trusted: Trusted = None) -> tuple[Manifest, dict[str, bytes]]:
    """Manifest and the wanted files' verified bytes."""
    manifest = load_manifest(path, trusted)
    names = sorted(wanted & manifest.files.keys())
    return manifest, {name: _verified(path, name, manifest) for name in names}


def _verified(path: Path, name: str, manifest: Manifest) -> bytes:
    entry = manifest.files[name]
    data = _file(path, name, entry.bytes)
    if len(data) != entry.bytes:
        raise _misfit(f"{name} has {len(data)} bytes, the manifest says {entry.bytes}")
    if entry_of(data).sha256 != entry.sha256:
        raise _misfit(f"{name} is not the file that the manifest was written for (SHA-256 differs)")
    return data


def _file(path: Path, name: str, limit_bytes: int) -> bytes:
    """Content of a plain file that really lies in the bundle's folder, at most limit_bytes + 1."""
    file = path / name
    try:
        if not file.resolve(strict=True).is_relative_to(path.resolve(strict=True)):
            raise _misfit(f"{name} leads out of the bundle's folder")
        if not file.is_file():
            raise _misfit(f"{name} is no plain file")
        with file.open("rb") as opened:
            data = opened.read(limit_bytes + 1)
    except (OSError, RuntimeError) as error:
        raise _misfit(f"{name} cannot be read: {error.__class__.__name__}") from error
    if len(data) > limit_bytes:
        raise _misfit(f"{name} is larger than {limit_bytes} bytes")
    return data


def _encoder(files: dict[str, bytes], manifest: Manifest) -> SubwordEncoder:
    try:
        encoder = SubwordEncoder(files[TOKENIZER], np.load(io.BytesIO(files[TABLE]), allow_pickle=False))
        encoder.embed(TRIAL_TEXT)  # a tokenizer that lacks a part is found out only when it is used
    except Exception as error:  # tokenizers raises bare Exception
        raise _misfit(f"{TOKENIZER} and {TABLE} do not fit together: {error}") from error
    if encoder.dim != manifest.shapes.D or encoder.name != manifest.encoder:
        raise _misfit(f"the encoder is {encoder.name}, D = {encoder.dim}, and not the manifest's")
    return encoder


def _check_graph(session: Any, shapes: Shapes, lexicon: bytes) -> None:
    sizes = {value.name: value.shape[1:] for value in (*session.get_inputs(), *session.get_outputs())}
    expected = _contexts(shapes) | {"queries": [shapes.K], "scores": [shapes.K]}
    if sizes != expected or (shapes.L, shapes.H) != (WINDOW_LIMIT, HABITS):
        raise _misfit(f"{GRAPH} has {sizes}, the manifest and this version want {expected}")
    if session.get_modelmeta().custom_metadata_map.get(LEXICON_DIGEST) != lexicon_digest(lexicon):
        raise _misfit(f"{GRAPH} was exported for another {LEXICON}")


def _check_ranker(session: Any, shapes: Shapes) -> None:
    found = {value.name: value.shape[1:] for value in (*session.get_inputs(), *session.get_outputs())}
    expected = {name: sizes for name, sizes in _contexts(shapes).items() if name in CONTEXT_INPUTS}
    expected |= dict(zip((*CANDIDATE_INPUTS, RANKER_OUTPUT), ([F], [], [], [], []), strict=True))
    if found != expected:
        raise _misfit(f"{RANKER} has {found}, this version wants {expected}")


def _contexts(shapes: Shapes) -> dict[str, list[int]]:
    """The contexts' arrays, without the free size in front."""
    codes = [shapes.L]
    return {
        "events": [shapes.L, shapes.D],
        "actions": codes,
        "ages": codes,
        "repeats": codes,
        "interests": [2, shapes.D],
        "habits": [HABIT_BLOCK, 3],
        "habit_rows": [],
    }


def _misfit(what: str) -> BundleError:
    return BundleError(
        f"The bundle does not fit together: {what}.",
        action="Restore the bundle, or export it anew; `aigq bundle verify` lists all findings.",
    )
