"""Samples on disk: they come back as they were, and what is no such file is refused."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from agents.hints.context import Contexts
from streams.errors import DatasetError
from tests.logs import write_jsonl
from tests.small_shop import DAYS, GOODS, maker, same, shop, span_of
from training.datasets.sample_files import load_samples, make_samples, save_samples
from training.datasets.shop_log import ShopLog, read_shop_log
from training.sessions import Samples


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> ShopLog:
    return read_shop_log(write_jsonl(tmp_path_factory.mktemp("log") / "shop.jsonl", shop()))


@pytest.fixture(scope="module")
def purchases(found: ShopLog) -> pl.DataFrame:
    return found.purchases


@pytest.mark.parametrize("honest", [False, True])
def test_samples_come_back_as_they_were(tmp_path: Path, purchases: pl.DataFrame, honest: bool) -> None:
    samples = maker(span_of(0, DAYS), honest=honest).make(purchases)
    save_samples(samples, tmp_path / "samples.npz")
    assert same(load_samples(tmp_path / "samples.npz"), samples)
    assert any(not sample.items for sample in samples.samples) == honest  # ragged lists, also empty ones
    assert {text for sample in samples.samples for text in sample.texts} == set(GOODS)
    assert [path.name for path in tmp_path.iterdir()] == ["samples.npz"]


def test_no_samples_at_all_come_back_too(tmp_path: Path, purchases: pl.DataFrame) -> None:
    some = maker(span_of(0, DAYS)).make(purchases)
    empty = {entry.name: getattr(some.contexts, entry.name)[:0] for entry in fields(Contexts)}
    none = Samples([], Contexts(**empty))
    save_samples(none, tmp_path / "samples.npz")
    assert same(load_samples(tmp_path / "samples.npz"), none)


def test_the_same_samples_give_the_same_bytes(tmp_path: Path, purchases: pl.DataFrame) -> None:
    for name in ("a.npz", "b.npz"):
        save_samples(maker(span_of(0, 20)).make(purchases), tmp_path / name)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


def test_a_torn_file_and_one_with_a_pickle_are_refused(tmp_path: Path, purchases: pl.DataFrame) -> None:
    path = tmp_path / "samples.npz"
    save_samples(maker(span_of(0, 20)).make(purchases), path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(DatasetError, match="no samples of this version"):
        load_samples(path)
    np.savez(path, format=np.array([{"any": "object"}], object))
    with pytest.raises(DatasetError, match="no samples of this version"):
        load_samples(path)


def test_households_in_turns_make_the_same_samples(purchases: pl.DataFrame) -> None:
    many = pl.concat(
        [purchases.with_columns(household_id=pl.col("household_id") + 6 * copy) for copy in range(10)]
    )
    later = maker(span_of(50, 60), honest=True)
    assert same(make_samples(later, many, "samples"), later.make(many))


def test_a_logs_own_behaviours_in_turns_make_the_same_samples(found: ShopLog) -> None:
    many, behaviours = (
        pl.concat([frame.with_columns(household_id=pl.col("household_id") + 6 * copy) for copy in range(5)])
        for frame in (found.purchases, found.behaviours)
    )
    later = maker(span_of(50, 60), honest=True)
    logged = make_samples(later, many, "samples", behaviours)
    assert same(logged, later.make(many, behaviours))
    assert not same(logged, later.make(many))


def test_a_span_without_baskets_is_refused(purchases: pl.DataFrame) -> None:
    with pytest.raises(DatasetError, match="samples: no basket makes a sample"):
        make_samples(maker(span_of(DAYS, DAYS + 1)), purchases, "samples")
