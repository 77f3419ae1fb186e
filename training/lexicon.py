"""What can be written, and in which tokens: the lexicon of queries and its tokenizer.

The lexicon is every phrase that was bought in the training span, the most popular first. The tokenizer is
a byte-level BPE whose merges go on until each word of the phrase table is one token, so that a query takes
as many tokens as it has words; intermediate merges stay as pieces for other words.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

import polars as pl
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

from agents.hints.encoder import END_TOKEN

TOKENS_MAX: Final = 8_192


def build_lexicon(purchases: pl.DataFrame) -> list[tuple[str, int]]:
    """(query, baskets that hold it) of all phrases bought, most popular first, ties by name."""
    counts = (
        purchases.group_by("phrase")
        .agg(pl.col("basket_id").n_unique().alias("baskets"))
        .sort(["baskets", "phrase"], descending=[True, False])
    )
    return [(str(query), int(count)) for query, count in counts.iter_rows()]


def train_tokenizer(texts: Iterable[str]) -> bytes:
    """Tokenizer JSON in which each word of `texts` is one token. The same texts give the same bytes."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    trainer = trainers.BpeTrainer(
        vocab_size=TOKENS_MAX,
        special_tokens=[END_TOKEN],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    words = sorted({form for text in texts for word in text.split() for form in word_forms(word)})
    # Twice, because a merge must be seen twice to be made.
    tokenizer.train_from_iterator([*words, *words], trainer)
    return tokenizer.to_str().encode()


def word_forms(word: str) -> Iterator[str]:
    """The word, and its simple plural or singular: shoppers type both.

    >>> list(word_forms("bananas")), list(word_forms("cherries")), list(word_forms("milk"))
    (['bananas', 'banana'], ['cherries', 'cherry'], ['milk', 'milks'])
    """
    yield word
    if len(word) < 3 or not word.isalpha():
        return
    if word.endswith("ies"):
        yield word[:-3] + "y"
    elif word.endswith(("ches", "shes", "xes", "sses", "oes")):
        yield word[:-2]
    elif word.endswith("ss"):
        yield word + "es"
    elif word.endswith("s"):
        yield word[:-1]
    elif word.endswith("y") and word[-2] not in "aeiou":
        yield word[:-1] + "ies"
    else:
        yield word + "s"
