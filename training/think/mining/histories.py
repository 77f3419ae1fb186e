"""Histories: what shoppers did in the four weeks before they came again, without who they are.

A history ends just before a basket of its household, so "2 days ago" means what it will mean when a mapping
is made: before the next visit. What the household bought from then on, for N days, is kept beside it as the
truth; both lie inside the part's span, so nothing looks ahead of it. Order within a basket is not known; it
is mixed, in every reading alike.
"""

from __future__ import annotations

import random
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import groupby
from typing import Final, NamedTuple

import polars as pl

from agents.session.interest import ACTION_CODES
from streams.errors import DatasetError
from streams.records import Action
from training.datasets.complete_journey import Span
from training.datasets.dataset import Dataset
from training.datasets.dataset_config import PARTS
from training.datasets.teachable import few_users, k_of
from training.think.mining.occasions import DAY_MS, NO_BASKET
from training.think.points import TEXT_MAX, History, HistoryLine

LINES: Final = 32
DAYS_BACK: Final = 28
NAME_LABEL: Final = "aigq-think-history"


@dataclass(frozen=True, slots=True)
class Case:
    """A history and what followed it. bought: (phrase, whole days after the history's time), in order of
    time; `household_id` never leaves mining."""

    history: History
    household_id: int
    bought: tuple[tuple[str, int], ...]


class _Line(NamedTuple):
    at_ms: int
    basket_id: int
    action: str
    text: str
    category: str


def histories(data: Dataset, part: str, count: int, seed: int) -> list[History]:
    """`count` histories of "train", "validate" or "test", fewer if there are no more. Raises DatasetError."""
    return [case.history for case in cases(data, part, count, seed)]


def cases(data: Dataset, part: str, count: int, seed: int, *, days: int = 7) -> list[Case]:
    """Histories with what followed within `days`; drawn at random, the same for the same seed.

    Raises DatasetError for an unknown part.
    """
    if part not in PARTS:
        raise DatasetError(f"There is no part {part!r}.", action=f"Take one of {', '.join(PARTS)}.")
    span = data.split[PARTS.index(part)]
    moments = _moments(data.purchases, span, days)
    chance = random.Random(f"{seed}:histories:{part}")  # noqa: S311 - a sample, no secret
    chosen = chance.sample(moments, min(count, len(moments)))
    wanted: dict[int, list[int]] = {}
    for household_id, time_ms in chosen:
        wanted.setdefault(household_id, []).append(time_ms)
    found: dict[tuple[int, int], Case] = {}
    for household_id, lines in _household_lines(data, span.end_ms, wanted, rare_texts(data)):
        for time_ms in wanted[household_id]:
            found[household_id, time_ms] = _case(household_id, time_ms, lines, days)
    return [found[moment] for moment in chosen]


def rare_texts(data: Dataset) -> frozenset[str]:
    """Texts of too few people, in the training span, to be told to a reasoner."""
    learnt = pl.col("time_ms") < data.split.train.end_ms
    behaviours = None if data.behaviours is None else data.behaviours.filter(learnt)
    return few_users(data.purchases.filter(learnt), behaviours, k_of(data.about))


def _moments(purchases: pl.DataFrame, span: Span, days: int) -> list[tuple[int, int]]:
    """(household, time) of baskets in the span that a basket of the last weeks came before; in order."""
    last_ms = span.end_ms - days * DAY_MS
    moments = purchases.select("household_id", "time_ms").unique().sort("household_id", "time_ms")
    gap = pl.col("time_ms").diff().over("household_id")
    chosen = moments.filter(
        (gap <= DAYS_BACK * DAY_MS), pl.col("time_ms").is_between(span.start_ms, last_ms, closed="left")
    )
    return [(int(household), int(time_ms)) for household, time_ms in chosen.iter_rows()]


def _household_lines(
    data: Dataset, end_ms: int, wanted: dict[int, list[int]], rare: frozenset[str]
) -> Iterator[tuple[int, list[_Line]]]:
    """Each wanted household's lines before `end_ms`, oldest first; without rare texts."""
    chosen = pl.col("household_id").is_in(list(wanted)) & (pl.col("time_ms") < end_ms)
    columns = ("household_id", "time_ms", "basket_id", "action", "text", "category")
    bought = data.purchases.filter(chosen, pl.col("phrase") != "").select(
        "household_id",
        "time_ms",
        "basket_id",
        action=pl.lit(str(Action.PURCHASE)),
        text="phrase",
        category="category_phrase",
    )
    lines = pl.concat([bought, _searches(data.behaviours, chosen, end_ms)])
    lines = lines.filter(~pl.col("text").is_in(list(rare)))
    rows = lines.unique(["household_id", "time_ms", "basket_id", "action", "text"], keep="any")
    ordered = rows.select(columns).sort(columns[:5])
    for household_id, own in groupby(ordered.iter_rows(), key=lambda row: int(row[0])):
        yield household_id, sorted((_Line(*row[1:]) for row in own), key=_order)


def _searches(behaviours: pl.DataFrame | None, chosen: pl.Expr, end_ms: int) -> pl.DataFrame:
    """A log's own, each at its own time."""
    if behaviours is None:
        return pl.DataFrame(schema=_SEARCHES)
    searched = (pl.col("action") == ACTION_CODES[Action.SEARCH]) & (pl.col("at_ms") < end_ms)
    return behaviours.filter(chosen, searched, pl.col("text") != "").select(
        "household_id",
        time_ms="at_ms",
        basket_id=pl.lit(NO_BASKET, pl.Int64),
        action=pl.lit(str(Action.SEARCH)),
        text="text",
        category=pl.lit(""),
    )


def _order(line: _Line) -> tuple[int, int, int]:
    return line.at_ms, line.basket_id, zlib.crc32(f"{line.basket_id} {line.text}".encode())


def _case(household_id: int, time_ms: int, lines: Sequence[_Line], days: int) -> Case:
    begin_ms, end_ms = time_ms - DAYS_BACK * DAY_MS, time_ms + days * DAY_MS
    past = [line for line in lines if begin_ms <= line.at_ms < time_ms][::-1][:LINES]
    ahead = [line for line in lines if time_ms <= line.at_ms < end_ms and line.action == Action.PURCHASE]
    name = sha256(f"{NAME_LABEL}:{household_id}:{time_ms}".encode()).hexdigest()[:16]
    history = History(
        name=name,
        as_of_ms=time_ms,
        lines=tuple(
            HistoryLine(
                index=place,
                days_ago=(time_ms - line.at_ms) // DAY_MS,
                action="search" if line.action == Action.SEARCH else "purchase",
                text=line.text[:TEXT_MAX],
                category=line.category,
            )
            for place, line in enumerate(past, 1)
        ),
    )
    bought = tuple((line.text[:TEXT_MAX], (line.at_ms - time_ms) // DAY_MS) for line in ahead)
    return Case(history, household_id, bought)


_SEARCHES: Final = {
    "household_id": pl.Int64,
    "time_ms": pl.Int64,
    "basket_id": pl.Int64,
    "action": pl.String,
    "text": pl.String,
    "category": pl.String,
}
