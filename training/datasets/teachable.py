"""The training gate: which texts of the training span are taught, and why the others are not.

A text is left out of lexicon, tokenizer and embeddings, and so of targets and of every hint, when it

    personal     holds somebody's address or number (streams.personal_data)
    denied       is denied by a rule (streams.deny_rules); it may still be what leads to other queries
    no_results   was searched, and the shop last said that it found nothing
    few_users    was bought or searched by fewer than k households: it could name one of them

k-anonymity is asked of phrases and of categories, in the training span alone, so that nothing looks ahead.
The built-in data's phrases are of a product catalogue, written by us and typed by nobody: k is 1 there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import polars as pl

from agents.hints.filters import DENIED, NO_RESULTS, PERSONAL, forbidden
from streams.deny_rule import TEXT_MAX, DenyKind, DenyRule
from streams.deny_rules import NO_RULES, DenyRules
from streams.errors import DatasetError
from streams.query_text import normalise_query

FEW_USERS: Final = "few_users"
REASONS: Final = (PERSONAL, DENIED, NO_RESULTS, FEW_USERS)
LOG_K: Final = 5  # households, of a shop's own log


@dataclass(frozen=True, slots=True)
class Teachable:
    """What a data set may teach. k_anonymity: households that a text needs. no_results: in normal form."""

    k_anonymity: int = 1
    denied: DenyRules = NO_RULES
    no_results: frozenset[str] = frozenset()

    def left_out(self, purchases: pl.DataFrame, behaviours: pl.DataFrame | None = None) -> Untaught:
        """Of the texts of these purchases and searches."""
        rare = few_users(purchases, behaviours, self.k_anonymity)
        phrases = {text: self._reason(text, rare) for text in purchases["phrase"].unique().to_list()}
        few = _few(purchases.select("household_id", text="category_phrase"), self.k_anonymity)
        categories = {
            text: self._reason(text, few) for text in purchases["category_phrase"].unique().to_list()
        }
        return Untaught(_named(phrases), frozenset(_named(categories)))

    def _reason(self, text: str, rare: frozenset[str]) -> str | None:
        if normalise_query(text) in self.no_results:
            return NO_RESULTS
        return forbidden(text, self.denied) or (FEW_USERS if text in rare else None)


@dataclass(frozen=True, slots=True)
class Untaught:
    """phrases: text → reason. categories: whose names are not learnt; a denied one may be."""

    phrases: Mapping[str, str] = field(default_factory=dict)
    categories: frozenset[str] = frozenset()

    def taught(self, purchases: pl.DataFrame) -> pl.DataFrame:
        """The purchases with what may be taught of them."""
        kept = purchases.filter(~pl.col("phrase").is_in(list(self.phrases)))
        nameless = pl.col("category_phrase").is_in(list(self.categories))
        return kept.with_columns(
            pl.when(nameless).then(pl.lit("")).otherwise("category_phrase").alias("category_phrase")
        )

    def counts(self) -> dict[str, int]:
        """How many phrases were left out, by reason; every reason is there."""
        found = Counter(self.phrases.values())
        return {reason: found[reason] for reason in REASONS}


def few_users(purchases: pl.DataFrame, behaviours: pl.DataFrame | None, k: int) -> frozenset[str]:
    """Texts that were bought or searched by fewer than k households."""
    texts = purchases.select("household_id", text="phrase")
    if behaviours is not None:
        texts = pl.concat([texts, behaviours.select("household_id", "text")])
    return _few(texts, k)


def found_nothing(counted: pl.DataFrame, until_ms: int | None = None) -> dict[str, int]:
    """Of the counted searches (before `until_ms`): queries whose last one found nothing, and when."""
    before = counted if until_ms is None else counted.filter(pl.col("at_ms") < until_ms)
    last = before.sort("at_ms", maintain_order=True).unique("text", keep="last", maintain_order=True)
    return dict(last.filter(pl.col("results") == 0).select("text", "at_ms").sort("text").iter_rows())


def no_results_rules(counted: pl.DataFrame) -> list[DenyRule]:
    """Of all that is known today, for `aigq deny add --file`."""
    return [
        DenyRule(kind=DenyKind.NORMALISED, text=text[:TEXT_MAX], reason=NO_RESULTS, by="log", at_ms=at_ms)
        for text, at_ms in found_nothing(counted).items()
    ]


def check_enough(purchases: pl.DataFrame) -> None:
    """Raise DatasetError when nothing can be learned from what may be taught."""
    together = purchases.group_by("basket_id").agg(pl.col("phrase").n_unique())
    if not (together["phrase"] > 1).any():
        raise DatasetError(
            "No basket of the training span holds two different phrases that may be taught: there is nothing "
            "to learn from.",
            action="Take more data; check that purchases of one order share a session_id, and that "
            "things are bought by as many people as --k-anonymity asks for.",
        )


def k_of(about: Mapping[str, Any]) -> int:
    """What dataset.json says; data sets from before asked for nobody else."""
    return int(about.get("k_anonymity", 1))


def _few(texts: pl.DataFrame, k: int) -> frozenset[str]:
    if k <= 1:
        return frozenset()
    counted = texts.group_by("text").agg(pl.col("household_id").n_unique().alias("households"))
    return frozenset(counted.filter(pl.col("households") < k)["text"].to_list())


def _named(reasons: Mapping[str, str | None]) -> dict[str, str]:
    return {text: reason for text, reason in reasons.items() if reason and text}
