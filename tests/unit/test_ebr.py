"""The two-tower baseline: it learns what goes with what, each time the same, and keeps to a case's rules."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from agents.hints.context import HABITS, Contexts
from agents.session.window import WINDOW_LIMIT
from streams.errors import TrainingError
from training.evaluation.cases import Cases
from training.evaluation.ebr import TwoTower, batch_loss, ebr_arm, train_ebr
from training.sessions import NEXT, Sample, Samples

LEXICON = [("milk", 50), ("eggs", 40), ("bread", 30), ("beer", 20), ("tea", 10), ("soap", 5)]
SIZE, DIM, STEPS = len(LEXICON), 8, 60
QUERIES = np.eye(SIZE, DIM, dtype=np.float32)
COUNTS = [count for _, count in LEXICON]


def sample(*items: int) -> Sample:
    texts = frozenset(LEXICON[item][0] for item in items)
    return Sample(
        task=NEXT,
        household_id=1,
        basket_id=1,
        time_ms=0,
        items=items,
        habit=(0.0,) * len(items),
        texts=texts,
    )


def blank(count: int) -> Contexts:
    """Contexts of shoppers of whom nothing is known."""
    codes = np.zeros((3, count, WINDOW_LIMIT), np.int32)
    return Contexts(
        events=np.zeros((count, WINDOW_LIMIT, DIM), np.int8),
        actions=codes[0],
        ages=codes[1],
        repeats=codes[2],
        interests=np.zeros((count, 2, DIM), np.int8),
        habits=np.zeros((count, HABITS, 3), np.int16),
    )


def habitual(past: list[int], items: list[tuple[int, ...]]) -> Samples:
    """Shoppers who each came back to one query, and what they bought next."""
    contexts = blank(len(past))
    for row, query in enumerate(past):
        contexts.habits[row, 0] = (query + 1, 64, 80)
    return Samples([sample(*held) for held in items], contexts)


def looked(shown: list[int], items: list[tuple[int, ...]]) -> Samples:
    """Shoppers whose window holds one behaviour, the text of a query, and what they bought next."""
    contexts = blank(len(shown))
    contexts.actions[:, 0], contexts.ages[:, 0], contexts.repeats[:, 0] = 2, 3, 1
    contexts.events[np.arange(len(shown)), 0] = np.rint(127 * QUERIES[shown]).astype(np.int8)
    return Samples([sample(*held) for held in items], contexts)


def cases_of(rows: list[int], seen: set[str] | None = None, owned: set[str] | None = None) -> Cases:
    size = len(rows)
    return Cases(
        task="next_basket",
        rows=np.array(rows, np.int64),
        households=np.ones(size, np.int64),
        baskets=np.ones(size, np.int64),
        times_ms=np.zeros(size, np.int64),
        seen=[frozenset(seen or ())] * size,
        truths=[frozenset()] * size,
        owned=[frozenset(owned or ())] * size,
        new_truths=[frozenset()] * size,
        events=np.zeros(size, np.int64),
    )


PAST = [place % SIZE for place in range(60)]
SAMPLES = habitual(PAST, [((query + 1) % SIZE,) for query in PAST])


@pytest.fixture(scope="module")
def model() -> TwoTower:
    return train_ebr(SAMPLES, QUERIES, COUNTS, seed=0, steps=STEPS)


def test_it_learns_what_follows_a_habit(model: TwoTower) -> None:
    lists = ebr_arm(model, SAMPLES, LEXICON)(cases_of([0, 4, 5]), False)
    assert [listed[0] for listed in lists] == ["eggs", "soap", "milk"]
    assert all(sorted(listed) == sorted(query for query, _ in LEXICON) for listed in lists)


def test_it_learns_what_follows_a_behaviour_in_the_window() -> None:
    samples = looked(PAST, [((query + 2) % SIZE,) for query in PAST])
    learned = train_ebr(samples, QUERIES, COUNTS, seed=0, steps=STEPS)
    assert [listed[0] for listed in ebr_arm(learned, samples, LEXICON)(cases_of([0, 3]), False)] == [
        "bread",
        "soap",
    ]


def test_all_phrases_of_a_basket_are_targets() -> None:
    samples = habitual([0] * 40 + [5] * 40, [(2, 4)] * 40 + [(1,)] * 40)
    learned = train_ebr(samples, QUERIES, COUNTS, seed=0, steps=STEPS)
    lists = ebr_arm(learned, samples, LEXICON)(cases_of([0, 79]), False)
    assert set(lists[0][:2]) == {"bread", "tea"}
    assert lists[1][0] == "eggs"


def test_the_loss_by_hand() -> None:
    # Even scores over four queries: each phrase costs log 4, whatever the weights.
    assert float(batch_loss(torch.zeros(2, 4), [sample(0, 1), sample(2)])) == pytest.approx(np.log(4))
    # Basket (0, 1) weighs 1/√2 a phrase, basket (2) weighs 1; only the latter is foreseen.
    scores = torch.tensor([[0.0, 0.0, 0.0, 0.0], [0.0, 0.0, 50.0, 0.0]])
    expected = 2**0.5 * np.log(4) / (2**0.5 + 1)
    assert float(batch_loss(scores, [sample(0, 1), sample(2)])) == pytest.approx(expected)


def test_a_seed_gives_the_same_weights_each_time_and_leaves_torchs_own_alone() -> None:
    before = torch.random.get_rng_state()
    one, again, other = (train_ebr(SAMPLES, QUERIES, COUNTS, seed=seed, steps=3) for seed in (1, 1, 2))
    assert torch.equal(before, torch.random.get_rng_state())
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), again.parameters(), strict=True))
    assert not torch.equal(one.table.weight, other.table.weight)


def test_a_list_does_not_depend_on_the_other_cases(model: TwoTower) -> None:
    arm = ebr_arm(model, SAMPLES, LEXICON)
    together = arm(cases_of(list(range(30))), False)
    assert [arm(cases_of([row]), False)[0] for row in range(30)] == together


def test_seen_is_never_listed_and_novel_leaves_out_what_is_owned(model: TwoTower) -> None:
    arm = ebr_arm(model, SAMPLES, LEXICON)
    cases = cases_of([0], seen={"eggs"}, owned={"eggs", "milk", "caviar"})
    assert sorted(arm(cases, False)[0]) == ["beer", "bread", "milk", "soap", "tea"]
    assert sorted(arm(cases, True)[0]) == ["beer", "bread", "soap", "tea"]


def test_nobody_known_gets_finite_scores_and_gradients() -> None:
    fresh = TwoTower(torch.from_numpy(QUERIES), torch.tensor(COUNTS))
    batch_loss(fresh(blank(2)), [sample(0), sample(1)]).backward()
    for weights in fresh.parameters():
        assert weights.grad is None or torch.isfinite(weights.grad).all()


def test_popularity_is_where_an_untrained_model_begins() -> None:
    fresh = TwoTower(torch.from_numpy(QUERIES), torch.tensor(COUNTS))
    expected = np.log((1 + np.array(COUNTS)) / (1 + max(COUNTS)))
    assert fresh.bias.detach().numpy() == pytest.approx(expected, abs=1e-6)


def test_samples_without_a_known_query_teach_nothing() -> None:
    nothing = replace(SAMPLES, samples=[sample()] * len(SAMPLES))
    with pytest.raises(TrainingError, match="No sample holds a query"):
        train_ebr(nothing, QUERIES, COUNTS, seed=0, steps=1)
    some = replace(SAMPLES, samples=[sample(), *SAMPLES.samples[1:]])
    assert torch.isfinite(train_ebr(some, QUERIES, COUNTS, seed=0, steps=2).table.weight).all()


def test_a_lost_loss_is_an_error() -> None:
    with pytest.raises(TrainingError, match="not finite"):
        train_ebr(SAMPLES, np.full_like(QUERIES, np.nan), COUNTS, seed=0, steps=1)
