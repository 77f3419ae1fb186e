"""The text encoder: any text has an embedding, and alike texts have alike ones."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.hints.encoder import SubwordEncoder
from training.lexicon import train_tokenizer

DIM = 64
WORDS = ["milk", "chocolate", "bread", "white", "dog", "food"]


@pytest.fixture(scope="module")
def encoder() -> SubwordEncoder:
    """Six trained words with orthogonal rows; everything else is unknown."""
    tokenizer = train_tokenizer(WORDS)
    blank = SubwordEncoder(tokenizer, np.zeros((4_096, DIM))[: _size(tokenizer)])
    table = np.zeros((_size(tokenizer), DIM), np.float16)
    for place, word in enumerate(WORDS):
        (token,) = blank.tokens(word)
        table[token, place] = 2.0
    return SubwordEncoder(tokenizer, table)


def _size(tokenizer: bytes) -> int:
    from tokenizers import Tokenizer

    return int(Tokenizer.from_str(tokenizer.decode()).get_vocab_size())


def cosine(encoder: SubwordEncoder, one: str, other: str) -> float:
    a, b = (encoder.embed(text).astype(float) / 127 for text in (one, other))
    return float(a @ b)


@given(st.text())
def test_any_text_has_a_unit_vector_or_zeros(encoder: SubwordEncoder, text: str) -> None:
    vector = encoder.embed(text)
    assert vector.dtype == np.int8
    assert vector.shape == (DIM,)
    length = np.linalg.norm(vector.astype(float)) / 127
    assert length == pytest.approx(1.0, abs=0.05) if text.strip() else length <= 1.05


@pytest.mark.parametrize("text", ["", " ", "\n\t"])
def test_a_text_without_words_is_zeros(encoder: SubwordEncoder, text: str) -> None:
    assert not encoder.embed(text).any()


def test_case_spacing_and_compatible_characters_do_not_matter(encoder: SubwordEncoder) -> None:
    assert np.array_equal(encoder.embed("Chocolate  MILK"), encoder.embed("chocolate milk"))
    assert np.array_equal(encoder.embed("ｍｉｌｋ"), encoder.embed("milk"))


def test_the_order_of_words_does_not_matter_and_shared_words_count(encoder: SubwordEncoder) -> None:
    assert cosine(encoder, "milk chocolate", "chocolate milk") > 0.99
    assert cosine(encoder, "milk", "chocolate milk") == pytest.approx(0.7, abs=0.03)
    assert cosine(encoder, "milk", "dog food") == pytest.approx(0.0, abs=0.03)


@pytest.mark.parametrize(
    ("one", "near", "far"),
    [
        ("Apple iPhone 17 Pro", "iPhone 17 case", "Bosch hammer drill"),
        ("wanderschuhe herren", "wanderschuhe damen", "bettwäsche baumwolle"),
        ("кроссовки мужские", "кроссовки женские", "молоко"),
        ("🍕 pizza", "pizza 🍕🍕", "🚲"),
    ],
)
def test_unknown_words_are_near_by_spelling_only(
    encoder: SubwordEncoder, one: str, near: str, far: str
) -> None:
    assert cosine(encoder, one, near) > 0.3
    assert abs(cosine(encoder, one, far)) < 0.35
    assert cosine(encoder, one, near) > cosine(encoder, one, far) + 0.2


def test_a_very_long_text_is_cut_not_refused(encoder: SubwordEncoder) -> None:
    assert np.array_equal(encoder.embed("milk " * 10_000), encoder.embed("milk"))


def test_half_a_surrogate_pair_is_no_error(encoder: SubwordEncoder) -> None:
    assert encoder.embed("milk \ud800").any()


def test_vectors_are_shared_and_so_read_only(encoder: SubwordEncoder) -> None:
    assert encoder.embed("milk") is encoder.embed("milk")
    with pytest.raises(ValueError, match="read-only"):
        encoder.embed("milk")[0] = 1


def test_the_name_changes_with_the_table() -> None:
    tokenizer = train_tokenizer(WORDS)
    table = np.zeros((_size(tokenizer), DIM), np.float16)
    same = SubwordEncoder(tokenizer, table)
    assert same.name == SubwordEncoder(tokenizer, table).name
    table[0, 0] = 1
    assert same.name != SubwordEncoder(tokenizer, table).name


def test_a_table_of_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match="tokens, but a table"):
        SubwordEncoder(train_tokenizer(WORDS), np.zeros((3, DIM)))
