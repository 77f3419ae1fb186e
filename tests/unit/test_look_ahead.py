"""Nothing looks ahead: contexts depend on what was done strictly before them, and on nothing else."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import polars as pl
import pytest

from agents.hints.context import Contexts
from streams.hint_request import encode_request
from tests.logs import write_jsonl
from tests.small_shop import DAYS, ENCODER, maker, same_contexts, shop, span_of
from tests.support import DAY_MS
from training.datasets.complete_journey import VALIDATE, Span, load_purchases
from training.datasets.shop_log import ShopLog, read_shop_log
from training.lexicon import build_lexicon
from training.sessions import NEXT, SampleMaker


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> ShopLog:
    return read_shop_log(write_jsonl(tmp_path_factory.mktemp("log") / "shop.jsonl", shop()))


@pytest.fixture(scope="module")
def purchases(found: ShopLog) -> pl.DataFrame:
    return found.purchases


@pytest.mark.parametrize("changes", [{}, {"honest": True, "opened": True}, {"opened": False}])
def test_contexts_do_not_change_with_what_is_bought_after_them(
    purchases: pl.DataFrame, changes: dict[str, Any]
) -> None:
    purchases = purchases.filter(pl.col("household_id") == 3)
    whole = maker(span_of(0, DAYS), **changes).make(purchases)
    for row in range(0, len(whole), 9):
        sample = whole.samples[row]
        for frame in (_without_later(purchases, sample.time_ms), _other_later(purchases, sample.time_ms)):
            again = maker(span_of(0, DAYS), **changes).make(frame)
            found = [place for place, other in enumerate(again.samples) if _who(other) == _who(sample)]
            assert len(found) == 1
            assert same_contexts(_row(whole.contexts, row), _row(again.contexts, found[0]))


@pytest.mark.parametrize("opened", [True, False, None])
def test_contexts_before_a_basket_do_not_change_with_what_it_holds(
    purchases: pl.DataFrame, opened: bool | None
) -> None:
    purchases = purchases.filter(pl.col("household_id") == 3)
    next_basket = maker(span_of(0, DAYS), tasks=(NEXT,), honest=True, opened=opened)
    whole = list(next_basket.pairs(purchases))
    for row in range(0, len(whole), 9):
        sample, request = whole[row]
        later = pl.col("time_ms") >= sample.time_ms
        others = purchases.with_columns(phrase=pl.when(later).then(pl.lit("caviar")).otherwise("phrase"))
        fewer = others.filter(~later | pl.struct("basket_id").is_first_distinct())
        for changed in (others, fewer):
            other, again = list(next_basket.pairs(changed))[row]
            assert other.texts == {"caviar"}
            assert encode_request(again) == encode_request(request)


@pytest.mark.parametrize("changes", [{}, {"honest": True, "opened": True}, {"opened": False}])
def test_contexts_of_a_logs_own_behaviours_are_older_than_their_time(
    found: ShopLog, changes: dict[str, Any]
) -> None:
    baskets = found.behaviours.group_by("basket_id").agg(pl.col("at_ms").max())
    last_ms = dict(baskets.iter_rows())
    for sample, request in maker(span_of(0, DAYS), **changes).pairs(found.purchases, found.behaviours):
        newest_ms = max((behaviour.at_ms for behaviour in request.behaviours), default=0)
        if sample.task == NEXT:
            assert newest_ms < sample.time_ms
        else:
            assert newest_ms < last_ms[sample.basket_id]
        assert newest_ms <= request.version.as_of_ms


@pytest.mark.parametrize("opened", [True, False, None])
def test_contexts_of_a_logs_own_behaviours_do_not_change_with_what_comes_after_them(
    found: ShopLog, opened: bool | None
) -> None:
    making = maker(span_of(0, DAYS), tasks=(NEXT,), honest=True, opened=opened)
    own = found.behaviours.filter(pl.col("household_id") == 3)
    whole = list(making.pairs(found.purchases, own))
    for sample, request in whole[::9]:
        later = pl.col("at_ms") >= sample.time_ms
        others = own.with_columns(text=pl.when(later).then(pl.lit("caviar")).otherwise("text"))
        first = pl.col("time_ms") <= sample.time_ms
        for changed in (others, own.filter(first), others.filter(first)):
            again = {other.basket_id: made for other, made in making.pairs(found.purchases, changed)}
            assert encode_request(again[sample.basket_id]) == encode_request(request)


def test_real_contexts_do_not_change_with_what_is_bought_after_them() -> None:
    purchases = load_purchases(VALIDATE)
    purchases = purchases.filter(
        pl.col("household_id").is_in(purchases["household_id"].unique().sort()[:15].to_list())
    )
    numbers = {query: number for number, (query, _) in enumerate(build_lexicon(purchases))}
    middle = VALIDATE.start_ms + 15 * DAY_MS
    until = Span(VALIDATE.start_ms, middle)
    making = SampleMaker(ENCODER, numbers, until, honest=True, opened=True)
    known = making.make(purchases.filter(pl.col("time_ms") < middle))
    assert len(known) > 50
    assert same_contexts(making.make(purchases).contexts, known.contexts)


def _who(sample: Any) -> tuple[int, int]:
    return sample.basket_id, sample.task


def _row(contexts: Contexts, row: int) -> Contexts:
    return Contexts(
        **{entry.name: getattr(contexts, entry.name)[row : row + 1] for entry in fields(Contexts)}
    )


def _without_later(purchases: pl.DataFrame, time_ms: int) -> pl.DataFrame:
    return purchases.filter(pl.col("time_ms") <= time_ms)


def _other_later(purchases: pl.DataFrame, time_ms: int) -> pl.DataFrame:
    other = pl.when(pl.col("time_ms") > time_ms).then(pl.lit("caviar")).otherwise("phrase")
    return purchases.with_columns(phrase=other)
