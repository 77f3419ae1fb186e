"""Histories are cut at their time and tell nobody's id; what followed is kept apart from them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from streams.errors import DatasetError
from tests.evaluation_data import small_dataset
from tests.support import DAY_MS
from training.datasets.dataset import Dataset
from training.think.mining.histories import DAYS_BACK, LINES, Case, cases, histories
from training.think.points import History, read_lines, write_lines


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return small_dataset(tmp_path_factory.mktemp("histories"))


@pytest.fixture(scope="module")
def sample(data: Dataset) -> list[Case]:
    return cases(data, "train", 60, seed=1)


def bought_between(data: Dataset, case: Case, start_ms: int, end_ms: int) -> list[tuple[int, str]]:
    own = pl.col("household_id") == case.household_id
    within = pl.col("time_ms").is_between(start_ms, end_ms, closed="left")
    return data.purchases.filter(own, within).select("time_ms", "phrase").rows()


def test_a_history_holds_what_was_bought_before_its_time_newest_first(
    data: Dataset, sample: list[Case]
) -> None:
    assert len(sample) == 60
    for case in sample:
        now_ms = case.history.as_of_ms
        before = bought_between(data, case, now_ms - DAYS_BACK * DAY_MS, now_ms)
        ages = [line.days_ago for line in case.history.lines]
        assert ages == sorted(ages)
        assert [line.index for line in case.history.lines] == list(range(1, len(ages) + 1))
        told = {(line.days_ago, line.text) for line in case.history.lines if line.action == "purchase"}
        assert told <= {((now_ms - time_ms) // DAY_MS, text) for time_ms, text in before}
        assert 0 < len(ages) <= LINES


def test_what_followed_is_what_was_bought_in_the_days_after_it(data: Dataset, sample: list[Case]) -> None:
    for case in sample:
        now_ms = case.history.as_of_ms
        after = bought_between(data, case, now_ms, now_ms + 7 * DAY_MS)
        assert set(case.bought) == {(text, (time_ms - now_ms) // DAY_MS) for time_ms, text in after}


def test_both_lie_inside_the_spans_they_are_of(data: Dataset) -> None:
    for part, span in zip(("train", "validate", "test"), data.split, strict=True):
        for case in cases(data, part, 500, seed=0):
            assert span.start_ms <= case.history.as_of_ms
            assert case.history.as_of_ms + 7 * DAY_MS <= span.end_ms


def test_the_future_changes_no_history(data: Dataset, sample: list[Case]) -> None:
    end_ms = data.split.train.end_ms
    past = pl.col("time_ms") < end_ms
    others = data.purchases.with_columns(
        pl.when(past).then("phrase").otherwise(pl.lit("caviar")).alias("phrase")
    )
    assert data.behaviours is not None
    searches = data.behaviours.with_columns(
        pl.when(pl.col("at_ms") < end_ms).then("text").otherwise(pl.lit("caviar")).alias("text")
    )
    changed = replace(data, purchases=others, behaviours=searches)
    assert cases(changed, "train", 60, seed=1) == sample


def test_a_history_on_disk_names_no_household(tmp_path: Path, sample: list[Case]) -> None:
    path = tmp_path / "histories.jsonl"
    write_lines(path, (case.history for case in sample))
    assert list(read_lines(path, History)) == [case.history for case in sample]
    assert set(History.model_fields) == {"name", "as_of_ms", "lines"}
    assert len({case.history.name for case in sample}) == len(sample)


def test_the_same_seed_draws_the_same_sample_and_another_one_another(data: Dataset) -> None:
    first = histories(data, "train", 20, seed=5)
    assert first == histories(data, "train", 20, seed=5)
    assert first != histories(data, "train", 20, seed=6)


def test_an_unknown_part_is_refused(data: Dataset) -> None:
    with pytest.raises(DatasetError, match="no part"):
        cases(data, "december", 1, seed=0)
