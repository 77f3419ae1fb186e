"""What Think serves in an evaluation: the same merging as a reader's, on the same moments."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from typer.testing import CliRunner

from agents.hints.bundle import Bundle
from agents.hints.context import Contexts, QueryIndex, context_arrays
from agents.hints.generator import Candidate
from agents.think.folder_entries import FolderEntries, folder_entries
from aigq.main import app
from streams.errors import MappingError, TrainingError
from streams.hint_request import HintRequest
from streams.think_entry import Suggestion
from tests.evaluation_data import small_dataset
from tests.mapping_folders import write_version
from training.datasets.dataset import Dataset
from training.evaluation.ab_test import Draws
from training.evaluation.arms import Arms
from training.evaluation.bundle_arm import BundleArm
from training.evaluation.cases import Cases, cases_of
from training.evaluation.lifts import pairs
from training.evaluation.report import EvaluationConfig, evaluate
from training.evaluation.think_arm import direct_popular_arm, direct_think_arm, moments_alone, think_arm
from training.sessions import NEXT, REST

WRITTEN = (
    "milk",
    "eggs",
    "bread",
    "tea",
    "soap",
    "beer",
    "red wine",
    "crackers",
    "cheese",
    "diapers",
    "dog food",
)
OTHERS = ("ground coffee", "baby wipes", "cat food")
NEVER_HELD = ("gas", "stamps", "ice")


class Fixed:
    """A generator that always writes the same list."""

    def contexts(self, requests: Sequence[HintRequest]) -> Contexts:
        return context_arrays(requests, QueryIndex([]))

    def write(self, contexts: Contexts) -> list[list[Candidate]]:
        return [[Candidate(query, -1.0) for query in WRITTEN] for _ in range(len(contexts))]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("think-arm")


@pytest.fixture(scope="module")
def data(folder: Path) -> Dataset:
    return small_dataset(folder)


@pytest.fixture(scope="module")
def bundle(data: Dataset) -> BundleArm:
    made = Bundle("b", data.encoder(), dict(data.lexicon), Fixed(), None, None)
    return BundleArm(made, data, "test")


@pytest.fixture(scope="module")
def entries(data: Dataset) -> FolderEntries:
    """Every phrase of the shop leads to the same queries."""
    queries = tuple(Suggestion(query=query) for query in (*OTHERS, "milk", *NEVER_HELD))
    phrases = data.purchases["phrase"].unique().to_list()
    return FolderEntries("v1", dict.fromkeys(phrases, queries), (Suggestion(query="ice"),))


def cases(data: Dataset, task: int) -> Cases:
    return cases_of(data.samples("test"), data.purchases, task)


@pytest.mark.parametrize("task", [NEXT, REST])
def test_moments_are_the_same_with_and_without_a_bundle(data: Dataset, bundle: BundleArm, task: int) -> None:
    alone = moments_alone(data, "test")
    assert alone == bundle.moments
    asked = cases(data, task)
    for basket, seen, owned in zip(asked.baskets.tolist(), asked.seen, asked.owned, strict=True):
        moment = alone.of[asked.task, basket]
        assert bool(owned) <= len(moment.triggers) <= 5
        assert seen <= set(moment.held)  # what was just bought
        assert set(moment.triggers) <= seen or len(seen) < len(moment.triggers)


@pytest.mark.parametrize("task", [NEXT, REST])
def test_think_alone_lists_what_the_triggers_lead_to(
    data: Dataset, bundle: BundleArm, entries: FolderEntries, task: int
) -> None:
    asked = cases(data, task)
    lists = think_arm(bundle.moments, entries)(asked, False)
    for queries, basket, seen in zip(lists, asked.baskets.tolist(), asked.seen, strict=True):
        moment = bundle.moments.of[asked.task, basket]
        gone = {*moment.triggers, *seen, *(text for text, ms in moment.held.items() if ms > moment.read_ms)}
        possible = [one for one in (*OTHERS, "milk", *NEVER_HELD) if one not in gone]
        assert queries == (possible if moment.triggers else [])


def test_both_begin_with_the_own_list_and_think_has_its_place(
    data: Dataset, bundle: BundleArm, entries: FolderEntries
) -> None:
    asked = cases(data, NEXT)
    own, both = bundle(asked, False), direct_think_arm(bundle, entries, 1)(asked, False)
    without = direct_think_arm(bundle, entries, 0)(asked, False)
    popular = direct_popular_arm(bundle, entries)(asked, False)
    known = [bool(owned) for owned in asked.owned]
    whole = [case for case, queries in enumerate(own) if known[case] and len(queries) == len(WRITTEN)]
    assert len(whole) > 3
    for case in whole:
        assert both[case][:9] == own[case][:9]
        assert both[case][9] not in WRITTEN
        assert both[case][10:12] == own[case][9:11]
        assert without[case][: len(WRITTEN)] == own[case]
        assert set(without[case]) == set(both[case])
        assert popular[case] == [*own[case], "ice"]


def test_novel_lists_are_made_without_what_is_owned(
    data: Dataset, bundle: BundleArm, entries: FolderEntries
) -> None:
    for task in (NEXT, REST):
        asked = cases(data, task)
        for recommend in (direct_think_arm(bundle, entries, 1), think_arm(bundle.moments, entries)):
            for queries, owned in zip(recommend(asked, True), asked.owned, strict=True):
                assert not owned & set(queries)


# By name, and from folders


def mapping_folder(root: Path, data: Dataset) -> Path:
    phrases = data.queries
    near = {
        phrase: [phrases[(place + step) % len(phrases)] for step in (3, 5, 7)]
        for place, phrase in enumerate(phrases)
        if phrase != "milk"
    }
    write_version(root, near, popular=phrases[:3])
    return root


def test_a_mapping_is_read_from_its_folder_or_a_version_s(data: Dataset, tmp_path: Path) -> None:
    root = mapping_folder(tmp_path, data)
    current, named = folder_entries(root), folder_entries(root / "v1")
    assert current == named
    assert current.mapping == "v1"
    assert current.has("EGGS") and not current.has("milk")
    some = folder_entries(root, {"Eggs", "nothing"})
    assert set(some.entries) == {"eggs"}
    assert some.of(("nothing", "Eggs")).entries == ((), current.entries["eggs"])
    with pytest.raises(MappingError):
        folder_entries(root / "v2")


def test_arms_of_what_is_served_need_their_folders(data: Dataset, tmp_path: Path) -> None:
    root, samples = mapping_folder(tmp_path, data), data.samples("test")
    arms = Arms(data, "test", samples, tmp_path / "runs", mapping=root)
    assert "think" in arms.names()
    assert not {"direct_think", "direct_popular", "bundle"} & set(arms.names())
    with pytest.raises(TrainingError, match="no arm direct_think: it needs --bundle"):
        arms.check(["direct_think"])
    with pytest.raises(TrainingError, match="no arm think: it needs --mapping"):
        Arms(data, "test", samples, tmp_path / "runs").check(["think"])


def test_an_evaluation_with_a_mapping_judges_think_and_the_first_hint(data: Dataset, tmp_path: Path) -> None:
    root = mapping_folder(tmp_path, data)
    config = EvaluationConfig(arms=("habit", "think"), draws=Draws(20))
    found = evaluate(data, tmp_path / "runs", config, mapping=root)
    for figures in (arms["think"] for arms in found.results.values()):
        assert {"new_hits@10", "new_hits@30", "unique_categories@30"} <= set(figures)
    served = found.details["served"]
    assert (served["mapping"], served["think_places"]) == ("v1", 1)
    first = served["first_hint"]
    assert 0 < first["answered_by_mapping"] < 1  # milk has no entry
    assert first["with_think"]["at_once"] >= first["lists_alone"]["at_once"]


def test_think_is_compared_with_the_bundle_and_with_the_popular_list() -> None:
    compared = set(pairs(["bundle", "think", "direct_think", "direct_popular"]))
    assert {("direct_think", "bundle"), ("think", "bundle"), ("direct_think", "direct_popular")} <= compared


def test_the_command_shows_what_is_served_together_and_writes_it_on_the_page(
    data: Dataset, tmp_path: Path
) -> None:
    root, page = mapping_folder(tmp_path, data), tmp_path / "page.md"
    options = ["--data", str(data.folder), "--runs", str(tmp_path / "runs"), "--arms", "popular,think"]
    served = ["--mapping", str(root / "v1"), "--draws", "20", "--page", str(page)]
    done = CliRunner().invoke(app, ["evaluate", *options, *served])
    assert done.exit_code == 0, done.output
    assert "Served together, next basket" in done.output
    assert "First hint after a behaviour" in done.output
    text = page.read_text(encoding="utf-8")
    assert "mapping `v1`" in text
    assert text.count("| `think` |") > 2
    assert "<!-- by hand: served -->" in text


def test_the_command_names_a_mapping_that_is_not_there(data: Dataset, tmp_path: Path) -> None:
    options = ["--data", str(data.folder), "--runs", str(tmp_path), "--mapping", str(tmp_path / "none")]
    done = CliRunner().invoke(app, ["evaluate", *options, "--arms", "think"])
    assert isinstance(done.exception, MappingError)
