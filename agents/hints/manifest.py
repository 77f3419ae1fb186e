"""A bundle's manifest: what belongs to it, and what it was made from. See exported_models/README.md."""

from __future__ import annotations

import hashlib
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

BUNDLE_FORMAT: Final = 4
CODE_VERSION: Final = "0.1.0"  # the project's; a test keeps them equal
MANIFEST_NAME: Final = "manifest.json"
GRAPH, TOKENIZER, TABLE = "generator.onnx", "tokenizer.json", "embeddings.npy"
LEXICON, RANKER = "lexicon.tsv", "ranker.onnx"
ENCODER_FILES: Final = frozenset({TOKENIZER, TABLE})
REQUIRED_FILES: Final = frozenset({GRAPH, TOKENIZER, TABLE, LEXICON})
KNOWN_FILES: Final = REQUIRED_FILES | {RANKER}
FILE_LIMIT_BYTES: Final = 512 * 1024 * 1024
MANIFEST_LIMIT_BYTES: Final = 1024 * 1024


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class FileEntry(_Part):
    """One file of the bundle."""

    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    bytes: int = Field(ge=1, le=FILE_LIMIT_BYTES)


class Shapes(_Part):
    """L behaviours, H queries of the past, K hints, D embedding, V queries."""

    L: int = Field(ge=1)
    K: int = Field(ge=1)
    D: int = Field(ge=1)
    V: int = Field(ge=1)
    H: int = Field(ge=1)


class Manifest(_Part):
    """metrics: figures with what they were measured on. commands: what made the bundle. k_anonymity: how many
    shoppers each query of the lexicon was seen from, at least; None: nobody said."""

    format: Literal[4]
    name: str = Field(pattern="^[a-z0-9][a-z0-9._-]{0,63}$")
    version: str = Field(min_length=1, max_length=64)
    created: str
    min_code_version: str = Field(pattern=r"^[0-9]{1,6}(\.[0-9]{1,6}){2}$")
    encoder: str
    decoder: Literal["slots"]
    shapes: Shapes
    files: dict[str, FileEntry]
    training: dict[str, Any]
    metrics: dict[str, Any]
    commands: tuple[str, ...]
    k_anonymity: int | None = Field(None, ge=1)

    def to_json(self) -> str:
        """The file; a field that nobody set is left out."""
        return self.model_dump_json(indent=1, exclude_none=True) + "\n"

    @property
    def full_name(self) -> str:
        """Name and version, as lists and metrics carry it."""
        return f"{self.name}-{self.version}"


def entry_of(data: bytes) -> FileEntry:
    """The entry of a file with this content."""
    return FileEntry(sha256=hashlib.sha256(data).hexdigest(), bytes=len(data))


def is_newer(version: str, than: str) -> bool:
    """Whether dotted `version` is higher than the other; both are digits and dots."""
    return tuple(map(int, version.split("."))) > tuple(map(int, than.split(".")))
