"""A data set's folder: what is stored comes back, spans follow each other, and nothing looks ahead."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import fields, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import polars as pl
import pytest
import typer
from typer.testing import CliRunner

from agents.hints.context import Contexts
from aigq import data_commands
from streams.errors import DatasetError
from streams.hint_request import encode_request
from tests.logs import write_jsonl
from tests.support import DAY_MS, NOON_MS, DigestEncoder, event_json
from training.datasets.build import build_dataset
from training.datasets.complete_journey import REPORT, TRAIN, VALIDATE, Span, load_purchases
from training.datasets.dataset import Dataset, load_dataset, read_about
from training.datasets.dataset_config import DatasetConfig, split_of
from training.datasets.sample_files import load_samples, make_samples, save_samples
from training.datasets.shop_log import read_shop_log
from training.lexicon import build_lexicon
from training.sessions import NEXT, REST, SampleMaker, Samples

GOODS = ["milk", "eggs", "beer", "soap", "bread", "tea", "crème brûlée", "ground coffee"]
NUMBERS = {phrase: number for number, phrase in enumerate(GOODS[:-1])}  # one is in no lexicon
DAYS = 100
ALL_FILES = {
    *("dataset.json", "purchases.parquet", "lexicon.tsv", "tokenizer.json", "embeddings.npy"),
    *("impressions.parquet", "samples-train.npz", "samples-validate.npz", "samples-test.npz"),
}


def shop(changed_from_day: int = DAYS) -> Iterator[dict[str, Any]]:
    """Six people buy every other day; from a day on, other things. Some hints are shown and clicked."""
    for day in range(DAYS):
        for person in range(6):
            chance = random.Random(f"{day}:{person}")
            if chance.random() < 0.5:
                continue
            at_ms = NOON_MS + day * DAY_MS + chance.randrange(DAY_MS // 2)
            user, goods = f"u{person}", chance.sample(GOODS, chance.randint(1, 5))
            if day >= changed_from_day:
                goods = ["caviar", "champagne"]
            hint = {"objects": [{"title": goods[0]}, {"title": "soap"}]}
            yield event_json("hint_impression", "", at_ms - 2000, user, event_attributes=hint)
            if day % 3 == 0:
                yield event_json("hint_click", goods[0], at_ms - 1000, user)
            for place, text in enumerate(goods):
                yield event_json("purchase", text, at_ms + place * 1000, user)


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_jsonl(tmp_path_factory.mktemp("log") / "shop.jsonl", shop())


@pytest.fixture(scope="module")
def purchases(log: Path) -> pl.DataFrame:
    return read_shop_log(log).purchases


@pytest.fixture(scope="module")
def built(log: Path, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return build_dataset(tmp_path_factory.mktemp("built") / "set", DatasetConfig(log=log))


class Remembering(DigestEncoder):
    """Each text is embedded once."""

    embed = lru_cache(DigestEncoder.embed)


ENCODER = Remembering()


def maker(span: Span, **changes: Any) -> SampleMaker:
    return SampleMaker(ENCODER, NUMBERS, span, **changes)


def span_of(first_day: int, last_day: int) -> Span:
    return Span(NOON_MS + first_day * DAY_MS, NOON_MS + last_day * DAY_MS)


def same(first: Samples, second: Samples) -> bool:
    return first.samples == second.samples and same_contexts(first.contexts, second.contexts)


def same_contexts(first: Contexts, second: Contexts) -> bool:
    pairs = [(getattr(first, entry.name), getattr(second, entry.name)) for entry in fields(Contexts)]
    return all(one.dtype == other.dtype and np.array_equal(one, other) for one, other in pairs)


# Samples on disk


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


# Nothing looks ahead


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


def test_the_future_changes_no_file_of_the_past(built: Dataset, tmp_path: Path) -> None:
    test_day = (built.split.test.start_ms - NOON_MS) // DAY_MS + 1
    other = write_jsonl(tmp_path / "other.jsonl", shop(changed_from_day=test_day))
    spans = {"validate_from_ms": built.split.validate.start_ms, "test_from_ms": built.split.test.start_ms}
    changed = build_dataset(tmp_path / "set", DatasetConfig(log=other, **spans))
    for name in ALL_FILES - {"dataset.json"}:
        past = name.startswith(("samples-train", "samples-validate", "lexicon", "tokenizer", "embeddings"))
        unchanged = (built.folder / name).read_bytes() == (changed.folder / name).read_bytes()
        assert unchanged == past, name


def test_a_folder_holds_all_parts_and_comes_back(built: Dataset) -> None:
    assert {path.name for path in built.folder.iterdir()} == ALL_FILES
    again = load_dataset(built.folder)
    assert again.purchases.equals(built.purchases)
    assert again.impressions.equals(built.impressions)
    assert (again.lexicon, again.tokenizer, again.split) == (built.lexicon, built.tokenizer, built.split)
    assert again.encoder().name == built.encoder().name
    assert set(again.queries) == set(GOODS)


def test_the_parts_follow_each_other_in_time(built: Dataset) -> None:
    first, last = built.purchases["time_ms"].min(), built.purchases["time_ms"].max()
    train, validate, test = built.split
    assert (train.start_ms, test.end_ms) == (first, last + 1)  # type: ignore[operator]
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
    assert same(making.make(built.purchases), built.samples("test"))


def test_a_logs_own_hints_are_kept_with_their_numbers(built: Dataset) -> None:
    shown = built.impressions
    assert shown["propensity"].null_count() == shown.height
    assert shown["number"].to_list() == [built.queries.index(query) for query in shown["query"]]
    assert 0.1 < shown["clicked"].mean() < 0.25  # type: ignore[operator]
    assert shown["basket_id"].null_count() == 0
    assert "hints and clicks" not in built.about["simulated"]


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
    assert kept == {"purchases.parquet", "lexicon.tsv", "tokenizer.json", "embeddings.npy"}


def test_an_unfinished_or_missing_data_set_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"holds no dataset\.json"):
        load_dataset(tmp_path)
    (tmp_path / "dataset.json").write_bytes(orjson.dumps({"format": 1, "complete": False}))
    with pytest.raises(DatasetError, match="not complete"):
        read_about(tmp_path)


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
    ]
    made = CliRunner().invoke(app, ["data", "build", *options, "--json"])
    assert made.exit_code == 0, made.output
    about = orjson.loads(made.stdout)
    assert about["counts"]["purchases"]["households"] == 4
    assert about["spans"]["test"][0] == 1_519_862_400_000
    shown = CliRunner().invoke(app, ["data", "show", str(tmp_path / "set")], env={"COLUMNS": "200"})
    assert shown.exit_code == 0
    assert "2018-03-01T00:00:00.000Z" in shown.stdout


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


def _contents(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Of each file: its inode, which changes when it is replaced, and its bytes."""
    return {path.name: (path.stat().st_ino, path.read_bytes()) for path in folder.iterdir()}
