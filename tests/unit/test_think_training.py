"""Training the Think network: losses fall, what was taught is written, and rewards move what is drawn."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from aigq.main import app
from streams.errors import DatasetError, TrainingError
from tests.small_shop import ENCODER
from tests.themed_shop import theme_of, themed_dataset
from tests.think_network_world import (
    BOOK,
    HISTORY,
    LEXICON,
    POINTS_OF_HISTORY,
    history_of,
    point_of,
    small_network,
)
from training.curves import Point, read_curve
from training.datasets.dataset import Dataset
from training.loop import CURVE_NAME, Plan, run_steps
from training.rewards import QueryTables, rouge_l_table
from training.think.mining.association import training_counts
from training.think.mining.histories import Case, cases
from training.think.mining.mine import HISTORIES, MiningPlan, mine
from training.think.network.grpo import THINK_GRPO, ThinkJudge, run_think_grpo, think_grpo_loss
from training.think.network.judge import association_points, figures_of
from training.think.network.reasoner import load_network_reasoner
from training.think.network.samples import samples_of
from training.think.network.sft import SMALL, run_think_sft
from training.think.network.stored import StoredNetwork, load_network, same_words
from training.think.points import History, InterestPoint, Reasoned, read_lines

RL = replace(THINK_GRPO, batch=4, group=4, steps=2, learning_rate=3e-3, difficulty=(0.0, 1.0))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return themed_dataset(tmp_path_factory.mktemp("themed"))


@pytest.fixture(scope="module")
def work(data: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("work")
    mine(data, folder, MiningPlan(histories=300), lambda _done, _note: None)
    return folder


@pytest.fixture(scope="module")
def run(data: Dataset, work: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    run_think_sft(folder, data, work, SMALL)
    return folder


def curve_of(folder: Path) -> list[Point]:
    return read_curve(folder / CURVE_NAME)


def mean_of(points: list[Point], name: str) -> float:
    return sum(point[name] for point in points) / len(points)


def test_losses_fall_and_queries_of_the_triggers_themes_are_written(
    data: Dataset, work: Path, run: Path
) -> None:
    points = curve_of(run)
    assert mean_of(points[-5:], "loss") < 0.6 * mean_of(points[:5], "loss")
    assert mean_of(points[-5:], "query_loss") < mean_of(points[:5], "query_loss")
    histories = list(read_lines(work / HISTORIES, History))[:40]
    same, whole = 0, 0
    for answer, history in zip(load_network_reasoner(run, data).points(histories), histories, strict=True):
        for point in answer.points:
            themes = {theme_of(history.lines[index - 1].text) for index in point.triggers}
            same += sum(theme_of(query) in themes for query in point.queries)
            whole += len(point.queries)
    assert whole > 40 and same / whole > 1 / 3  # by chance one of six


def test_without_a_trace_points_have_no_rationale(data: Dataset, work: Path, tmp_path: Path) -> None:
    run_think_sft(tmp_path, data, work, replace(SMALL, steps=20, traced=False))
    reasoner = load_network_reasoner(tmp_path, data)
    answers = list(reasoner.points(list(read_lines(work / HISTORIES, History))[:20]))
    assert any(answer.points for answer in answers)
    assert reasoner.facts.written == 0
    assert not any(point.rationale for answer in answers for point in answer.points)


def test_rewards_move_triggers_queries_and_facts_from_chance_upwards(tmp_path: Path) -> None:
    histories = [history_of("bread", "taco shells", "diapers", name=f"h{number}") for number in range(4)]
    answers = [
        Reasoned(history=one.name, points=(point_of(one, (2,), "salsa"), point_of(one, (3,), "bibs")))
        for one in histories
    ]
    samples = samples_of(histories, answers, LEXICON, ENCODER, traced=True)
    words = [[number] for number in range(len(LEXICON.queries))]
    rouge, none = rouge_l_table(words), torch.zeros(len(words), dtype=torch.int64)
    judge = ThinkJudge(LEXICON, QueryTables(rouge, rouge, none, none), BOOK)
    network, plan = small_network(), Plan(steps=30, learning_rate=5e-3, schedule="constant")
    config = replace(RL, batch=2, group=8, steps=30, difficulty=(-1.0, 2.0))  # solved ones too
    points = run_steps(tmp_path, network, think_grpo_loss(network, samples, judge, config), plan, "toy")
    for name in ("trigger", "reward", "fact", "told_line"):
        assert mean_of(points[-5:], name) > mean_of(points[:5], name) + 0.05, name


def test_the_same_seed_ends_alike_and_says_what_it_started_from(
    data: Dataset, work: Path, run: Path, tmp_path: Path
) -> None:
    start = load_network(run)
    ends = [run_think_grpo(tmp_path / name, start, data, work, RL) for name in ("one", "two")]
    first, second = (load_network(end) for end in ends)
    assert first.name() == second.name() != start.name()
    assert first.traced and first.run["start"]["method"] == "think-sft"


def test_a_network_of_other_words_is_refused(data: Dataset, work: Path, run: Path, tmp_path: Path) -> None:
    stored = load_network(run)
    other: StoredNetwork = replace(stored, encoder="another")
    with pytest.raises(TrainingError, match="another data set"):
        same_words(other, data)
    with pytest.raises(TrainingError, match="another data set"):
        run_think_grpo(tmp_path, other, data, work, RL)
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_learned_is_left_out_by_name() -> None:
    twice = (point_of(HISTORY, (1, 3), "salsa"), point_of(HISTORY, (1,), "honey"))
    answers = [
        Reasoned(history="good", points=POINTS_OF_HISTORY),
        Reasoned(history="twice", points=twice),
    ]
    named = [HISTORY.model_copy(update={"name": name}) for name in ("good", "twice", "unknown")]
    samples = samples_of(named, answers, LEXICON, ENCODER, traced=True)
    assert (len(samples), samples.left_out) == (1, ("twice", "unknown"))
    with pytest.raises(DatasetError, match="No history"):
        samples_of(named[1:], answers, LEXICON, ENCODER, traced=True)


def test_the_judges_figures_are_those_worked_out_by_hand() -> None:
    case = Case(HISTORY, 1, (("Salsa", 0), ("honey", 1), ("bread", 2), ("refried beans", 9)))
    written = Reasoned(
        history="h",
        points=(
            InterestPoint(triggers=(4,), queries=("baby wipes",)),
            InterestPoint(triggers=(1, 3), queries=("salsa", "bread")),
        ),
    )
    reference = Reasoned(history="h", points=POINTS_OF_HISTORY)
    nothing = Reasoned(history="i")
    found = figures_of([written, nothing], [reference, nothing], [case, case], 0.5)
    # (4) with (1, 3, 5) and (1, 3) with (4) share nothing; at best (1, 3) has 2 · 2 / 5 and (4) has 1.
    assert (found.trigger_rouge, found.trigger_match) == (0, pytest.approx(0.9))
    # Of three queries one was bought and is new; of three such goods one was written, by one of two answers.
    assert found.query_hits == pytest.approx(1 / 3)
    assert found.query_recall == pytest.approx(1 / 6)
    assert (found.answered, found.any_hit, found.points, found.queries) == (0.5, 0.5, 2, 3)


def test_association_alone_makes_points_of_what_goes_with_the_lines(data: Dataset) -> None:
    counted = training_counts(data)
    sample = cases(data, "validate", 20, 0)
    for answer, case in zip(association_points(sample, counted, 6), sample, strict=True):
        themes = {theme_of(line.text) for line in case.history.lines}
        queries = [query for point in answer.points for query in point.queries]
        assert len(queries) <= 6
        assert {theme_of(query) for query in queries} <= themes
        assert not {line.text for line in case.history.lines} & set(queries)


def test_the_commands_train_and_judge(data: Dataset, work: Path, tmp_path: Path) -> None:
    base = ["think", "train"]
    given = ["--data", str(data.folder), "--work", str(work), "--json"]
    sft, rl = str(tmp_path / "sft"), str(tmp_path / "rl")
    for words in (
        [*base, "sft", *given, "--out", sft, "--small", "--steps", "3"],
        [*base, "grpo", *given, "--out", rl, "--start", sft, "--steps", "1", "--batch", "2"],
    ):
        shown = CliRunner().invoke(app, words, catch_exceptions=False)
        assert shown.exit_code == 0, shown.output
    words = [*base, "judge", "--data", str(data.folder), "--run", rl, "--histories", "12", "--json"]
    shown = CliRunner().invoke(app, words, catch_exceptions=False)
    figures = json.loads(shown.stdout)
    assert set(figures) == {"network", "association"}
    assert figures["association"]["facts"] == 1.0
    assert all(0 <= one["trigger_rouge"] <= one["trigger_match"] <= 1 for one in figures.values())
