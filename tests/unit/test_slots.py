"""Slots side by side: the probability of a list by enumeration, greedy and drawn lists without repeats."""

from __future__ import annotations

import math
from collections import Counter
from itertools import permutations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from training.network import HIDDEN, Shape
from training.slots import SlotDecoder, greedy, list_log_probs, only_top, sampled

SLOTS, QUERIES = 3, 5
EVERY = [list(order) for order in permutations(range(QUERIES), SLOTS)]  # all 60 lists
seeds = st.integers(0, 2**31)


def logits_of(seed: int, rows: int = 1, slots: int = SLOTS, queries: int = QUERIES) -> Tensor:
    """Random logits (B, K, V)."""
    return torch.randn(rows, slots, queries, generator=torch.Generator().manual_seed(seed))


def draws(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def enumerated(logits: Tensor, queries: list[int]) -> tuple[list[float], list[float]]:
    """Log-probability and entropy of each choice, slot by slot, of what is left; logits (K, V)."""
    chances, entropies, gone = [], [], set()
    for slot, query in enumerate(queries):
        if query < 0:
            chances.append(0.0)
            entropies.append(0.0)
            continue
        weights = {q: math.exp(float(logits[slot, q])) for q in range(logits.shape[1]) if q not in gone}
        shares = {q: weight / sum(weights.values()) for q, weight in weights.items()}
        chances.append(math.log(shares[query]))
        entropies.append(-sum(share * math.log(share) for share in shares.values() if share > 0))
        gone.add(query)
    return chances, entropies


def policy(logits: Tensor) -> dict[tuple[int, ...], float]:
    """Probability of every whole list, by enumeration; logits (K, V)."""
    lists = permutations(range(logits.shape[1]), logits.shape[0])
    return {queries: math.exp(sum(enumerated(logits, list(queries))[0])) for queries in lists}


@given(seeds)
@settings(max_examples=15, deadline=None)
def test_a_list_is_as_likely_as_its_choices_one_after_the_other(seed: int) -> None:
    logits = logits_of(seed)
    logp, entropy = list_log_probs(logits, torch.tensor([EVERY]))
    for place, queries in enumerate(EVERY):
        chances, entropies = enumerated(logits[0], queries)
        assert logp[0, place].tolist() == pytest.approx(chances, abs=1e-4)
        assert entropy[0, place].tolist() == pytest.approx(entropies, abs=1e-4)


@given(seeds)
@settings(max_examples=15, deadline=None)
def test_the_probabilities_of_all_lists_sum_to_one(seed: int) -> None:
    logp, _ = list_log_probs(logits_of(seed), torch.tensor([EVERY]))
    assert float(logp.sum(-1).exp().sum()) == pytest.approx(1.0, abs=1e-5)


def test_missing_slots_say_nothing_and_close_nothing() -> None:
    logits = logits_of(1)
    lists = [[4, 2, -1], [3, -1, -1], [-1, -1, -1], [1, -1, 2]]
    logp, entropy = list_log_probs(logits, torch.tensor([lists]))
    for place, queries in enumerate(lists):
        chances, entropies = enumerated(logits[0], queries)
        assert logp[0, place].tolist() == pytest.approx(chances, abs=1e-5)
        assert entropy[0, place].tolist() == pytest.approx(entropies, abs=1e-5)
    assert not logp[0, 2].any()
    assert not entropy[0, 2].any()


def test_entropies_by_hand() -> None:
    alike = torch.zeros(1, SLOTS, QUERIES)
    _, entropy = list_log_probs(alike, torch.tensor([[[3, 0, 1]]]))
    assert entropy[0, 0].tolist() == pytest.approx([math.log(5), math.log(4), math.log(3)], abs=1e-5)
    halves = torch.tensor([[0.5, 0.25, 0.25]]).log().expand(1, 2, 3)  # after the first: two quarters
    logp, entropy = list_log_probs(halves, torch.tensor([[[0, 1]]]))
    assert entropy[0, 0].tolist() == pytest.approx([1.5 * math.log(2), math.log(2)], abs=1e-5)
    assert logp[0, 0].tolist() == pytest.approx([math.log(0.5)] * 2, abs=1e-5)


def test_each_context_and_each_list_is_judged_by_itself() -> None:
    logits = logits_of(2, rows=2)
    lists = torch.tensor([[[0, 1, 2], [4, 3, -1]], [[2, 1, 0], [3, 0, 4]]])
    together = list_log_probs(logits, lists)
    for row in range(2):
        for group in range(2):
            alone = list_log_probs(logits[row : row + 1], lists[row : row + 1, group : group + 1])
            for whole, part in zip(together, alone, strict=True):
                assert whole[row, group].tolist() == pytest.approx(part[0, 0].tolist(), abs=1e-6)


def test_closed_queries_take_no_part() -> None:
    logits = logits_of(3)
    closed = logits.clone()
    closed[:, :, 4] = HIDDEN
    lists = torch.tensor([[order for order in EVERY if 4 not in order]])
    logp, entropy = list_log_probs(closed, lists)
    fewer, their_entropy = list_log_probs(logits[:, :, :4], lists)
    assert torch.allclose(logp, fewer, atol=1e-5)
    assert torch.allclose(entropy, their_entropy, atol=1e-5)


def test_a_slot_whose_whole_probability_is_taken_stays_finite() -> None:
    logits = torch.tensor([[[60.0, 0.0, 0.0, 0.0, 0.0]] * SLOTS], requires_grad=True)
    logp, entropy = list_log_probs(logits, torch.tensor([[[0, 1, 2]]]))
    (logp.sum() + entropy.sum()).backward()
    assert logits.grad is not None
    assert bool(torch.isfinite(torch.cat([logp.flatten(), entropy.flatten(), logits.grad.flatten()])).all())


def test_a_sharp_policy_in_float64_is_judged_as_written_out() -> None:
    logits = torch.tensor([[[18.0, 4.0, 3.0, 1.0, 0.0]] * SLOTS], dtype=torch.float64)  # slot 2: 2e-6 is left
    logp, entropy = list_log_probs(logits, torch.tensor([[[0, 1, 2]]]))
    chances, entropies = enumerated(logits[0], [0, 1, 2])
    assert logp[0, 0].tolist() == pytest.approx(chances, abs=1e-6)
    assert entropy[0, 0].tolist() == pytest.approx(entropies, abs=1e-6)


@given(seeds)
@settings(max_examples=20, deadline=None)
def test_greedy_is_a_chain_of_best_choices(seed: int) -> None:
    logits = logits_of(seed, rows=2)
    queries, scores = greedy(logits, SLOTS)
    for row in range(2):
        chain: list[int] = []
        for slot in range(SLOTS):
            left = [query for query in range(QUERIES) if query not in chain]
            chain.append(max(left, key=lambda query: float(logits[row, slot, query])))
        assert queries[row].tolist() == chain
    logp, _ = list_log_probs(logits, queries.unsqueeze(1).to(torch.int64))
    assert torch.allclose(scores, logp.squeeze(1), atol=1e-4)
    assert queries.dtype == torch.int32


def test_beyond_the_slots_the_last_one_goes_on_until_nothing_is_left() -> None:
    logits = torch.tensor([[[0.0, 1.0, 2.0, 3.0], [3.0, 2.0, 1.0, 0.0]]])
    queries, scores = greedy(logits, 6)
    assert queries.tolist() == [[3, 0, 1, 2, -1, -1]]
    assert scores[0, 3:].tolist() == pytest.approx([0.0, 0.0, 0.0])  # the only one left; then none


def test_what_is_closed_is_not_written() -> None:
    logits = torch.full((1, 2, 3), HIDDEN)
    logits[0, :, 1] = 0.5
    queries, scores = greedy(logits, 2)
    assert queries.tolist() == [[1, -1]]
    assert scores.tolist() == [[0.0, 0.0]]


def test_what_cannot_be_chosen_counts_in_the_probabilities_alone() -> None:
    logits = logits_of(4, rows=2)
    rest = torch.tensor([[1.5], [-2.0]])
    queries, scores = greedy(logits, SLOTS, rest)
    alone, chances = greedy(logits, SLOTS)
    assert torch.equal(queries, alone)
    more = torch.cat([logits, rest.unsqueeze(1).expand(-1, SLOTS, -1)], -1)
    expected, _ = list_log_probs(more, queries.unsqueeze(1).to(torch.int64))
    assert torch.allclose(scores, expected.squeeze(1), atol=1e-5)
    assert (scores < chances).all()


def test_candidates_logits_are_those_of_the_whole_lexicon() -> None:
    torch.manual_seed(0)
    shape = Shape(dim=8, width=16, feed_forward=16, decoder_layers=2, hints=3)
    decoder = SlotDecoder(shape, torch.randn(9, 8))
    memory, bias, scores = torch.randn(2 * 4, 16), torch.zeros(2, 1, 1, 4), torch.randn(2, 9)
    wanted, candidates = scores.topk(5)
    among = decoder.among(memory, bias, wanted, candidates)
    every = decoder(memory, bias, scores)
    assert torch.allclose(among, every.gather(2, candidates.unsqueeze(1).expand(-1, 3, -1)), atol=1e-5)


@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_drawn_lists_follow_the_policy(temperature: float) -> None:
    logits, count = logits_of(5, slots=2, queries=4), 20_000
    lists = sampled(logits, count, temperature, QUERIES, draws())
    found = Counter(tuple(queries) for queries in lists[0].tolist())
    expected = {queries: count * share for queries, share in policy(logits[0] / temperature).items()}
    assert found.keys() <= expected.keys()
    squares = sum((found[queries] - wish) ** 2 / wish for queries, wish in expected.items())
    assert squares < 31.3  # chi-square, 11 degrees of freedom: beyond it 1 in 1,000


@given(seeds, st.integers(3, QUERIES))
@settings(max_examples=20, deadline=None)
def test_drawn_lists_hold_no_query_twice_and_only_the_top(seed: int, top_k: int) -> None:
    logits = logits_of(seed, rows=2)
    lists = sampled(logits, 16, 1.0, top_k, draws(seed))
    assert lists.shape == (2, 16, SLOTS)
    allowed = logits.topk(top_k).indices.tolist()
    for row in range(2):
        for queries in lists[row].tolist():
            assert len(set(queries)) == SLOTS
            assert all(query in allowed[row][slot] for slot, query in enumerate(queries))


def test_the_same_draws_give_the_same_lists() -> None:
    logits = logits_of(6)
    first, again, other = (sampled(logits, 50, 1.0, QUERIES, draws(seed)) for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_a_slot_none_of_whose_top_is_left_stays_empty() -> None:
    logits = torch.tensor([[[3.0, 0.0, 0.0], [3.0, 0.0, 0.0], [0.0, 0.0, 3.0]]])
    assert sampled(logits, 4, 1.0, 1, draws()).tolist() == [[[0, -1, 2]] * 4]


@pytest.mark.parametrize("temperature", [0.2, 1.0, 3.0])
def test_what_is_closed_is_not_drawn_at_any_temperature(temperature: float) -> None:
    closed = torch.full((1, 2, 3), HIDDEN)
    closed[0, :, 1] = 0.0
    assert sampled(closed, 4, temperature, 3, draws()).tolist() == [[[1, -1]] * 4]


def test_only_the_top_of_each_slot_stays_open() -> None:
    logits = torch.tensor([[[1.0, 3.0, 2.0], [0.0, -1.0, 5.0]]])
    assert only_top(logits, 2).tolist() == [[[HIDDEN, 3.0, 2.0], [0.0, HIDDEN, 5.0]]]
    assert torch.equal(only_top(logits, 3), logits)
    assert torch.equal(only_top(logits, 4), logits)


def test_what_is_drawn_has_the_probability_that_only_top_says() -> None:
    logits, count = logits_of(7, slots=2), 20_000
    top = only_top(logits, 3)
    found = Counter(tuple(queries) for queries in sampled(logits, count, 1.0, 3, draws())[0].tolist())
    lists = torch.tensor([[list(queries) for queries in found]])
    shares = list_log_probs(top, lists)[0].sum(-1).exp()[0].tolist()
    assert sum(shares) == pytest.approx(1.0, abs=1e-4)
    for (_, times), share in zip(found.items(), shares, strict=True):
        assert times / count == pytest.approx(share, abs=4 * math.sqrt(share / count) + 1e-4)


def test_slots_add_to_the_contexts_scores_whatever_the_batch() -> None:
    torch.manual_seed(0)
    shape = Shape(dim=6, width=8, heads=2, feed_forward=16, hints=SLOTS)
    decoder = SlotDecoder(shape, torch.nn.functional.normalize(torch.randn(QUERIES, 6)))
    memory, scores = torch.randn(2 * 4, 8), torch.randn(2, QUERIES)
    bias = torch.zeros(2, 1, 1, 4)
    with torch.no_grad():
        both = decoder(memory, bias, scores)
        first = decoder(memory[:4], bias[:1], scores[:1])
        decoder.norm.weight.zero_()
        unmoved = decoder(memory, bias, scores)
    assert both.shape == (2, SLOTS, QUERIES)
    assert torch.allclose(both[:1], first, atol=1e-6)
    assert not torch.allclose(both[:, 0], both[:, 1], atol=1e-6)
    assert torch.equal(unmoved, scores.unsqueeze(1).expand(-1, SLOTS, -1))
