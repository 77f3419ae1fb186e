"""Each household's baskets in order of time, with the behaviours around them: simulated, or those of a log.

The Complete Journey knows a basket's time alone: the seconds within it and its searches are simulated
(training.datasets.events), and the whole basket is history as soon as its time is over. A log knows each
behaviour's own time (training.datasets.shop_frames says which searches are of which basket).
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Final, NamedTuple

import polars as pl

from agents.session.interest import ACTION_CODES
from agents.session.window import clip_text
from streams.hint_request import Behaviour
from streams.records import Action
from training.datasets.events import Bought, basket_events

NO_BASKET: Final = -1  # of searches that stand alone


class Basket(NamedTuple):
    """One basket of one household with its behaviours, each list in order of time. logged: they are a log's
    own. A logged search that belongs to no basket comes as one without purchases, number NO_BASKET."""

    basket_id: int
    time_ms: int
    searches: list[Behaviour]
    purchases: list[Behaviour]
    logged: bool = False


def household_baskets(purchases: pl.DataFrame, seed: int) -> Iterator[tuple[int, list[Basket]]]:
    """Each household's baskets in time order, with the events that training.datasets.events makes."""
    columns = ("household_id", "time_ms", "basket_id")
    rows = purchases.sort(*columns, "type_id").select(
        *columns, "type_id", "phrase", "category_phrase", "quantity", "sales_value"
    )
    for household_id, lines in groupby(rows.iter_rows(), key=lambda row: int(row[0])):
        baskets = []
        for (time_ms, basket_id), bought in groupby(lines, key=lambda row: (int(row[1]), int(row[2]))):
            things = [Bought(place, *row[3:]) for place, row in enumerate(bought)]
            baskets.append(_simulated(household_id, basket_id, time_ms, things, seed))
        yield household_id, baskets


def logged_baskets(behaviours: pl.DataFrame) -> Iterator[tuple[int, list[Basket]]]:
    """Each household's baskets in time order, of a log's `behaviours` (training.datasets.shop_log).

    What was bought in one moment has no order of its own; it is mixed, in every reading alike.
    """
    columns = ("household_id", "time_ms", "basket_id")
    rows = (
        behaviours.with_columns(pl.col("basket_id").fill_null(NO_BASKET))
        .sort(*columns, maintain_order=True)
        .select(*columns, "action", "at_ms", "text")
    )
    for household_id, lines in groupby(rows.iter_rows(), key=lambda row: int(row[0])):
        moments = groupby(lines, key=lambda row: (int(row[1]), int(row[2])))
        yield household_id, [_logged(basket_id, time_ms, events) for (time_ms, basket_id), events in moments]


def _simulated(household_id: int, basket_id: int, time_ms: int, bought: list[Bought], seed: int) -> Basket:
    searches, purchases = [], []
    for event in basket_events(household_id, basket_id, time_ms, bought, seed=seed):
        if event["action_name"] == Action.SEARCH:
            text = clip_text(event["user_query"])
            searches.append(Behaviour(ACTION_CODES[Action.SEARCH], event["timestamp"], text))
        else:
            text = clip_text(event["event_attributes"]["object"]["title"])
            purchases.append(Behaviour(ACTION_CODES[Action.PURCHASE], event["timestamp"], text))
    searches.sort(key=lambda behaviour: behaviour.at_ms)
    purchases.sort(key=lambda behaviour: behaviour.at_ms)
    return Basket(basket_id, time_ms, searches, purchases)


def _logged(basket_id: int, time_ms: int, rows: Iterable[tuple[int, int, int, int, int, str]]) -> Basket:
    behaviours = [Behaviour(int(action), int(at_ms), text) for *_, action, at_ms, text in rows]
    behaviours.sort(key=lambda one: (one.at_ms, zlib.crc32(f"{basket_id} {one.text}".encode())))
    searches = [one for one in behaviours if one.action == ACTION_CODES[Action.SEARCH]]
    purchases = [one for one in behaviours if one.action == ACTION_CODES[Action.PURCHASE]]
    return Basket(basket_id, time_ms, searches, purchases, logged=True)
