"""What each token of an output earns, by hand: triggers by Eq 16–17, queries by Eq 11, facts by truth."""

from __future__ import annotations

from math import sqrt

import pytest
import torch

from tests.think_network_world import BOOK, HISTORY, LEXICON, POINTS_OF_HISTORY
from training.grpo_config import GrpoConfig
from training.rewards import QueryTables, rouge_l_table
from training.think.network.advantages import token_advantages
from training.think.network.grammar import Grammar
from training.think.network.grpo import THINK_GRPO, grouped
from training.think.network.rewards import Rewards, rewards_of
from training.think.network.roles import ROLES, SLOTS, as_tensors
from training.think.network.serialise import read_tokens, tokens_of
from training.think.network.tokens import (
    ANSWER,
    ARROW,
    BEGIN,
    END,
    FIRST_QUERY,
    POINT,
    line_token,
    value_token,
)

SALSA, BEANS, CREAM, WIPES = (FIRST_QUERY + number for number in range(4))
SHELLS, AGAIN, DIAPERS, LIMES = (line_token(line) for line in (1, 3, 4, 5))
TRUE, FALSE = value_token("times", 2), value_token("times", 7)
REFERENCE = read_tokens(tokens_of(POINTS_OF_HISTORY, HISTORY, LEXICON), HISTORY, LEXICON)
# The reference is (1, 3, 5) → salsa, refried beans and (4) → baby wipes.
GOOD = [BEGIN, POINT, SHELLS, TRUE, SALSA, ANSWER, POINT, SHELLS, LIMES, ARROW, SALSA, BEANS, END]
POOR = [BEGIN, POINT, LIMES, SALSA, POINT, SHELLS, FALSE, CREAM]
POOR += [ANSWER, POINT, LIMES, ARROW, SALSA, POINT, SHELLS, ARROW, CREAM, END]
CONFIG = GrpoConfig(w_ctr=0, w_length=0, w_hit=1.0, w_rouge=0.3, sequence_weight=0.5, eps=1e-9)


def tables() -> QueryTables:
    words = [[number] for number in range(len(LEXICON.queries))]
    rouge = rouge_l_table(words)  # 1 with itself, else 0
    return QueryTables(rouge, rouge, torch.ones(len(words)).long(), torch.zeros(len(words)).long())


def judged(
    outputs: list[list[int]], config: GrpoConfig = CONFIG
) -> tuple[Rewards, torch.Tensor, torch.Tensor]:
    grammar = Grammar.of(HISTORY, LEXICON)
    assert all(grammar.accepts(output) for output in outputs)
    rollouts = grouped(outputs, [grammar], [HISTORY], LEXICON, len(outputs))
    rewards = rewards_of(rollouts, [HISTORY], [REFERENCE], LEXICON, tables(), BOOK, config)
    roles, slots = as_tensors([one.marks for one in rollouts[0]])
    return rewards, roles.unsqueeze(0), slots.unsqueeze(0)


def names_of(roles: torch.Tensor, row: int) -> list[str]:
    return [ROLES[role] for role in roles[0, row].tolist() if role >= 0]


def test_each_token_is_marked_with_its_part_and_slot() -> None:
    _, roles, slots = judged([GOOD, POOR])
    assert names_of(roles, 0) == [
        *("structure", "told_line", "fact", "told_query", "structure"),
        *("structure", "trigger", "trigger", "trigger", "query", "query", "structure"),
    ]
    assert slots[0, 0, :12].tolist() == [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0]
    second = [slot for slot, role in zip(slots[0, 1].tolist(), roles[0, 1].tolist(), strict=True) if role > 0]
    assert second == [0, 0, 2, 7, 1, 0, 0, 0, 1, 1, 10]


def test_rewards_are_those_worked_out_by_hand() -> None:
    rewards, _, _ = judged([GOOD, POOR])
    own = rewards.slots
    # (1, 5) and (1, 3, 5): common 2 of 2 + 3. (5): common 1 of 1 + 3. (1) and (4): none.
    assert own["trigger"][0, 0, :2].tolist() == pytest.approx([2 * 2 / 5, 0])
    assert own["trigger"][0, 1, :2].tolist() == pytest.approx([2 * 1 / 4, 0])
    assert own["query"][0, 0, :2].tolist() == pytest.approx([1.3, 1.3])
    assert own["query"][0, 1, [0, 10]].tolist() == pytest.approx([1.3, 0])
    assert own["told_query"][0, :, :2].flatten().tolist() == pytest.approx([1.3, 0, 1.3, 0])
    assert own["told_line"][0, :, [0, 2]].tolist() == [[1, 0], [1, 0]]
    assert own["fact"][0, 0, 0] == 1 and own["fact"][0, 1, 7] == 0
    # One point for two, two queries for three; two points, but again two queries.
    assert rewards.sequence[0].tolist() == pytest.approx([-1 / 8 - 1 / 3, -1 / 3])


def test_trigger_tokens_get_their_own_advantage_and_nothing_else() -> None:
    rewards, roles, slots = judged([GOOD, POOR])
    found = token_advantages(roles, slots, rewards, CONFIG)
    # 0.8 and 0.5: ± 0.15 of 0.15. Lines and arrow of one T_k alike.
    assert found[0, 0, 6:9].tolist() == pytest.approx([1, 1, 1], abs=1e-3)
    assert found[0, 1, 9:11].tolist() == pytest.approx([-1, -1], abs=1e-3)


def test_a_slot_that_one_output_alone_has_teaches_no_part_of_it() -> None:
    rewards, roles, slots = judged([GOOD, POOR])
    found = token_advantages(roles, slots, rewards, CONFIG)
    assert found[0, 1, 13:15].tolist() == [0, 0]  # T_2: the other output has no second point
    assert found[0, 0, 2] == 0 and found[0, 1, 5] == 0  # facts in slots of their own


def test_query_tokens_get_their_slot_and_a_share_of_the_sequence() -> None:
    rewards, roles, slots = judged([GOOD, POOR])
    found = token_advantages(roles, slots, rewards, CONFIG)
    # All of slot (1, 1) earn alike, so λ = 0.5 of the sequence's −1 and +1 is left.
    assert found[0, 0, 9] == pytest.approx(-0.5, abs=1e-3)
    assert found[0, 1, 11] == pytest.approx(0.5, abs=1e-3)
    assert found[0, 0, 3] == pytest.approx(-0.5, abs=1e-3)  # the told query


def test_structure_gets_the_sequences_advantage() -> None:
    rewards, roles, slots = judged([GOOD, POOR])
    found = token_advantages(roles, slots, rewards, CONFIG)
    assert found[0, 0, [0, 4, 5, 11]].tolist() == pytest.approx([-1] * 4, abs=1e-3)


def test_a_true_fact_is_better_than_a_false_one_in_the_same_slot() -> None:
    false = [FALSE if token == TRUE else token for token in GOOD]
    rewards, roles, slots = judged([GOOD, false, false, false])
    found = token_advantages(roles, slots, rewards, CONFIG)
    deviation = sqrt(3) / 4
    assert found[0, :, 2].tolist() == pytest.approx([0.75 / deviation, *[-0.25 / deviation] * 3], abs=1e-3)


def test_advantages_are_clipped_and_nothing_stands_behind_an_end() -> None:
    rewards, roles, slots = judged([GOOD, POOR, *[GOOD] * 8])
    found = token_advantages(roles, slots, rewards, THINK_GRPO)
    assert found.abs().max() <= THINK_GRPO.advantage_clip
    assert found[0, 0, len(GOOD) - 1 :].tolist() == [0] * (len(POOR) - len(GOOD))


def test_slots_are_as_many_as_an_output_may_fill() -> None:
    assert SLOTS == {
        "structure": 1, "trigger": 8, "told_line": 16, "query": 80, "told_query": 8, "fact": 56
    }  # fmt: skip
