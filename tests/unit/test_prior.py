"""The context's scores: two intensities added up, on weights that are set by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from agents.hints.context import AGE_STEPS, COUNT_STEPS, VISIT_AGE
from training.neighbours import NEIGHBOURS, Neighbours
from training.prior import FAINT, SHARE, QueryPrior, visit_facts

DIM = 2
BIAS = [0.0, -1.0, -2.0, -3.0]
POPULARITY = torch.tensor([3.0, 2.0, 1.0, 0.5])
MILK, EGGS, TEA, SOAP = range(4)


def plain() -> QueryPrior:
    """Four queries with their biases; nothing else says anything yet."""
    prior = QueryPrior(POPULARITY, DIM)
    with torch.no_grad():
        prior.bias.copy_(torch.tensor(BIAS))
        prior.verdict.weight.zero_()
        prior.verdict.bias.zero_()
    return prior


def near(prior: QueryPrior, query: int, *others: tuple[int, float]) -> None:
    """Give a query neighbours and their strengths."""
    with torch.no_grad():
        for place, (other, strength) in enumerate(others):
            prior.near[query + 1, place] = other
            prior.nearness[query + 1, place] = strength


def habits_of(*past: tuple[int, float, float], size: int = 6) -> Tensor:
    """(1, size, 3) of (query, count, hours since)."""
    rows = torch.zeros(1, size, 3, dtype=torch.int32)
    for place, (query, count, hours) in enumerate(past):
        codes = (query + 1, COUNT_STEPS * math.log2(1 + count), AGE_STEPS * math.log2(1 + hours))
        rows[0, place] = torch.tensor([round(code) for code in codes])
    return rows


def scores(
    prior: QueryPrior,
    past: Tensor | None = None,
    *,
    events: Tensor | None = None,
    actions: list[int] | None = None,
    ages: list[int] | None = None,
    interests: Tensor | None = None,
) -> list[float]:
    """Of one context."""
    length = len(actions or [0])
    with torch.no_grad():
        found: Tensor = prior(
            torch.zeros(1, length, DIM) if events is None else events.unsqueeze(0),
            torch.tensor([actions or [0]], dtype=torch.int32),
            torch.tensor([ages or [0]], dtype=torch.int32),
            torch.zeros(1, 2, DIM) if interests is None else interests.unsqueeze(0),
            habits_of() if past is None else past,
        )
    return found[0].tolist()


def intensities(wanted: list[float], along: list[float]) -> list[float]:
    """log(exp(wanted) + what goes along)."""
    pairs = zip(wanted, along, strict=True)
    return [math.log(math.exp(wish) + max(0.0, other) + FAINT) for wish, other in pairs]


def test_without_a_past_a_query_is_as_wanted_as_it_is_popular() -> None:
    assert scores(plain()) == pytest.approx(intensities(BIAS, [0.0] * 4), abs=1e-5)


def test_a_network_begins_with_popularity() -> None:
    expected = [math.log(math.exp(value - 3.0) + FAINT) for value in POPULARITY.tolist()]
    assert scores(QueryPrior(POPULARITY, DIM)) == pytest.approx(expected, abs=1e-5)


def test_habit_belongs_to_the_queries_of_the_past_alone() -> None:
    prior = plain()
    with torch.no_grad():
        prior.verdict.bias[0] = 1.5
    found = scores(prior, habits_of((EGGS, 3, 24), (SOAP, 1, 700)))
    assert found == pytest.approx(intensities([0.0, -1 + 1.5, -2.0, -3 + 1.5], [0.0] * 4), abs=1e-5)


def test_neighbours_raise_what_goes_with_the_past() -> None:
    prior = plain()
    near(prior, MILK, (TEA, 0.5), (SOAP, 0.25))
    near(prior, EGGS, (TEA, 1.0), (SOAP, -1.0))
    near(prior, SOAP, (MILK, 9.0))  # not of this past
    gate = math.log(2)  # softplus of 0
    found = scores(prior, habits_of((MILK, 1, 1), (EGGS, 1, 1)))
    along = [0.0, 0.0, gate * 1.5, gate * -0.75]  # a sum below 0 counts as 0
    assert found == pytest.approx(intensities(BIAS, along), abs=1e-5)


def test_the_gate_opens_with_its_output() -> None:
    prior = plain()
    near(prior, MILK, (TEA, 1.0))
    with torch.no_grad():
        prior.verdict.bias[1] = 2.0
    found = scores(prior, habits_of((MILK, 1, 1)))
    assert found[TEA] == pytest.approx(math.log(math.exp(-2) + math.log1p(math.exp(2)) + FAINT), abs=1e-5)


def test_the_past_is_a_set() -> None:
    prior = QueryPrior(POPULARITY, DIM)
    near(prior, MILK, (TEA, 1.0))
    past = [(MILK, 2.0, 5.0), (EGGS, 1.0, 50.0), (SOAP, 7.0, 500.0)]
    one, other = scores(prior, habits_of(*past)), scores(prior, habits_of(*reversed(past)))
    assert one == pytest.approx(other, abs=1e-6)


def test_habit_reads_count_and_age_of_its_own_query() -> None:
    torch.manual_seed(1)
    prior = QueryPrior(POPULARITY, DIM)
    before = scores(prior, habits_of((MILK, 4, 2), (EGGS, 1, 2)))
    older = scores(prior, habits_of((MILK, 4, 2), (EGGS, 1, 900)))
    assert [place for place in range(4) if older[place] != pytest.approx(before[place], abs=1e-6)] == [EGGS]
    rarer = scores(prior, habits_of((MILK, 4, 2), (EGGS, 0.2, 2)))
    assert rarer[EGGS] != pytest.approx(before[EGGS], abs=1e-4)
    assert rarer[TEA] == before[TEA]


@given(st.integers(0, 1000))
@settings(max_examples=10, deadline=None)
def test_padding_changes_nothing(seed: int) -> None:
    torch.manual_seed(seed)
    prior = QueryPrior(POPULARITY, DIM)
    with torch.no_grad():
        for values in prior.parameters():
            values.copy_(torch.randn(values.shape) * 0.3)
    events = torch.randn(2, DIM)
    past = [(MILK, 3.0, 2.0), (TEA, 1.0, 30.0)]
    whole = scores(prior, habits_of(*past, size=2), events=events, actions=[5, 1], ages=[2, 9])
    longer = torch.cat([events, torch.full((3, DIM), 7.0)])
    padded = scores(
        prior,
        habits_of(*past, size=9),
        events=longer,
        actions=[5, 1, 0, 0, 0],
        ages=[2, 9, 0, 0, 0],
    )
    assert padded == pytest.approx(whole, abs=1e-5)


def test_interests_and_window_by_hand() -> None:
    prior = plain()
    with torch.no_grad():
        prior.wishes.weight[TEA] = torch.tensor([0.0, 0.0, 2.0, 0.0])  # the shopper's interest
        prior.pooled.weight[EGGS] = torch.tensor([1.0, 0.0, 0.0, 0.0])  # the first sum
        prior.action.zero_()
        prior.age.zero_()
        prior.action[5, 0], prior.age[3, 0] = math.log(2), math.log(3)
    events = torch.tensor([[0.5, 9.0], [0.25, 9.0]])
    interests = torch.tensor([[9.0, 9.0], [0.5, 9.0]])
    found = scores(prior, events=events, actions=[5, 1], ages=[3, 20], interests=interests)
    wanted = [0.0, -1 + (2 * 3 * 0.5 + 0.25), -2 + 2 * 0.5, -3.0]
    assert found == pytest.approx(intensities(wanted, [0.0] * 4), abs=1e-5)


def test_facts_of_the_visit() -> None:
    ages = torch.tensor([[1, VISIT_AGE, VISIT_AGE + 1, 0], [VISIT_AGE + 1, 20, 0, 0], [0, 0, 0, 0]])
    assert visit_facts(ages)[0].tolist() == pytest.approx([1.0, 0.5 * math.log(3)])
    assert visit_facts(ages)[1:].tolist() == [[0.0, 0.0], [0.0, 0.0]]


def test_a_visit_under_way_is_added() -> None:
    prior = plain()
    with torch.no_grad():
        prior.visit.weight[TEA] = torch.tensor([1.0, 4.0])
    found = scores(prior, actions=[1], ages=[2])
    wanted = [0.0, -1.0, -2 + 1 + 4 * 0.5 * math.log(2), -3.0]
    assert found == pytest.approx(intensities(wanted, [0.0] * 4), abs=1e-5)


def test_it_begins_with_a_ridge_regression_and_the_neighbours() -> None:
    noise = np.random.default_rng(0)
    interests = noise.normal(size=(40, 2, DIM)).astype(np.float32)
    bought = (noise.random((40, 4)) < 0.4).astype(np.float32)
    found = Neighbours(
        np.array([[1, 2, 3], [0, 2, 3], [0, 1, 3], [0, 1, 2]]), noise.random((4, 3)).astype(np.float32)
    )
    prior = plain()
    prior.begin(interests, bought, found)
    flat = interests.reshape(40, -1).astype(np.float64)
    # A ridge regression is a plain one with a row sqrt(ridge) · 1 more for each input.
    more = np.vstack([flat, np.sqrt(1e-3 * 40) * np.eye(2 * DIM)])
    aims = np.vstack([bought - bought.mean(0), np.zeros((2 * DIM, 4))])
    solved, *_ = np.linalg.lstsq(more, aims, rcond=None)
    assert prior.wishes.weight.detach().numpy() == pytest.approx(SHARE * solved.T, abs=1e-4)
    assert prior.near.shape == prior.nearness.shape == (5, NEIGHBOURS)
    assert np.array_equal(prior.near[1:, :3], found.numbers)
    assert np.array_equal(prior.nearness[1:, :3].detach(), found.strengths)
    assert not prior.nearness[0].any()
    assert not prior.nearness[:, 3:].any()
