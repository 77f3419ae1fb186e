"""Arms by name: what they leave out, how far they list, how the ranker orders, and what a bundle serves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from agents.hints.bundle import Bundle
from agents.hints.context import Contexts, QueryIndex, context_arrays
from agents.hints.generator import Candidate
from agents.hints.ranking import Lists
from streams.errors import TrainingError
from streams.hint_request import HintRequest, Int8
from tests.evaluation_data import blank_ranker, blank_run, small_dataset
from training.datasets.dataset import Dataset
from training.evaluation.arms import Arms, checkpoint_arm, fitting, longest_lists
from training.evaluation.bundle_arm import BundleArm
from training.evaluation.cases import Cases, cases_of
from training.evaluation.click_scores import ClickScores, base_rate_table
from training.evaluation.ebr_run import load_or_train_ebr
from training.generator import tensors
from training.network import HIDDEN
from training.ranker import load_ranker
from training.sessions import NEXT, REST, Samples, taken
from training.slots import greedy
from training.vocabulary import vocabulary_of


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("arms")


@pytest.fixture(scope="module")
def data(folder: Path) -> Dataset:
    return small_dataset(folder)


@pytest.fixture(scope="module")
def runs(data: Dataset, folder: Path) -> Path:
    for name, seed in (("il_sft", 0), ("il_sft-seed10", 10), ("il_sft-seed2", 2), ("think_list", 0)):
        blank_run(data, folder / "runs" / name, seed)
    blank_ranker(data, folder / "runs" / "ranker")
    return folder / "runs"


@pytest.fixture(scope="module")
def samples(data: Dataset) -> Samples:
    return data.samples("test")


@pytest.fixture(scope="module")
def clicks(data: Dataset, runs: Path, samples: Samples) -> ClickScores:
    vocabulary = vocabulary_of(data.lexicon, data.purchases, data.encoder())
    return ClickScores(load_ranker(runs / "ranker" / "ranker.pt"), samples, vocabulary)


def cases(data: Dataset, samples: Samples, task: int) -> Cases:
    return cases_of(samples, data.purchases, task)


# Lists of a checkpoint


@pytest.mark.parametrize(("slots", "queries"), [(4, 60), (12, 40), (3, 8)])
def test_long_lists_are_the_greedy_ones(slots: int, queries: int) -> None:
    noise = torch.Generator().manual_seed(queries)
    logits = torch.randn(20, slots, queries, generator=noise)
    closed = torch.rand(20, 1, queries, generator=noise) < 0.3
    logits = logits.masked_fill(closed, HIDDEN)
    assert torch.equal(longest_lists(logits), greedy(logits, 30)[0].to(torch.int64))


def test_a_checkpoint_lists_everything_but_what_is_left_out(
    data: Dataset, runs: Path, samples: Samples
) -> None:
    arm = checkpoint_arm(fitting(runs / "il_sft" / "generator.pt", data), samples)
    rest = cases(data, samples, REST)
    assert all(rest.seen)
    for novel, left_out in ((False, rest.seen), (True, rest.owned)):
        for queries, gone in zip(arm(rest, novel), left_out, strict=True):
            assert len(queries) == len(set(queries))
            assert set(queries) == set(data.queries) - gone


def test_a_checkpoints_list_is_its_network_s(data: Dataset, runs: Path, samples: Samples) -> None:
    checkpoint = fitting(runs / "il_sft" / "generator.pt", data)
    asked = cases(data, samples, NEXT)
    lists = checkpoint_arm(checkpoint, samples)(asked, False)
    with torch.no_grad():
        written, _ = checkpoint.network()(**tensors(taken(samples.contexts, asked.rows)))
    assert [queries[:4] for queries in lists] == [
        [data.queries[number] for number in row] for row in written.tolist()
    ]


def test_a_checkpoint_of_another_data_set_is_refused(data: Dataset, runs: Path) -> None:
    other = replace(data, lexicon=data.lexicon[:-1])
    with pytest.raises(TrainingError, match="another data set"):
        fitting(runs / "il_sft" / "generator.pt", other)


# Names


def test_arms_are_named_as_their_folders_and_seeds_belong_together(
    data: Dataset, runs: Path, samples: Samples, clicks: ClickScores
) -> None:
    arms = Arms(data, "test", samples, runs, clicks)
    counting = ["popular", "habit", "item_knn", "habit_item_knn"]
    assert arms.names() == [*counting, "ebr", "il_sft", "think_list", "il_sft_ranked"]
    assert len(arms.arm("il_sft").recommenders) == len(arms.arm("il_sft_ranked").recommenders) == 3
    asked = cases(data, samples, NEXT)
    lists = [recommend(asked, False) for recommend in arms.arm("il_sft").recommenders]
    alone = [runs / name / "generator.pt" for name in ("il_sft", "il_sft-seed2", "il_sft-seed10")]
    assert lists == [checkpoint_arm(fitting(path, data), samples)(asked, False) for path in alone]


@pytest.mark.parametrize("name", ["grpo", "bundle", "grpo_ranked", "il_sft-seed2"])
def test_an_arm_that_is_not_there_is_said_so(
    data: Dataset, runs: Path, samples: Samples, clicks: ClickScores, name: str
) -> None:
    with pytest.raises(TrainingError, match=f"no arm {name}"):
        Arms(data, "test", samples, runs, clicks).check(["popular", name])


def test_without_a_ranker_nothing_is_ranked(data: Dataset, runs: Path, samples: Samples) -> None:
    arms = Arms(data, "test", samples, runs)
    assert not any(name.endswith("_ranked") for name in arms.names())
    with pytest.raises(TrainingError, match="needs the ranker"):
        arms.check(["il_sft_ranked"])


def test_without_any_run_the_baselines_are_left(data: Dataset, tmp_path: Path, samples: Samples) -> None:
    names = Arms(data, "test", samples, tmp_path / "none").names()
    assert names == ["popular", "habit", "item_knn", "habit_item_knn", "ebr"]


@pytest.mark.parametrize("name", ["popular", "habit", "item_knn", "habit_item_knn"])
@pytest.mark.parametrize("task", [NEXT, REST])
def test_counting_arms_answer_every_case(
    data: Dataset, runs: Path, samples: Samples, name: str, task: int
) -> None:
    asked = cases(data, samples, task)
    (recommend,) = Arms(data, "test", samples, runs).arm(name).recommenders
    for queries, seen in zip(recommend(asked, False), asked.seen, strict=True):
        assert queries
        assert not seen & set(queries)


def test_the_two_tower_network_is_trained_once_and_belongs_to_its_data(
    data: Dataset, tmp_path: Path, samples: Samples
) -> None:
    asked = cases(data, samples, NEXT)
    (first,) = Arms(data, "test", samples, tmp_path).arm("ebr").recommenders
    written = (tmp_path / "ebr" / "two_tower.pt").stat().st_mtime_ns
    (again,) = Arms(data, "test", samples, tmp_path).arm("ebr").recommenders
    assert (tmp_path / "ebr" / "two_tower.pt").stat().st_mtime_ns == written
    assert again(asked, False) == first(asked, False)
    with pytest.raises(TrainingError, match="another data set"):
        load_or_train_ebr(tmp_path / "ebr", replace(data, lexicon=data.lexicon[:-1]))


# The ranker


def test_ranked_lists_are_ordered_by_the_ranker_to_the_tenth(
    data: Dataset, runs: Path, samples: Samples, clicks: ClickScores
) -> None:
    arms = Arms(data, "test", samples, runs, clicks)
    asked = cases(data, samples, NEXT)
    plain = arms.arm("think_list").recommenders[0](asked, False)
    ordered = arms.arm("think_list_ranked").recommenders[0](asked, False)
    every = torch.from_numpy(clicks.ranker.features.every(taken(samples.contexts, asked.rows)))
    with torch.no_grad():
        p = clicks.ranker(every, torch.zeros(every.shape[:2], dtype=torch.int32)).numpy()
    for case, (before, after) in enumerate(zip(plain, ordered, strict=True)):
        assert after[10:] == before[10:]
        assert set(after[:10]) == set(before[:10])
        chances = [p[case, data.queries.index(query)] for query in after[:10]]
        assert all(one >= other - 1e-6 for one, other in pairwise(chances))
    assert ordered != plain


def test_the_click_table_is_the_ranker_at_each_place(
    data: Dataset, samples: Samples, clicks: ClickScores
) -> None:
    asked = cases(data, samples, REST)
    table, rows = clicks.of(asked), np.arange(len(asked))
    every = torch.from_numpy(clicks.ranker.features.every(taken(samples.contexts, asked.rows)))
    for position in (0, 2, 40):
        places = torch.full(every.shape[:2], position, dtype=torch.int32)
        with torch.no_grad():
            expected = clicks.ranker(every, places)[:, 5].numpy()
        found = table.at(rows, np.full(len(rows), 5), np.full(len(rows), position))
        assert found == pytest.approx(expected, rel=1e-4)
    assert clicks.of(asked) is table
    assert len(clicks.of(cases(data, samples, NEXT)).relevance) == len(cases(data, samples, NEXT))


def test_without_a_ranker_each_place_has_its_click_rate(data: Dataset, clicks: ClickScores) -> None:
    table = base_rate_table(data.impressions, 5, clicks.vocabulary)
    for position, (_, rows) in enumerate(data.impressions.group_by("position", maintain_order=True)):
        rate = (int(rows["clicked"].sum()) + 1) / (rows.height + 2)
        at = table.at(np.array([3]), np.array([7]), np.array([position]))
        assert at == pytest.approx([rate], rel=1e-5)


# What a bundle serves


class Fixed:
    """A generator that always writes the same list."""

    def __init__(self, queries: Sequence[str]) -> None:
        self.queries = queries

    def contexts(self, requests: Sequence[HintRequest]) -> Contexts:
        return context_arrays(requests, QueryIndex([]))

    def write(self, contexts: Contexts) -> list[list[Candidate]]:
        return [[Candidate(query, -1.0) for query in self.queries] for _ in range(len(contexts))]


class Backwards:
    """A ranker that turns lists round."""

    def orders(self, lists: Lists, vectors: Int8, contexts: Contexts) -> list[list[int]]:
        del vectors, contexts
        return [list(range(len(candidates)))[::-1] for candidates in lists]


def test_a_bundle_s_lists_are_filtered_ranked_and_without_what_is_held(
    data: Dataset, samples: Samples
) -> None:
    lexicon = dict(data.lexicon)
    written = ["milk", "eggs", "egg", "bread", "soap"]
    bundle = Bundle("b", data.encoder(), lexicon, Fixed(written), Backwards(), None)
    arm = BundleArm(bundle, data, "test")
    for task in (NEXT, REST):
        asked = cases(data, samples, task)
        assert arm.written(asked) == [written] * len(asked)
        for queries, seen in zip(arm(asked, False), asked.seen, strict=True):
            # "egg" is the plural's double; what was bought a moment ago is held back.
            assert queries == [one for one in ("soap", "bread", "eggs", "milk") if one not in seen]
        for queries, owned in zip(arm(asked, True), asked.owned, strict=True):
            assert not owned & set(queries)
