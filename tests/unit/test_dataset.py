"""A data set's folder: what is stored comes back, spans follow each other, and builds go on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import orjson
import polars as pl
import pytest
import typer
from typer.testing import CliRunner

from aigq import data_commands
from streams.errors import DatasetError
from tests.logs import write_jsonl
from tests.small_shop import GOODS, same, shop
from tests.support import DAY_MS, NOON_MS, event_json
from training.datasets import build
from training.datasets.build import build_dataset
from training.datasets.complete_journey import REPORT, TRAIN, VALIDATE, Span, load_purchases
from training.datasets.dataset import Dataset, load_dataset, read_about
from training.datasets.dataset_config import DatasetConfig, split_of
from training.datasets.shop_log import read_shop_log
from training.sessions import NEXT, REST, SampleMaker

SAMPLES = ("samples-train.npz", "samples-validate.npz", "samples-test.npz")
ALL_FILES = {
    *("dataset.json", "purchases.parquet", "behaviours.parquet", "impressions.parquet"),
    *("counted-searches.parquet", "no-results.jsonl"),
    *("lexicon.tsv", "tokenizer.json", "embeddings.npy"),
    *SAMPLES,
}


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_jsonl(tmp_path_factory.mktemp("log") / "shop.jsonl", shop())


@pytest.fixture(scope="module")
def purchases(log: Path) -> pl.DataFrame:
    return read_shop_log(log).purchases


@pytest.fixture(scope="module")
def built(log: Path, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return build_dataset(tmp_path_factory.mktemp("built") / "set", DatasetConfig(log=log))


def test_the_future_changes_no_file_of_the_past(built: Dataset, tmp_path: Path) -> None:
    test_day = (built.split.test.start_ms - NOON_MS) // DAY_MS + 1
    other = write_jsonl(tmp_path / "other.jsonl", shop(changed_from_day=test_day))
    spans = {"validate_from_ms": built.split.validate.start_ms, "test_from_ms": built.split.test.start_ms}
    changed = build_dataset(tmp_path / "set", DatasetConfig(log=other, **spans))
    for name in ALL_FILES - {"dataset.json", "counted-searches.parquet", "no-results.jsonl"}:
        past = name.startswith(("samples-train", "samples-validate", "lexicon", "tokenizer", "embeddings"))
        unchanged = (built.folder / name).read_bytes() == (changed.folder / name).read_bytes()
        assert unchanged == past, name


def test_a_folder_holds_all_parts_and_comes_back(built: Dataset) -> None:
    assert {path.name for path in built.folder.iterdir()} == ALL_FILES
    again = load_dataset(built.folder)
    assert again.purchases.equals(built.purchases)
    assert again.impressions.equals(built.impressions)
    assert again.behaviours is not None
    assert built.behaviours is not None
    assert again.behaviours.equals(built.behaviours)
    assert (again.lexicon, again.tokenizer, again.split) == (built.lexicon, built.tokenizer, built.split)
    assert again.encoder().name == built.encoder().name
    assert set(again.queries) == set(GOODS)


def test_the_parts_follow_each_other_in_time(built: Dataset) -> None:
    first, last = built.purchases["time_ms"].min(), built.purchases["time_ms"].max()
    train, validate, test = built.split
    assert (train.start_ms, test.end_ms) == (first, last + 1)
    assert (train.end_ms, validate.end_ms) == (validate.start_ms, test.start_ms)
    lengths = np.array([span.end_ms - span.start_ms for span in built.split])
    assert lengths / lengths.sum() == pytest.approx([0.8, 0.1, 0.1], abs=1e-6)
    for part, span in zip(("train", "validate", "test"), built.split, strict=True):
        samples = built.samples(part)
        assert all(span.start_ms <= sample.time_ms < span.end_ms for sample in samples.samples)
        asked = {sample.basket_id for sample in samples.samples if sample.task == NEXT}
        inside = built.purchases.filter(pl.col("time_ms").is_between(*span, closed="left"))
        assert asked == set(inside["basket_id"])
        assert {sample.task for sample in samples.samples} == {NEXT, REST}


def test_evaluation_samples_are_honest_and_asked_for_when_the_shop_opens(built: Dataset) -> None:
    numbers = {query: number for number, query in enumerate(built.queries)}
    making = SampleMaker(built.encoder(), numbers, built.split.test, honest=True, opened=True)
    assert same(making.make(built.purchases, built.behaviours), built.samples("test"))


def test_a_logs_own_hints_are_kept_with_their_numbers(built: Dataset) -> None:
    shown = built.impressions
    assert shown["propensity"].null_count() == shown.height
    assert shown["number"].to_list() == [built.queries.index(query) for query in shown["query"]]
    assert 0.1 < shown["clicked"].mean() < 0.25
    assert shown["basket_id"].null_count() == 0
    assert built.about["simulated"] == []


def test_a_logs_own_searches_are_kept_at_their_times(built: Dataset) -> None:
    assert built.behaviours is not None
    assert set(built.behaviours["action"]) == {3, 5}
    assert built.about["counts"]["purchases"]["searches"] == (built.behaviours["action"] == 3).sum() > 100
    assert built.behaviours.filter(pl.col("action") == 5).height == built.purchases.height


def test_dates_move_the_spans_and_empty_ones_are_refused(log: Path, purchases: pl.DataFrame) -> None:
    half, most = NOON_MS + 50 * DAY_MS, NOON_MS + 70 * DAY_MS
    config = DatasetConfig(log=log, validate_from_ms=half, test_from_ms=most)
    split = split_of(purchases, config)
    assert (split.validate, split.test.start_ms) == (Span(half, most), most)
    with pytest.raises(DatasetError, match="validate span"):
        split_of(purchases, replace(config, test_from_ms=half))
    with pytest.raises(DatasetError, match="train span"):
        split_of(purchases, replace(config, validate_from_ms=0))


def test_the_complete_journey_is_split_at_november_and_december() -> None:
    ends = [TRAIN.start_ms, VALIDATE.start_ms, REPORT.start_ms]
    assert split_of(pl.DataFrame({"time_ms": ends}), DatasetConfig()) == (TRAIN, VALIDATE, REPORT)


def test_a_second_build_makes_only_what_is_missing(log: Path, built: Dataset) -> None:
    before = _contents(built.folder)
    (built.folder / "samples-validate.npz").unlink()
    torn = built.folder / "impressions.parquet"
    torn.write_bytes(torn.read_bytes()[:-1])
    with pytest.raises(DatasetError, match=r"impressions\.parquet is missing, or is not the file"):
        load_dataset(built.folder)
    build_dataset(built.folder, DatasetConfig(log=log))
    after = _contents(built.folder)
    assert {name: content for name, (_, content) in after.items()} == {
        name: content for name, (_, content) in before.items()
    }
    made = {name for name in after if after[name][0] != before[name][0]}
    assert made == {"samples-validate.npz", "impressions.parquet", "dataset.json"}


def test_another_seed_makes_anew_what_depends_on_it(log: Path, tmp_path: Path) -> None:
    build_dataset(tmp_path, DatasetConfig(log=log))
    before = _contents(tmp_path)
    build_dataset(tmp_path, DatasetConfig(log=log, seed=1))
    kept = {name for name, (made, _) in _contents(tmp_path).items() if made == before[name][0]}
    assert kept == ALL_FILES - {"dataset.json", "impressions.parquet", *SAMPLES}


def test_an_unfinished_or_missing_data_set_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"holds no dataset\.json"):
        load_dataset(tmp_path)
    (tmp_path / "dataset.json").write_bytes(orjson.dumps({"format": 2, "complete": False}))
    with pytest.raises(DatasetError, match="not complete"):
        read_about(tmp_path)


def test_a_folder_of_a_log_becomes_one_of_the_complete_journey(
    log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build_dataset(tmp_path, DatasetConfig(log=log))
    monkeypatch.setattr(build, "load_purchases", lambda: load_purchases(VALIDATE))
    spans = {
        "validate_from_ms": VALIDATE.start_ms + 10 * DAY_MS,
        "test_from_ms": VALIDATE.start_ms + 20 * DAY_MS,
    }
    data = build_dataset(tmp_path, DatasetConfig(households=5, **spans))
    assert data.behaviours is None
    assert data.about["simulated"] == ["searches", "order within a basket", "hints and clicks"]
    assert data.impressions["propensity"].null_count() == 0
    assert data.purchases["household_id"].n_unique() == 5


def test_a_log_with_nothing_to_learn_from_is_refused(tmp_path: Path) -> None:
    events = [event_json("purchase", "milk", NOON_MS + day * DAY_MS) for day in range(30)]
    log = write_jsonl(tmp_path / "log.jsonl", events)
    with pytest.raises(DatasetError, match="nothing to learn from"):
        build_dataset(tmp_path / "set", DatasetConfig(log=log))


def test_the_commands_build_and_show(log: Path, tmp_path: Path) -> None:
    app = typer.Typer()
    data_commands.register(app)
    options = [
        "--out",
        str(tmp_path / "set"),
        "--log",
        str(log),
        "--households",
        "4",
        "--test-from",
        "2018-03-01",
        "--k-anonymity",
        "2",
    ]
    made = CliRunner().invoke(app, ["data", "build", *options, "--json"])
    assert made.exit_code == 0, made.output
    about = orjson.loads(made.stdout)
    assert about["counts"]["purchases"]["households"] == 4
    assert about["k_anonymity"] == 2
    assert set(about["counts"]["lexicon"]["left_out"]) == {"personal", "denied", "no_results", "few_users"}
    assert about["spans"]["test"][0] == 1_519_862_400_000
    shown = CliRunner().invoke(app, ["data", "show", str(tmp_path / "set")], env={"COLUMNS": "200"})
    assert shown.exit_code == 0
    assert "2018-03-01T00:00:00.000Z" in shown.stdout


def _contents(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Of each file: its inode, which changes when it is replaced, and its bytes."""
    return {path.name: (path.stat().st_ino, path.read_bytes()) for path in folder.iterdir()}
