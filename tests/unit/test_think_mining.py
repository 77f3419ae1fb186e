"""`aigq think mine`: what it writes, that it never looks ahead, and the ranker's expected clicks."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import typer
from typer.testing import CliRunner

from aigq import think_mine_commands
from streams.query_text import normalise_query
from tests.evaluation_data import blank_ranker
from tests.themed_shop import GOODS, theme_of, themed_dataset
from training.datasets.dataset import Dataset
from training.ranker import load_ranker
from training.sessions import taken
from training.think.mining.clicks import mean_clicks
from training.think.mining.histories import cases
from training.think.mining.mine import HISTORIES, PROPOSALS, REFERENCE, Mined, MiningPlan, mine
from training.think.mining.scores import MINING_RULE
from training.think.points import History, Proposal, Reasoned, read_lines
from training.think.review.evidence import recount

PLAN = MiningPlan(queries_max=5, histories=40)


def quiet(done: int, told: str) -> None:
    """Nobody watches."""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return themed_dataset(tmp_path_factory.mktemp("mining"))


@pytest.fixture(scope="module")
def mined(data: Dataset, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Mined]:
    work = tmp_path_factory.mktemp("work")
    return work, mine(data, work, PLAN, quiet)


def proposals(work: Path) -> list[Proposal]:
    return list(read_lines(work / PROPOSALS, Proposal))


def test_the_files_hold_what_the_command_counts(mined: tuple[Path, Mined]) -> None:
    work, counts = mined
    found = proposals(work)
    assert len(found) == counts.proposals > 0
    assert len({one.trigger for one in found}) == counts.triggers
    assert len(list(read_lines(work / HISTORIES, History))) == counts.histories == 40
    answers = list(read_lines(work / REFERENCE, Reasoned))
    assert sum(len(answer.points) for answer in answers) == counts.points > 0
    assert counts.clicks == 0


def test_each_proposal_stands_with_evidence_that_the_log_gives_again(
    data: Dataset, mined: tuple[Path, Mined]
) -> None:
    for one in proposals(mined[0])[::5]:
        assert one.evidence is not None
        plain = recount(
            one.trigger,
            one.query,
            data.purchases,
            until_ms=data.split.train.end_ms,
            days=MINING_RULE.days,
            behaviours=data.behaviours,
        )
        assert one.evidence.model_copy(update={"similarity": 0.0}) == plain
        assert f"together in {plain.baskets} basket" in one.rationale
        assert 0 < one.relevance <= 1


def test_each_triggers_queries_are_few_different_and_best_first(mined: tuple[Path, Mined]) -> None:
    by_trigger: dict[str, list[Proposal]] = {}
    for one in proposals(mined[0]):
        by_trigger.setdefault(one.trigger, []).append(one)
    assert max(map(len, by_trigger.values())) == 5
    for trigger, found in by_trigger.items():
        queries = [normalise_query(one.query) for one in found]
        assert len({*queries, normalise_query(trigger)}) == len(queries) + 1
        assert [one.relevance for one in found] == sorted((one.relevance for one in found), reverse=True)


def test_what_belongs_together_is_found_and_hardly_anything_else(mined: tuple[Path, Mined]) -> None:
    found = proposals(mined[0])
    assert {theme_of(one.trigger) for one in found} == set(GOODS)
    strangers = [one for one in found if theme_of(one.trigger) != theme_of(one.query)]
    assert len(strangers) <= len(found) // 50  # chance, which the review's held-out period is there for
    assert {one.kind for one in found} == {"item", "query"}


def test_what_follows_the_training_span_changes_no_byte(
    data: Dataset, mined: tuple[Path, Mined], tmp_path: Path
) -> None:
    past = pl.col("time_ms") < data.split.train.end_ms
    others = data.purchases.with_columns(
        pl.when(past).then("phrase").otherwise(pl.lit("tea")).alias("phrase")
    )
    mine(replace(data, purchases=others), tmp_path, PLAN, quiet)
    for name in (PROPOSALS, HISTORIES, REFERENCE):
        assert (tmp_path / name).read_bytes() == (mined[0] / name).read_bytes(), name


def test_the_histories_are_the_sample_of_the_reference(data: Dataset, mined: tuple[Path, Mined]) -> None:
    names = [one.name for one in read_lines(mined[0] / HISTORIES, History)]
    assert names == [answer.history for answer in read_lines(mined[0] / REFERENCE, Reasoned)]
    assert names == [case.history.name for case in cases(data, "train", 40, seed=0)]


def test_an_expected_click_is_the_rankers_mean_where_the_trigger_was_last(
    data: Dataset, tmp_path: Path
) -> None:
    ranker = load_ranker(blank_ranker(data, tmp_path))
    found = mean_clicks(ranker, data, [("Milk", "eggs"), ("milk", "no such query")], contexts=3, seed=4)
    assert list(found) == [("milk", "eggs")]
    contexts = data.samples("train").contexts
    milk = data.encoder().embed("milk")
    rows = np.flatnonzero((contexts.events[:, 0] == milk).all(axis=1))
    number = data.queries.index("eggs")
    each = ranker.clicks(taken(contexts, rows), np.full((len(rows), 1), number)).numpy()[:, 0]
    assert len(rows) > 3
    assert each.min() <= found["milk", "eggs"] <= each.max()
    everyone = mean_clicks(ranker, data, [("milk", "eggs")], contexts=10**6)
    assert everyone["milk", "eggs"] == pytest.approx(float(each.mean()), abs=1e-5)


def test_the_command_mines_with_a_ranker_and_says_what_comes_next(data: Dataset, tmp_path: Path) -> None:
    app = typer.Typer()
    app.command("version")(lambda: None)
    think_mine_commands.register(app)
    ranker = blank_ranker(data, tmp_path / "ranker")
    work = tmp_path / "work"
    arguments = ["mine", "--data", str(data.folder), "--out", str(work), "--ranker", str(ranker)]
    result = CliRunner().invoke(app, [*arguments, "--histories", "5", "--json"])
    assert result.exit_code == 0, result.output
    counts = json.loads(result.stdout)
    assert counts["proposals"] == len(proposals(work)) > 0
    known = [one for one in proposals(work) if one.evidence is not None and one.evidence.click is not None]
    assert counts["clicks"] == len(known) > 0
    again = CliRunner().invoke(app, [*arguments, "--histories", "5"])
    assert "aigq think review" in again.output
