"""The whole evaluation of a small shop: every figure has its interval, and is what its parts say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
import typer
from typer.testing import CliRunner

from aigq import evaluate_command
from streams.errors import SettingsError, TrainingError
from tests.evaluation_data import blank_ranker, blank_run, small_dataset
from training.datasets.dataset import Dataset
from training.datasets.interface import ClickModel
from training.evaluation.ab_test import Draws, click_figures
from training.evaluation.arms import checkpoint_arm, fitting
from training.evaluation.bootstrap import Interval
from training.evaluation.case_figures import Judge, Written
from training.evaluation.cases import cases_of, cold_starts, with_unseen_products
from training.evaluation.lifts import pairs
from training.evaluation.metrics import OVER_ALL, PER_CASE, Hits, recall
from training.evaluation.report import Evaluation, EvaluationConfig, evaluate, plain
from training.evaluation.validity import VALIDITY, validity
from training.sessions import NEXT, REST
from training.vocabulary import vocabulary_of

FEW = Draws(60)
ARMS = ("popular", "habit", "sft", "il_sft", "il_sft_ranked")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("report")


@pytest.fixture(scope="module")
def data(folder: Path) -> Dataset:
    return small_dataset(folder)


@pytest.fixture(scope="module")
def runs(data: Dataset, folder: Path) -> Path:
    for name, seed in (("sft", 5), ("il_sft", 0), ("il_sft-seed1", 1)):
        blank_run(data, folder / "runs" / name, seed)
    blank_ranker(data, folder / "runs" / "ranker")
    return folder / "runs"


@pytest.fixture(scope="module")
def found(data: Dataset, runs: Path) -> Evaluation:
    return evaluate(data, runs, EvaluationConfig(arms=ARMS, draws=FEW))


def entries(results: dict[str, Any]) -> list[tuple[str, dict[str, float]]]:
    return [
        (f"{task} {arm} {name}", entry)
        for task, arms in results.items()
        for arm, figures in arms.items()
        for name, entry in figures.items()
    ]


def test_the_object_is_task_arm_figure_and_an_interval_around_each_value(found: Evaluation) -> None:
    assert list(found.results) == ["next_basket", "rest_of_basket"]
    assert all(tuple(arms) == ARMS for arms in found.results.values())
    for name, entry in entries(found.results):
        assert set(entry) == {"value", "low", "high"}, name
        assert entry["low"] <= entry["value"] <= entry["high"], name
    assert orjson.loads(orjson.dumps(found.results)) == found.results
    assert orjson.loads(orjson.dumps(found.details)) == found.details


def test_every_figure_is_there_for_every_arm(found: Evaluation) -> None:
    for task, arms in found.results.items():
        for figures in arms.values():
            assert {*PER_CASE, *OVER_ALL, *VALIDITY, "unseen_recall@10"} <= set(figures)
            assert {"cold_start_recall@10", "with_unseen_recall@10"} <= set(figures)
            assert ({"uctr@3", "ctr@3"} <= set(figures)) == (task == "next_basket")


def test_a_value_is_the_mean_over_the_seeds_lists(data: Dataset, runs: Path, found: Evaluation) -> None:
    samples = data.samples("test")
    for task, name in ((NEXT, "next_basket"), (REST, "rest_of_basket")):
        cases = cases_of(samples, data.purchases, task)
        folders = (runs / "il_sft", runs / "il_sft-seed1")
        lists = [
            checkpoint_arm(fitting(one / "generator.pt", data), samples)(cases, False) for one in folders
        ]
        values = [recall(Hits.of(one, cases.truths), 10) for one in lists]
        figures = found.results[name]["il_sft"]
        assert figures["recall@10"]["value"] == pytest.approx(np.nanmean(values), abs=1e-6)
        each = [one["recall@10"] for one in found.details["seeds"][name]["il_sft"]]
        assert each == pytest.approx([np.nanmean(one) for one in values], abs=1e-6)
        cold, unseen = cold_starts(cases), with_unseen_products(cases, data.queries)
        assert 0 < cold.sum() < len(cases)
        assert 0 < unseen.sum() < len(cases)
        means = np.mean(values, axis=0)
        assert figures["cold_start_recall@10"]["value"] == pytest.approx(np.nanmean(means[cold]), abs=1e-6)
        assert figures["with_unseen_recall@10"]["value"] == pytest.approx(np.nanmean(means[unseen]), abs=1e-6)
        counts = found.details["about"]["cases"][name]
        assert (counts["cases"], counts["cold_start"]) == (len(cases), cold.sum())
    assert found.details["about"]["training_seeds"] == {
        "popular": 1, "habit": 1, "sft": 1, "il_sft": 2, "il_sft_ranked": 2
    }  # fmt: skip


def test_lifts_are_paired_and_name_their_arms(data: Dataset, runs: Path, found: Evaluation) -> None:
    lifts = found.details["lifts"]["next_basket"]
    assert "il_sft/sft" in lifts
    assert "il_sft_ranked/il_sft" in lifts
    assert not any(name.endswith("/ebr") or name == "sft/sft" for name in lifts)
    samples = data.samples("test")
    cases = cases_of(samples, data.purchases, NEXT)
    lists = checkpoint_arm(fitting(runs / "sft" / "generator.pt", data), samples)(cases, False)
    base = click_figures(lists, cases.truths, ClickModel())["uctr@3"]
    own = found.results["next_basket"]["il_sft"]["uctr@3"]["value"]
    assert lifts["il_sft/sft"]["uctr@3"]["value"] == pytest.approx(own / base.mean() - 1, abs=1e-4)
    # The ranker moves hints within the first ten: recall@10 stays, and its lift has no width.
    assert lifts["il_sft_ranked/il_sft"]["recall@10"] == {"value": 0.0, "low": 0.0, "high": 0.0}
    assert lifts["il_sft_ranked/il_sft"]["recall@3"]["value"] != 0.0


def test_each_pair_is_compared_once() -> None:
    named = list(pairs(["habit", "ebr", "sft", "list_sft", "il_sft", "il_grpo", "il_grpo_ranked"]))
    assert len(named) == len(set(named))
    assert {("il_sft", "list_sft"), ("il_grpo", "il_sft"), ("il_grpo_ranked", "il_grpo")} <= set(named)
    assert {("habit", "ebr"), ("habit", "sft"), ("ebr", "sft"), ("sft", "ebr")} <= set(named)
    assert not [pair for pair in named if "grpo" in pair or pair[0] == pair[1]]


def test_the_ab_test_the_log_and_the_ranker_stand_in_the_details(found: Evaluation) -> None:
    test = found.details["ab_test"]
    assert test["simulated"] is True
    assert test["best_traditional"] in ("popular", "habit")
    assert tuple(test["arms"]) == tuple(test["off_policy"]) == ARMS
    for arm in ARMS:
        shown = found.results["next_basket"][arm]["uctr@3"]
        assert test["arms"][arm]["uctr"] == shown
        assert set(test["off_policy"][arm]) >= {"true", "ips", "snips", "dr", "agrees"}
    ranker = found.details["ranker"]
    assert ranker["impressions"] == 3 * found.details["about"]["cases"]["next_basket"]["cases"]
    assert len(ranker["calibration"]) == 10


def test_without_a_ranker_and_a_log_these_parts_are_left_out(data: Dataset, tmp_path: Path) -> None:
    config = EvaluationConfig(part="validate", tasks=("rest_of_basket",), arms=("popular",), draws=FEW)
    alone = evaluate(data, tmp_path, config)
    assert list(alone.results) == ["rest_of_basket"]
    assert "ab_test" not in alone.details
    both = evaluate(data, tmp_path, EvaluationConfig(arms=("popular",), draws=FEW))
    assert "ranker" not in both.details
    assert "off_policy" in both.details["ab_test"]  # with click rates in place of the ranker


def test_a_missing_arm_is_refused_before_anything_is_judged(data: Dataset, runs: Path) -> None:
    with pytest.raises(TrainingError, match="no arm grpo"):
        evaluate(data, runs, EvaluationConfig(arms=("popular", "grpo")))


# Parts


@pytest.fixture(scope="module")
def judge(data: Dataset) -> Judge:
    vocabulary = vocabulary_of(data.lexicon, data.purchases, data.encoder())
    return Judge(vocabulary, frozenset(data.queries), ClickModel())


def test_coverage_has_an_interval_without_bias(data: Dataset, judge: Judge) -> None:
    cases = cases_of(data.samples("test"), data.purchases, NEXT)
    same = [["milk", "eggs"]] * len(cases)
    found = judge.over_all([Written(same, same, same)], cases)
    assert tuple(found["coverage@10"]) == pytest.approx([2 / len(data.queries)] * 3)
    # One household alone sees soap: leaving it out loses one query of V. With G groups of one household the
    # jackknife's error is sqrt((G − 1)/G · (1 − 1/G)) / V.
    households = np.unique(cases.households)
    soap = [
        ["milk", "soap"] if one == households[0] else ["milk", "eggs"] for one in cases.households.tolist()
    ]
    found = judge.over_all([Written(soap, soap, soap)], cases)
    groups, size = len(households), len(data.queries)
    error = np.sqrt((groups - 1) / groups * (1 - 1 / groups)) / size
    assert found["coverage@10"].value == pytest.approx(3 / size)
    assert found["coverage@10"].high - found["coverage@10"].value == pytest.approx(1.959964 * error)


def test_validity_by_hand() -> None:
    lexicon = {"milk", "eggs", "egg", "tea"}
    lists = [
        ["milk", "eggs", "egg", "caviar"],  # egg doubles eggs; caviar is no query of ours
        ["milk", "milk", "call 0171 555 0123 now", "tea"],
        [],
    ]
    found = validity(lists, lexicon)
    assert found["invalid@10"] == pytest.approx([0.7, 0.8, 1.0])
    assert found["filtered@10"] == pytest.approx([0.25, 0.5, np.nan], nan_ok=True)
    assert found["filtered_near_duplicate@10"] == pytest.approx([0.25, 0.0, np.nan], nan_ok=True)
    assert found["filtered_duplicate@10"] == pytest.approx([0.0, 0.25, np.nan], nan_ok=True)
    assert found["filtered_personal@10"] == pytest.approx([0.0, 0.25, np.nan], nan_ok=True)


def test_plain_values_are_json() -> None:
    nested = {"a": Interval(1 / 3, float("nan"), 2.0), "b": [(1, "x"), None, True]}
    assert plain(nested) == {"a": {"value": 0.333333, "low": None, "high": 2.0}, "b": [[1, "x"], None, True]}


# The command


def run(*options: str) -> Any:
    app = typer.Typer()
    evaluate_command.register(app)
    app.callback()(lambda: None)  # so that the command keeps its name
    return CliRunner().invoke(app, ["evaluate", *options], env={"COLUMNS": "200"})


def test_the_command_prints_one_object_and_writes_files(data: Dataset, runs: Path, tmp_path: Path) -> None:
    results, page = tmp_path / "docs" / "results.json", tmp_path / "docs" / "results.md"
    options = ["--data", str(data.folder), "--runs", str(runs), "--arms", "popular, sft", "--draws", "20"]
    made = run(*options, "--json", "--out", str(results), "--page", str(page))
    assert made.exit_code == 0, made.output
    printed = orjson.loads(made.stdout)
    assert printed == orjson.loads(results.read_bytes())
    assert list(printed["next_basket"]) == ["popular", "sft"]
    details = orjson.loads((tmp_path / "docs" / "results-details.json").read_bytes())
    assert details["about"]["part"] == "test"
    assert page.read_text().startswith("# Results")


def test_the_command_shows_a_table_of_each_task(data: Dataset, runs: Path) -> None:
    options = ["--data", str(data.folder), "--runs", str(runs), "--arms", "popular,habit", "--draws", "20"]
    made = run(*options)
    assert made.exit_code == 0, made.output
    assert "next basket:" in made.stdout
    assert "rest of basket:" in made.stdout
    assert "simulated" in made.stdout


@pytest.mark.parametrize(("option", "value"), [("--tasks", "shopping"), ("--part", "train")])
def test_a_wrong_option_is_explained(data: Dataset, runs: Path, option: str, value: str) -> None:
    made = run("--data", str(data.folder), "--runs", str(runs), option, value)
    assert isinstance(made.exception, SettingsError)
