"""e(text): a static sub-word embedding, computed once when an event arrives, cached by text.

A text is cut into words and these into tokens (NFKC, lower case, byte-level BPE: any text has tokens).
A word that is one trained token brings that token's row of the table. A word that the vocabulary breaks
into pieces, as in another shop's titles, brings the sum of pseudo-random directions of its character
trigrams: the same word always points the same way, inflections point nearly so, and unrelated words are
nearly orthogonal, in any script. The text is the mean of its words, of unit length.

The paper turns items into short text with a fine-tuned language model and reads the text again for every
list (§3.2); the static embedding is ours.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from itertools import groupby
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from streams.hint_request import Int8, to_int8

END_TOKEN: Final = "</q>"  # noqa: S105 - the tokenizer's special token; no text contains it
TEXT_LIMIT: Final = 512  # characters; events' texts are far shorter
CACHE_SIZE: Final = 65_536
NGRAM: Final = 3

Float64 = npt.NDArray[np.float64]


class SubwordEncoder:
    """Implements `agents.session.step.TextEncoder`.

    tokenizer: as JSON. table: (tokens, D) float16 or float32. A row's length is how much its word says
    beside other words; a row of zeros belongs to a token that is no trained word.
    """

    def __init__(self, tokenizer_json: bytes, table: npt.NDArray[np.floating]) -> None:
        self._tokenizer = Tokenizer.from_str(tokenizer_json.decode())
        self._table = table.astype(np.float64)
        if self._table.ndim != 2 or len(self._table) != self._tokenizer.get_vocab_size():
            raise ValueError(f"{self._tokenizer.get_vocab_size()} tokens, but a table of {table.shape}")
        lengths = np.linalg.norm(self._table, axis=1)
        self._trained = lengths > 0
        self._unknown_length = float(np.median(lengths[self._trained])) if self._trained.any() else 1.0
        digest = hashlib.sha256(tokenizer_json + np.ascontiguousarray(table).tobytes())
        self._name = f"subword-{digest.hexdigest()[:16]}"
        self._embed = lru_cache(CACHE_SIZE)(self._embed_uncached)

    @classmethod
    def load(cls, tokenizer: Path, table: Path) -> SubwordEncoder:
        """From a bundle's files, unverified: see `agents.hints.bundle.load_encoder`."""
        return cls(tokenizer.read_bytes(), np.load(table, allow_pickle=False))

    @property
    def name(self) -> str:
        """Digest of tokenizer and table."""
        return self._name

    @property
    def dim(self) -> int:
        """D."""
        return int(self._table.shape[1])

    @property
    def end(self) -> int:
        """Number of the end token."""
        number = self._tokenizer.token_to_id(END_TOKEN)
        if number is None:
            raise ValueError(f"the tokenizer has no token {END_TOKEN}")
        return number

    def embed(self, text: str) -> Int8:
        """e(text)·127, (D,) int8, read-only; zeros for a text without words."""
        return self._embed(text)

    def tokens(self, text: str) -> list[int]:
        """Token numbers of `text`, as the reward for likeness compares them."""
        ids: list[int] = self._tokenizer.encode(_well_formed(text), add_special_tokens=False).ids
        return ids

    def _embed_uncached(self, text: str) -> Int8:
        vectors = self._word_vectors(text)
        total = np.sum(vectors, axis=0) if vectors else np.zeros(self.dim)
        length = float(np.sqrt(np.sum(total * total)))
        unit = to_int8((total / length if length > 0 else total).astype(np.float32))
        unit.setflags(write=False)
        return unit

    def _word_vectors(self, text: str) -> list[Float64]:
        normal = _one_line(self._tokenizer.normalizer.normalize_str(_well_formed(text)))
        encoding = self._tokenizer.encode(normal, add_special_tokens=False)
        pieces = zip(encoding.word_ids, encoding.ids, encoding.offsets, strict=True)
        vectors = []
        for _, group in groupby(pieces, key=lambda piece: piece[0]):
            word = list(group)
            if len(word) == 1 and self._trained[word[0][1]]:
                vectors.append(self._table[word[0][1]])
            else:
                vectors.append(self._hashed(normal[word[0][2][0] : word[-1][2][1]].strip()))
        return vectors

    def _hashed(self, word: str) -> Float64:
        """Direction of a word that the vocabulary does not hold, as long as a usual row."""
        marked = f"<{word}>"
        grams = [marked[start : start + NGRAM] for start in range(max(1, len(marked) - NGRAM + 1))]
        total: Float64 = np.sum([_direction(gram, self.dim) for gram in grams], axis=0)
        length = float(np.sqrt(np.sum(total * total)))
        return total * (self._unknown_length / length) if length > 0 else total


@lru_cache(CACHE_SIZE)
def _direction(gram: str, dim: int) -> Float64:
    """Pseudo-random vector of a character n-gram: the same on every machine, nothing to store."""
    raw = hashlib.shake_128(gram.encode()).digest(dim)
    return np.frombuffer(raw, np.int8).astype(np.float64)


def _well_formed(text: str) -> str:
    return _one_line(text[:TEXT_LIMIT].encode("utf-8", "replace").decode())


def _one_line(text: str) -> str:
    return " ".join(text.split())
