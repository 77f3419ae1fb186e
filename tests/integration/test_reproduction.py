"""The whole reproduction in small: data, all arms, evaluation, page and bundle, by the program's commands."""

from pathlib import Path

import numpy as np
import orjson
import pytest
from typer.testing import CliRunner

from agents.hints.bundle import load_bundle, load_manifest
from aigq.main import app
from training.checkpoint import load_run
from training.datasets.dataset import load_dataset
from training.sessions import taken

ARMS = ("sft", "list_sft", "il_sft", "grpo", "il_grpo")
BESIDE = ("popular", "habit", "item_knn", "habit_item_knn", "ebr")

pytestmark = pytest.mark.timeout(600)


def run(*words: str) -> str:
    """The command's screen; it must end well."""
    done = CliRunner().invoke(app, list(words), catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Data, runs, bundle and results of `aigq reproduce --small`: some minutes."""
    folder = tmp_path_factory.mktemp("reproduction")
    data, runs, bundle = (str(folder / name) for name in ("data", "runs", "small"))
    run("reproduce", "--data", data, "--runs", runs, "--small")
    run("export", f"{runs}/il_grpo", "--ranker", f"{runs}/ranker", "--out", bundle)
    run(
        *("evaluate", "--data", data, "--runs", runs, "--bundle", bundle, "--record", "--draws", "50"),
        *("--out", str(folder / "results.json"), "--page", str(folder / "results.md")),
    )
    return folder


def test_every_arm_is_judged_on_both_tasks(made: Path) -> None:
    results = orjson.loads((made / "results.json").read_bytes())
    assert set(results) == {"next_basket", "rest_of_basket"}
    for arms in results.values():
        assert {*ARMS, *(f"direct_{arm}" for arm in ARMS), *BESIDE, "bundle"} <= set(arms)
        for arm in ARMS:
            for figure in ("recall@10", "query_hr@30", "cate_hr@30", "unique_categories"):
                one = arms[arm][figure]
                assert one["low"] <= one["value"] <= one["high"]
                assert one["value"] > 0


def test_the_arms_went_different_ways(made: Path) -> None:
    weights = [load_run(made / "runs" / arm).weights["prior.bias"].numpy() for arm in ARMS]
    for place, one in enumerate(weights):
        assert all(not np.array_equal(one, other) for other in weights[:place])


def test_the_curves_are_drawn_and_the_page_names_the_arms(made: Path) -> None:
    for name in ("curves-sft.png", "curves-grpo.png"):
        assert (made / "runs" / name).read_bytes().startswith(b"\x89PNG")
    page = (made / "results.md").read_text()
    assert all(arm in page for arm in (*ARMS, *BESIDE))


def test_a_second_reproduction_changes_nothing(made: Path) -> None:
    before = {path: path.read_bytes() for path in sorted((made / "runs").rglob("state.pt"))}
    run("reproduce", "--data", str(made / "data"), "--runs", str(made / "runs"), "--small")
    assert {path: path.read_bytes() for path in sorted((made / "runs").rglob("state.pt"))} == before


def test_the_bundle_writes_and_its_manifest_has_the_figures(made: Path) -> None:
    bundle = load_bundle(made / "small")
    contexts = load_dataset(made / "data").samples("test").contexts
    queries, _ = bundle.generator.run(taken(contexts, np.arange(20)))
    assert len({tuple(row) for row in queries.tolist()}) > 10
    assert bundle.ranker is not None
    recorded = load_manifest(made / "small").metrics["next_basket"]
    assert set(recorded) == {"bundle", "popular", "habit", "habit_item_knn"}
