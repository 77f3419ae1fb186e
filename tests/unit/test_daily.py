"""The daily loop: it learns from yesterday alone, goes on from yesterday, and is judged on today."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import typer
from rich.console import Console
from typer.testing import CliRunner

from aigq import daily_command
from streams.errors import TrainingError
from tests.evaluation_data import blank_ranker, blank_run, purchases, with_simulated_hints
from tests.logs import write_jsonl
from tests.support import DAY_MS, NOON_MS, event_json
from training.checkpoint import Checkpoint, digest, load_run
from training.daily import DailyConfig, DayLog, day_name, days_of, run_daily
from training.daily_ranker import RefreshConfig, joined_hints, mixed_rows, refresh_ranker, replay_pool
from training.datasets.build import build_dataset
from training.datasets.complete_journey import Span
from training.datasets.dataset import Dataset
from training.datasets.dataset_config import DatasetConfig
from training.evaluation.ab_test import CTR, UCTR, Draws, click_figures, click_model_of
from training.evaluation.arms import checkpoint_arm
from training.evaluation.cases import cases_of
from training.evaluation.daily_figures import LOG_LOSS, RANKED_UCTR, RECALL, Served, judged_day
from training.evaluation.daily_picture import draw_days
from training.grpo_config import GrpoConfig
from training.ranker import ClickRanker, HintFeatures, load_ranker
from training.ranker_run import Shown
from training.run_state import STATE_NAME
from training.sessions import NEXT, REST

HINTS = RefreshConfig(steps=4, batch=16, replay=0.5, pool=100, learning_rate=0.01)
LISTS = GrpoConfig(steps=2, batch=8, group=3, top_k=14, learning_rate=0.01)
FEW = DailyConfig(days=4, refresh=HINTS, grpo=LISTS, draws=Draws(50))
MIDNIGHT_MS = NOON_MS + 83 * DAY_MS + DAY_MS // 2  # the third of the days that are lived through
FIGURES = {UCTR, CTR, RANKED_UCTR, RECALL, LOG_LOSS}


def log(changed_from_ms: int | None = None) -> Iterator[dict[str, Any]]:
    """A small shop's; one basket goes on over midnight. From a moment on all buy tea and soap, and that
    basket does not go on."""
    night = [
        event_json("purchase", text, MIDNIGHT_MS + 1000 * place, "u3", session_id="night")
        for place, text in ((-2, "beer"), (-1, "milk"), (0, "cheese"), (1, "eggs"))
    ]
    for row in sorted([*purchases(), *night], key=lambda row: int(row["timestamp"])):
        if changed_from_ms is not None and row["timestamp"] >= changed_from_ms:
            text = "tea" if row["timestamp"] % 2000 else "soap"
            yield event_json("purchase", text, row["timestamp"], row["user_id"])
        else:
            yield row


def dataset(folder: Path, changed_from_ms: int | None = None) -> Dataset:
    """As tests.evaluation_data makes it, of this log."""
    path = write_jsonl(folder / "shop.jsonl", log(changed_from_ms))
    return with_simulated_hints(build_dataset(folder / "data", DatasetConfig(log=path)))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return dataset(tmp_path_factory.mktemp("daily-data"))


@pytest.fixture(scope="module")
def start(data: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    return load_run(blank_run(data, tmp_path_factory.mktemp("daily-start")))


@pytest.fixture(scope="module")
def ranker(data: Dataset, tmp_path_factory: pytest.TempPathFactory) -> ClickRanker:
    return load_ranker(blank_ranker(data, tmp_path_factory.mktemp("daily-ranker")))


@pytest.fixture(scope="module")
def run(
    data: Dataset, start: Checkpoint, ranker: ClickRanker, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    return run_daily(tmp_path_factory.mktemp("daily-run"), start, ranker, data, FEW).parent


@pytest.fixture(scope="module")
def result(run: Path) -> dict[str, Any]:
    return dict(json.loads((run / "daily.json").read_text()))


def mornings(run: Path) -> list[Path]:
    return sorted(path for path in run.iterdir() if path.is_dir())


def made(morning: Path) -> list[str]:
    """Digests of the policy and of the ranker."""
    weights = (load_run(morning / "policy").weights, load_ranker(morning / "ranker").state_dict())
    return [digest(one) for one in weights]


def test_days_begin_at_midnight_utc() -> None:
    december = Span(1_512_086_400_000, 1_514_764_800_000)
    days = days_of(december, 10)
    assert [day_name(day) for day in days] == [f"2017-12-{day:02}" for day in range(1, 11)]
    assert len(days_of(december, 100)) == 31
    assert days_of(Span(december.start_ms + 1, december.end_ms), 1) == [december.start_ms + DAY_MS]
    for span, count in ((december, 0), (Span(december.start_ms + 1, december.start_ms + DAY_MS), 3)):
        with pytest.raises(TrainingError, match="No day begins"):
            days_of(span, count)


def test_nothing_of_a_day_is_seen_before_it(
    run: Path, start: Checkpoint, ranker: ClickRanker, tmp_path: Path
) -> None:
    """Whatever is bought from the third morning on, the first three mornings make the same, bit for bit."""
    other = dataset(tmp_path, MIDNIGHT_MS)
    changed = run_daily(tmp_path / "run", start, ranker, other, FEW).parent
    pairs = [(made(one), made(two)) for one, two in zip(mornings(run), mornings(changed), strict=True)]
    assert mornings(run)[2].name == day_name(MIDNIGHT_MS)
    assert [one == two for one, two in pairs] == [True, True, True, False]
    assert all(mine != theirs for mine, theirs in zip(*pairs[3], strict=True))


def test_a_basket_is_history_when_it_is_over(data: Dataset, ranker: ClickRanker) -> None:
    days = days_of(data.split.test, 4)
    assert days[2] == MIDNIGHT_MS
    days_log = DayLog.of(data, days)
    before = days_log.history(MIDNIGHT_MS - DAY_MS, MIDNIGHT_MS)
    after = days_log.history(MIDNIGHT_MS, MIDNIGHT_MS + DAY_MS)
    night = frozenset({"beer", "milk", "cheese", "eggs"})

    def nights(samples: Any) -> list[int]:
        return [one.task for one in samples.samples if one.texts == night]

    assert (nights(before), nights(after)) == ([], [NEXT])
    assert {one.task for one in before.samples} == {NEXT, REST}
    assert len(days_log.hints(before, ranker.features)) == 3 * len(before)
    begun = days_log.next_baskets(MIDNIGHT_MS - DAY_MS)
    assert nights(begun) == [NEXT]  # judged on the day that it was asked for


def test_each_morning_goes_on_from_the_one_before(run: Path, start: Checkpoint, ranker: ClickRanker) -> None:
    before = [digest(start.weights), digest(ranker.state_dict())]
    for morning in mornings(run):
        policy, judge = (
            torch.load(morning / name / STATE_NAME, weights_only=True)["settings"]
            for name in ("policy", "ranker")
        )
        after = made(morning)
        assert [json.loads(policy["start"]), json.loads(judge["start"])] == before
        assert json.loads(policy["ranker"]) == after[1]  # the rewards are this morning's
        assert set(after).isdisjoint(before)
        before = after


def test_what_was_stopped_goes_on(
    run: Path, data: Dataset, start: Checkpoint, ranker: ClickRanker, tmp_path: Path
) -> None:
    run_daily(tmp_path, start, ranker, data, replace(FEW, days=2))
    second = mornings(tmp_path)[1]
    (second / "policy" / "generator.pt").unlink()  # as a kill leaves it before the checkpoint is written
    again = run_daily(tmp_path, start, ranker, data, FEW)
    assert [made(one) for one in mornings(tmp_path)] == [made(one) for one in mornings(run)]
    assert again.read_bytes() == (run / "daily.json").read_bytes()
    with pytest.raises(TrainingError, match="other settings"):
        run_daily(tmp_path, start, ranker, data, replace(FEW, grpo=replace(LISTS, steps=3)))


def test_both_arms_are_judged_on_the_day(
    run: Path, result: dict[str, Any], data: Dataset, start: Checkpoint
) -> None:
    samples = data.samples("test")
    for day, morning in zip(result["days"], mornings(run), strict=True):
        today = [
            row
            for row, one in enumerate(samples.samples)
            if one.task == NEXT and day_name(one.time_ms // DAY_MS * DAY_MS) == day["day"] == morning.name
        ]
        part = samples.at(np.array(today))
        cases = cases_of(part, data.purchases, NEXT)
        for arm, checkpoint in (("with", load_run(morning / "policy")), ("without", start)):
            lists = checkpoint_arm(checkpoint, part)(cases, False)
            figures = click_figures(lists, cases.truths, click_model_of(data.about))
            assert day[arm][UCTR]["value"] == pytest.approx(figures[UCTR].mean(), abs=1e-6)
            assert day[arm][CTR]["value"] == pytest.approx(figures[CTR].mean(), abs=1e-6)
        assert day["baskets"] == len(today)
        assert set(day["with"]) == set(day["without"]) == set(day["lift"]) == FIGURES


def test_the_days_together_weigh_each_basket_alike(result: dict[str, Any]) -> None:
    days, together = result["days"], result["together"]
    counts = np.array([day["baskets"] for day in days])
    assert together["baskets"] == counts.sum()
    for arm in ("with", "without"):
        values = np.array([day[arm][CTR]["value"] for day in days])
        assert together[arm][CTR]["value"] == pytest.approx(values @ counts / counts.sum(), abs=2e-6)
    lift = together["with"][CTR]["value"] / together["without"][CTR]["value"] - 1
    assert together["lift"][CTR]["value"] == pytest.approx(lift, abs=1e-4)
    assert result["about"]["simulated"] == [] and result["about"]["config"]["days"] == FEW.days


def test_the_same_policy_has_no_lift(data: Dataset, start: Checkpoint, ranker: ClickRanker) -> None:
    samples = data.samples("test")
    today = samples.at(np.array([row for row, one in enumerate(samples.samples) if one.task == NEXT][:9]))
    served = Served(start, ranker)
    for paired in judged_day(today, data, served, served).values():
        assert np.array_equal(paired.updated, paired.frozen, equal_nan=True)
        assert Draws(20).lift(paired.updated, paired.frozen, paired.households) == (0.0, 0.0, 0.0)


def test_a_day_without_yesterday_changes_nothing(
    data: Dataset, start: Checkpoint, ranker: ClickRanker, tmp_path: Path
) -> None:
    """Nothing is kept of the first two days; the third morning has nothing to learn from."""
    span = data.split.test
    late = replace(data, split=replace_test(data, Span(span.end_ms + 3 * DAY_MS, span.end_ms + 5 * DAY_MS)))
    found = json.loads(run_daily(tmp_path, start, ranker, late, FEW).read_text())
    assert not mornings(tmp_path)
    assert [day["learnt"] for day in found["days"]] == [{"hints": 0, "contexts": 0}] * len(found["days"])
    assert found["together"]["baskets"] == 0 and found["together"]["lift"][CTR]["value"] is None


def replace_test(data: Dataset, span: Span) -> Any:
    return data.split._replace(test=span)


def test_a_batch_is_mixed_of_yesterday_and_older_hints() -> None:
    config = RefreshConfig(batch=10, replay=0.7)
    assert config.fresh == 3
    batches = [mixed_rows(6, 40, config, 0, step) for step in (1, 2, 3, 4)]
    assert all((batch[:3] < 6).all() and (batch[3:] >= 6).all() for batch in batches)
    for first in (0, 2):  # each pass has each hint of yesterday once
        passed = np.concatenate([batches[first][:3], batches[first + 1][:3]])
        assert sorted(passed.tolist()) == list(range(6))
    older = np.concatenate([batch[3:] for batch in batches])
    assert len(set(older.tolist())) == 28 and older.max() < 46
    assert (mixed_rows(6, 0, config, 0, 1) < 6).all() and len(mixed_rows(6, 0, config, 0, 1)) == 10
    assert (mixed_rows(6, 40, replace(config, replay=0.0), 0, 1) < 6).all()


@pytest.mark.parametrize("wrong", [{"replay": 1.0}, {"replay": -0.1}, {"steps": 0}, {"pool": 0}])
def test_settings_that_cannot_be_meant_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(TrainingError, match="cannot be refreshed"):
        RefreshConfig(**wrong)


def test_the_pool_is_of_the_training_span(data: Dataset, ranker: ClickRanker) -> None:
    whole, some = (replay_pool(data, count, 0, ranker.features) for count in (10**6, 50))
    trained = data.impressions["time_ms"].to_numpy() < data.split.train.end_ms
    assert len(whole) == trained.sum() and len(some) == 50
    assert whole.clicked.sum() == data.impressions["clicked"].to_numpy()[trained].sum()


def test_replay_keeps_what_was_known(start: Checkpoint, tmp_path: Path) -> None:
    """Yesterday nobody clicked; older hints were clicked by their first feature."""
    chance = np.random.default_rng(0)
    first = ClickRanker(HintFeatures.of(start))

    def hints(count: int, clicked: bool) -> Shown:
        features = chance.normal(size=(count, first.first.in_features)).astype(np.float32)
        clicks = (features[:, 0] > 0).astype(np.float32) * clicked
        return Shown(features, np.zeros(count, np.int32), clicks, np.zeros(count, np.int64))

    old, yesterday = hints(400, True), hints(40, False)
    config = RefreshConfig(steps=120, batch=64, replay=0.0, learning_rate=0.02)
    known = refresh_ranker(tmp_path / "known", first, joined_hints([old]), yesterday, config)
    unmixed = refresh_ranker(tmp_path / "0", known, yesterday, old, config)
    mixed = refresh_ranker(tmp_path / "1", known, yesterday, old, replace(config, replay=0.9))

    def rate(network: ClickRanker) -> float:
        clicked = torch.from_numpy(old.features[old.clicked > 0])
        return float(network(clicked, torch.zeros(len(clicked), dtype=torch.int32)).detach().mean())

    assert rate(known) > 0.9 and rate(unmixed) < 0.1 and rate(mixed) > 0.8
    assert digest(load_ranker(tmp_path / "1").state_dict()) == digest(mixed.state_dict())


def test_a_picture_is_drawn(run: Path, result: dict[str, Any], tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    assert (run / "daily.png").read_bytes().startswith(b"\x89PNG")
    assert draw_days(result["days"][:1], tmp_path / "one.png").stat().st_size > 5_000


def test_the_command_prints_every_day(data: Dataset, tmp_path: Path) -> None:
    """The log on disk has no hints: the policy learns from what was bought, the ranker stays."""
    app = typer.Typer()
    app.command("other")(lambda: None)
    daily_command.register(app)
    options = {
        "--data": data.folder,
        "--start": blank_run(data, tmp_path / "start"),
        "--ranker": blank_ranker(data, tmp_path / "ranker"),
        "--out": tmp_path / "daily",
        "--days": 2,
    }
    words = [str(word) for pair in options.items() for word in pair]
    said = CliRunner().invoke(app, ["daily", *words, "--small"], catch_exceptions=False)
    found = json.loads((tmp_path / "daily" / "daily.json").read_text())
    assert said.exit_code == 0 and "together" in said.output
    assert all(day["day"] in said.output for day in found["days"])
    assert [day["learnt"]["hints"] for day in found["days"]] == [0, 0]
    assert [sorted(path.name for path in one.iterdir()) for one in mornings(tmp_path / "daily")] == [
        ["policy"]
    ] * 2


def test_the_days_fit_a_narrow_screen(result: dict[str, Any]) -> None:
    screen = Console(width=80)
    with screen.capture() as captured:
        screen.print(daily_command.days_table(result))
    assert "…" not in captured.get() and f"{result['together']['with'][CTR]['value']:.4f}" in captured.get()
