"""Rewards of queries and lists, worked by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from streams.errors import TrainingError
from training.grpo_config import GrpoConfig
from training.rewards import (
    QueryTables,
    any_click_reward,
    coverage_reward,
    ctr_reward,
    format_reward,
    length_reward,
    novelty_reward,
    query_parts,
    query_rewards,
    repetition_reward,
    rouge_l_table,
    rouge_reward,
    sequence_parts,
    sequence_rewards,
)

# milk, chocolate milk, dark chocolate milk, eggs; sub-words 1 = milk, 2 = chocolate, 3 = dark, 4 = eggs
TOKENS = [[1], [2, 1], [3, 2, 1], [4]]
CATEGORIES = torch.tensor([0, 0, 1, 2])
WORDS = st.lists(st.integers(0, 5), max_size=7)


def tables() -> QueryTables:
    rouge = rouge_l_table(TOKENS)
    return QueryTables(rouge, rouge, torch.tensor([len(query) for query in TOKENS]), CATEGORIES)


def common(a: list[int], b: list[int]) -> int:
    """The longest common subsequence, as the textbook has it."""
    if not a or not b:
        return 0
    if a[-1] == b[-1]:
        return common(a[:-1], b[:-1]) + 1
    return max(common(a[:-1], b), common(a, b[:-1]))


def test_click_probabilities_are_scaled_then_clipped() -> None:
    click = torch.tensor([0.0, 0.1, 0.5, 0.9, -0.1])
    assert ctr_reward(click, gamma=2.0, beta=1.5).tolist() == pytest.approx([0.0, 0.2, 1.0, 1.5, 0.0])


def test_rouge_l_of_pairs_worked_by_hand() -> None:
    table = rouge_l_table(TOKENS)
    assert table.dtype == torch.float32
    milk, chocolate, dark, eggs = table.tolist()
    assert milk == pytest.approx([1.0, 2 / 3, 2 / 4, 0.0])
    assert chocolate == pytest.approx([2 / 3, 1.0, 4 / 5, 0.0])
    assert dark == pytest.approx([2 / 4, 4 / 5, 1.0, 0.0])
    assert eggs == [0.0, 0.0, 0.0, 1.0]


def test_rouge_l_wants_the_order_and_allows_gaps() -> None:
    assert rouge_l_table([[1, 2], [2, 1], [1, 9, 2]])[0].tolist() == pytest.approx([1.0, 1 / 2, 4 / 5])


def test_a_query_without_tokens_is_like_nothing_not_even_itself() -> None:
    assert rouge_l_table([[], [1], []]).tolist() == [[0, 0, 0], [0, 1, 0], [0, 0, 0]]


@given(st.lists(WORDS, min_size=1, max_size=5))
def test_rouge_l_is_the_f1_of_the_longest_common_subsequence(queries: list[list[int]]) -> None:
    table = rouge_l_table(queries)
    for i, a in enumerate(queries):
        for j, b in enumerate(queries):
            shared = common(a, b)
            precision, recall = shared / max(1, len(a)), shared / max(1, len(b))
            f1 = 2 * precision * recall / (precision + recall) if shared else 0.0
            assert float(table[i, j]) == pytest.approx(f1, abs=1e-6)


def test_hints_are_compared_with_the_reference_of_their_position() -> None:
    lists = torch.tensor([[[0, 1, 3], [1, 0, -1]]])
    references = torch.tensor([[1, 0, 3]])
    rewards = rouge_reward(lists, references, rouge_l_table(TOKENS))
    assert rewards.tolist() == [[pytest.approx([2 / 3, 2 / 3, 1.0]), pytest.approx([1.0, 1.0, 0.0])]]


def test_beyond_the_reference_list_there_is_nothing_to_match() -> None:
    lists = torch.tensor([[[0, 1, 3]], [[3, 3, 3]]])
    references = torch.tensor([[0, -1, -1], [-1, -1, -1]])
    assert rouge_reward(lists, references, rouge_l_table(TOKENS)).tolist() == [[[1, 0, 0]], [[0, 0, 0]]]


def test_lengths_in_the_band_cost_nothing_and_outside_grow_linearly_to_minus_one() -> None:
    lengths = torch.tensor([0, 1, 2, 3, 4, 5, 6, 8, 99])
    wanted = [-1.0, -0.5, 0.0, 0.0, 0.0, -0.25, -0.5, -1.0, -1.0]
    assert length_reward(lengths, 2, 4).tolist() == pytest.approx(wanted)


def test_the_format_reward_is_the_share_of_missing_slots() -> None:
    lists = torch.tensor([[[0, 1, 2, 3], [0, 1, -1, -1], [-1, -1, -1, -1]]])
    assert format_reward(lists).tolist() == [[0.0, -0.5, -1.0]]


@pytest.mark.parametrize(
    ("hints", "share"),
    [
        ([0, 1, 3], 0.0),  # milk and chocolate milk: 2/3, under the threshold
        ([1, 2, 3], -1 / 3),  # chocolate milk, dark chocolate milk: 4/5
        ([3, 2, 1], -1 / 3),  # only the later one counts
        ([3, 3, 3], -2 / 3),
        ([3, 3, -1], -1 / 2),  # of two hints
        ([3, -1, -1], 0.0),  # two missing slots do not repeat each other
        ([0, -1, -1], 0.0),  # nor the query in place 0, with which they are masked
        ([-1, -1, -1], 0.0),
    ],
)
def test_repetition_is_the_share_of_hints_like_an_earlier_one(hints: list[int], share: float) -> None:
    reward = repetition_reward(torch.tensor([[hints]]), rouge_l_table(TOKENS), 0.75)
    assert reward.tolist() == [pytest.approx([share])]


def test_the_threshold_of_repetition_is_reached_not_passed() -> None:
    similarity = torch.tensor([[1.0, 0.5], [0.5, 1.0]])
    lists = torch.tensor([[[0, 1]]])
    assert float(repetition_reward(lists, similarity, 0.5)) == -0.5
    assert float(repetition_reward(lists, similarity, 0.51)) == 0.0


def test_a_hint_that_comes_again_repeats_even_where_the_table_denies_it() -> None:
    assert float(repetition_reward(torch.tensor([[[1, 1]]]), torch.zeros(2, 2), 0.75)) == -0.5


def test_coverage_counts_distinct_categories() -> None:
    lists = torch.tensor([[[0, 1, 2], [0, 2, 3], [0, 1, -1], [-1, -1, -1]]])
    assert coverage_reward(lists, CATEGORIES).tolist() == [pytest.approx([2 / 3, 1.0, 1 / 3, 0.0])]


def test_coverage_of_interest_is_the_share_of_its_weight() -> None:
    lists = torch.tensor([[[0, 1], [2, -1]], [[3, 0], [0, 2]], [[0, 1], [2, 3]]])
    interest = torch.tensor([[1.0, 1.0, 2.0, 0.0], [0.0, 0.0, 0.0, 3.0], [0.0, 0.0, 0.0, 0.0]])
    assert coverage_reward(lists, CATEGORIES, interest).tolist() == [[0.5, 0.5], [1.0, 0.0], [0.0, 0.0]]


def test_new_to_the_household_is_what_it_never_bought() -> None:
    owned = torch.tensor([[True, False, False, False], [False, True, True, True]])
    lists = torch.tensor([[[0, 1, -1]], [[0, 1, -1]]])
    assert novelty_reward(lists, owned).tolist() == [[[0, 1, 0]], [[1, 0, 0]]]


def test_query_rewards_are_the_weighted_sum_and_missing_slots_earn_nothing() -> None:
    config = GrpoConfig(gamma=2.0, beta=1.0, w_rouge=0.5, w_length=0.2, w_novelty=0.1, length_band=(1, 2))
    lists = torch.tensor([[[2, 0, -1]]])
    click = torch.tensor([[[0.3, 0.9, 0.7]]])
    owned = torch.tensor([[True, False, False, False]])
    parts = query_parts(lists, click, torch.tensor([[1, 3, 3]]), tables(), config, owned)
    # dark chocolate milk: 0.6 + 0.5 · 4/5 − 0.2 · 1/2 + 0.1; milk: 1.0, nothing else
    assert query_rewards(parts, config).tolist() == [[pytest.approx([1.0, 1.0, 0.0])]]


def test_parts_without_weight_are_not_computed() -> None:
    lists, click, references = torch.tensor([[[0]]]), torch.full((1, 1, 1), 0.1), torch.tensor([[0]])
    config = GrpoConfig(w_rouge=0.0, w_length=0.0)
    assert list(query_parts(lists, click, references, tables(), config)) == ["ctr"]
    assert list(sequence_parts(lists, tables(), config)) == ["format", "repetition"]
    config = replace(config, w_ctr=0.0, w_rouge=1.0)
    assert list(query_parts(lists, click, references, tables(), config)) == ["rouge"]


def test_no_estimate_of_a_missing_slot_gets_into_the_sum() -> None:
    click = torch.tensor([[[0.1, float("nan")]]])
    config = GrpoConfig(gamma=2.0)
    parts = query_parts(torch.tensor([[[0, -1]]]), click, torch.tensor([[3, 3]]), tables(), config)
    assert query_rewards(parts, config).tolist() == [[pytest.approx([0.2, 0.0])]]


def test_sequence_rewards_add_format_repetition_and_coverage() -> None:
    config = GrpoConfig(w_coverage=0.3)
    lists = torch.tensor([[[1, 2, -1], [0, 2, 3]]])
    parts = sequence_parts(lists, tables(), config)
    assert sequence_rewards(parts, config).tolist() == [pytest.approx([-1 / 3 - 1 / 2 + 0.3 * 2 / 3, 0.3])]


def test_any_click_is_the_chance_that_not_all_shown_hints_are_passed_over() -> None:
    lists = torch.tensor([[[0, 1, 2, 3], [3, 1, -1, 0], [-1, -1, -1, -1]]])
    click = torch.tensor([[[0.5, 0.2, 0.1, 0.9], [0.5, 0.0, 0.7, 0.9], [0.5, 0.5, 0.5, 0.5]]])
    reward = any_click_reward(lists, click, 3)
    assert reward.tolist() == [pytest.approx([1 - 0.5 * 0.8 * 0.9, 0.5, 0.0])]


def test_any_click_of_one_hint_is_its_own_and_of_more_than_there_are_that_of_all() -> None:
    lists, click = torch.tensor([[[0, 1]]]), torch.tensor([[[0.25, 0.5]]])
    assert float(any_click_reward(lists, click, 1)) == pytest.approx(0.25)
    assert float(any_click_reward(lists, click, 9)) == pytest.approx(1 - 0.75 * 0.5)


def test_a_sure_click_is_one_and_a_chance_out_of_range_counts_as_its_end() -> None:
    lists = torch.tensor([[[0, 1], [0, 1], [0, -1]]])
    click = torch.tensor([[[1.0, 0.3], [1.5, -0.5], [-0.5, float("nan")]]])
    assert any_click_reward(lists, click, 3).tolist() == [[1.0, 1.0, 0.0]]


def test_any_click_is_the_same_in_whatever_order_hints_are_shown() -> None:
    click = torch.tensor([[[0.1, 0.4, 0.2], [0.4, 0.2, 0.1]]])
    first, second = any_click_reward(torch.tensor([[[0, 1, 2], [1, 2, 0]]]), click, 3)[0].tolist()
    assert first == pytest.approx(second)


def test_any_click_with_a_weight_wants_click_probabilities_and_is_added() -> None:
    config, lists = GrpoConfig(w_any_click=0.5), torch.tensor([[[0, 3]]])
    with pytest.raises(TrainingError, match="w_any_click"):
        sequence_parts(lists, tables(), config)
    parts = sequence_parts(lists, tables(), config, click=torch.tensor([[[0.5, 0.5]]]))
    assert float(sequence_rewards(parts, config)) == pytest.approx(0.5 * 0.75)


def test_sums_are_clipped_on_both_sides() -> None:
    config = GrpoConfig(gamma=100.0, beta=50.0, w_rouge=0.0, w_length=0.0)
    parts = {"ctr": torch.tensor([[[50.0, -50.0, 3.0]]])}
    assert query_rewards(parts, config).tolist() == [[[10.0, -10.0, 3.0]]]
    lists = torch.tensor([[[-1, -1]]])
    config = GrpoConfig(reward_clip=0.25)
    assert float(sequence_rewards(sequence_parts(lists, tables(), config), config)) == -0.25


def test_novelty_with_a_weight_wants_to_know_what_is_owned() -> None:
    lists, click = torch.tensor([[[0]]]), torch.zeros(1, 1, 1)
    with pytest.raises(TrainingError, match="w_novelty"):
        query_parts(lists, click, torch.tensor([[0]]), tables(), GrpoConfig(w_novelty=1.0))


LISTS = st.lists(st.lists(st.integers(-1, 3), min_size=4, max_size=4), min_size=1, max_size=5)


@given(LISTS)
def test_rewards_of_lists_stay_in_their_ranges(lists: list[list[int]]) -> None:
    hints: Tensor = torch.tensor([lists])
    bounds = {"format": (-1, 0), "repetition": (-0.75, 0), "coverage": (0, 1), "any_click": (0, 1)}
    config, click = GrpoConfig(w_coverage=1.0, w_any_click=1.0), torch.full(hints.shape, 0.3)
    for name, part in sequence_parts(hints, tables(), config, click=click).items():
        low, high = bounds[name]
        assert part.shape == hints.shape[:2]
        assert bool(((part >= low - 1e-6) & (part <= high + 1e-6)).all()), name


def test_the_best_reward_of_a_hint_is_reached_by_the_reference_that_is_surely_clicked() -> None:
    config = GrpoConfig(w_novelty=0.2)
    lists, owned = torch.tensor([[[2]]]), torch.zeros(1, 4, dtype=torch.bool)
    parts = query_parts(lists, torch.ones(1, 1, 1), torch.tensor([[2]]), tables(), config, owned)
    assert float(query_rewards(parts, config)) == pytest.approx(config.best_query_reward)
