"""A list does not depend on what it is generated with, nor on who embedded the request."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from agents.hints.bundle import Bundle, load_bundle
from agents.hints.compose import compose
from agents.session.interest import Interest, InterestPolicy
from agents.session.rules import Rules
from agents.session.window import Window
from streams.hint_request import Behaviour, HintRequest, Version

COMMITTED = Path(__file__).resolve().parents[2] / "exported_models" / "complete-journey"
START_MS = 1_510_000_000_000
REQUESTS = 320


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return load_bundle(COMMITTED)


@pytest.fixture(scope="module")
def requests(bundle: Bundle) -> list[HintRequest]:
    """Shoppers with 0 to 60 behaviours over two months, some of another shop."""
    chance = np.random.default_rng(0)
    queries = list(bundle.lexicon)
    popularity = np.array(list(bundle.lexicon.values()), float)
    made = []
    for number in range(REQUESTS):
        interest = Interest.empty(bundle.encoder.dim)
        window = Window()
        for _ in range(number % 61):
            text = queries[chance.choice(len(queries), p=popularity / popularity.sum())]
            text = text if number % 10 else f"Foreign item {chance.integers(99)} 🍕"
            at_ms = START_MS + int(chance.integers(60 * 86_400_000))
            behaviour = Behaviour(int(chance.integers(1, 6)), at_ms, text)
            interest = interest.add(bundle.encoder.embed(text), behaviour.action, at_ms, InterestPolicy())
            window, _ = window.with_behaviour(behaviour) or (window, ())
        made.append(_request(bundle, number, interest, window.behaviours()))
    return made


def _request(bundle: Bundle, number: int, interest: Interest, window: tuple[Behaviour, ...]) -> HintRequest:
    vectors = [bundle.encoder.embed(behaviour.text) for behaviour in window]
    empty = np.zeros((0, bundle.encoder.dim), np.int8)
    return HintRequest(
        user=f"u{number}",
        version=Version(interest.at_ms or START_MS, number),
        reason="first",
        drift=1.0,
        encoder=bundle.encoder.name,
        behaviours=window,
        vectors=np.stack(vectors) if vectors else empty,
        interests=interest.unit(),
    )


def test_batch_1_equals_batch_32_to_the_last_digit(bundle: Bundle, requests: list[HintRequest]) -> None:
    alone = [bundle.generator.generate([request])[0] for request in requests]
    for size in (32, 7, REQUESTS):
        batched = []
        for start in range(0, REQUESTS, size):
            batched += bundle.generator.generate(requests[start : start + size])
        assert batched == alone


def test_the_graphs_own_numbers_are_the_same_in_every_batch(
    bundle: Bundle, requests: list[HintRequest]
) -> None:
    """The generator's, not only as rounded for the list: bit for bit."""
    own = [bundle.generator.own(request) for request in requests]
    alone = [bundle.generator.run(bundle.generator.contexts([request]))[1] for request in own]
    for size in (2, 8, 33):
        parts = [own[start : start + size] for start in range(0, REQUESTS, size)]
        scores = [bundle.generator.run(bundle.generator.contexts(part))[1] for part in parts]
        assert np.array_equal(np.concatenate(scores), np.concatenate(alone))


def test_whole_lists_are_the_same_in_every_batch(bundle: Bundle, requests: list[HintRequest]) -> None:
    """Filtered, ordered by the ranker, explained."""
    alone = [compose([request], bundle, generated_at_ms=0)[0] for request in requests]
    for size in (7, 32, REQUESTS):
        batched = []
        for start in range(0, REQUESTS, size):
            batched += compose(requests[start : start + size], bundle, generated_at_ms=0)
        assert batched == alone


def test_the_lists_differ_between_shoppers_and_are_full(bundle: Bundle, requests: list[HintRequest]) -> None:
    lists = bundle.generator.generate(requests)
    assert len({tuple(candidate.query for candidate in row) for row in lists}) > REQUESTS // 2
    assert min(len(row) for row in lists) >= 10
    for row in lists:
        assert len({candidate.query for candidate in row}) == len(row)


def test_a_request_of_another_encoder_is_embedded_anew(bundle: Bundle, requests: list[HintRequest]) -> None:
    # Up to 32 behaviours lie in the window, so the rebuilt interest is the whole one.
    own = [
        r for r in requests if 0 < len(r.behaviours) < 30 and sum(len(b.text) for b in r.behaviours) < 700
    ][:20]
    foreign = [
        replace(r, encoder="older", vectors=np.ones_like(r.vectors), interests=np.ones_like(r.interests))
        for r in own
    ]
    before = bundle.generator.reembedded
    again = bundle.generator.generate(foreign)
    assert bundle.generator.reembedded == before + len(own)
    rules = Rules(bundle.encoder, bundle.name)
    anew = [replace(r, interests=rules.of_all(reversed(r.behaviours)).unit()) for r in own]
    assert again == bundle.generator.generate(anew)
    for made, live in zip(anew, own, strict=True):  # the order of arrival may have rounded otherwise
        assert np.abs(made.interests.astype(int) - live.interests).max() <= 1


def test_a_foreign_requests_hints_are_ordered_and_explained_in_the_bundles_own_embedding(
    bundle: Bundle, requests: list[HintRequest]
) -> None:
    foreign = [
        replace(r, encoder="older", vectors=np.roll(r.vectors, 1, axis=1)) for r in requests if r.behaviours
    ][:40]
    by_itself = [bundle.generator.own(request) for request in foreign]
    made = compose(foreign, bundle, generated_at_ms=0)
    assert [one.hints.hints for one in made] == [
        one.hints.hints for one in compose(by_itself, bundle, generated_at_ms=0)
    ]
    texts = [{f"purchase: {b.text}" for b in r.behaviours if b.action == 5} for r in foreign]
    reasons = [
        (hint.query, hint.why)
        for one, mine in zip(made, texts, strict=True)
        for hint in one.hints.hints
        if f"purchase: {hint.query}" in mine
    ]
    assert len(reasons) > 20
    assert all(why.endswith(f": {query}") for query, why in reasons)


def test_nobody_asks_and_nothing_is_written(bundle: Bundle) -> None:
    assert bundle.generator.generate([]) == []


def test_contexts_that_only_fill_a_batch_up_change_no_list(
    bundle: Bundle, requests: list[HintRequest]
) -> None:
    """So batches of fixed sizes are possible, as CUDA graphs need them."""
    few = [bundle.generator.own(request) for request in requests[:5]]
    blank = replace(few[0], behaviours=(), vectors=few[0].vectors[:0], interests=0 * few[0].interests)
    filled = bundle.generator.write(bundle.generator.contexts([*few, *[blank] * 27]))
    assert filled[:5] == bundle.generator.write(bundle.generator.contexts(few))
