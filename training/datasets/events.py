"""Real baskets as shop events, with a small simulated interface around them.

What is real: who bought what, when, and what stood in one basket; each becomes a `purchase` event.
What is simulated, and seeded: the order and the seconds between the purchases of one basket (its lines
carry one time in the data), and the `search` events. A share of a basket's products is searched shortly
before the checkout, by the product's phrase; such an event says ``event_attributes.simulated: true``.

The first purchase of a basket carries the basket's own time, the others follow, so that whatever stands
strictly before that time is history. The simulated searches stand before it *because of* what is bought:
they must not count as history when a list for the basket itself is judged.

A basket's events depend on the seed and on the basket alone: any window of the year gives the same ones.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import IO, Any, NamedTuple

import orjson
import polars as pl
import zstandard

from training.datasets.complete_journey import REPORT, Span, load_purchases

APPLICATION = "complete-journey"
LOCALE = "en-US"
_EVENT_ORDER = ("time_ms", "household_id", "basket_id", "type_id")
_OBJECT_COLUMNS = ("type_id", "phrase", "category_phrase", "quantity", "sales_value")


@dataclass(frozen=True, slots=True)
class SimulatedInterface:
    """Everything that is made up, and how likely it is. Ours; the data has no such events.

    `search_share`: chance that a product of a basket is searched before it is bought.
    `search_lead_ms`: bounds of the uniform time from a search to the checkout.
    `purchase_gap_ms`: bounds of the uniform time between two purchases of one basket.
    """

    search_share: float = 0.15
    search_lead_ms: tuple[int, int] = (20_000, 300_000)
    purchase_gap_ms: tuple[int, int] = (2_000, 6_000)


DEFAULT_INTERFACE = SimulatedInterface()


class Bought(NamedTuple):
    """One product type of a basket; `place` counts the types of the basket by type_id, from 0."""

    place: int
    type_id: str
    phrase: str
    category_phrase: str
    quantity: int
    sales_value: float


class LogCounts(NamedTuple):
    """What an event log holds; times are epoch ms of its first and last event."""

    purchases: int
    searches: int
    households: int
    baskets: int
    first_ms: int
    last_ms: int


def events_of(
    purchases: pl.DataFrame, *, seed: int, interface: SimulatedInterface = DEFAULT_INTERFACE
) -> Iterator[dict[str, Any]]:
    """Events of the purchases (as `load_purchases` gives them), in order of (timestamp, event_id).

    Holds only the events of the next few minutes in memory.
    """
    waiting: list[tuple[int, str, dict[str, Any]]] = []
    for (time_ms, household_id, basket_id), bought in _baskets(purchases):
        yield from _pop_before(waiting, time_ms - interface.search_lead_ms[1])
        for event in basket_events(household_id, basket_id, time_ms, bought, seed=seed, interface=interface):
            heappush(waiting, (event["timestamp"], event["event_id"], event))
    while waiting:
        yield heappop(waiting)[2]


def basket_events(
    household_id: int,
    basket_id: int,
    time_ms: int,
    bought: list[Bought],
    *,
    seed: int,
    interface: SimulatedInterface = DEFAULT_INTERFACE,
) -> Iterator[dict[str, Any]]:
    """Searches and purchases of one basket, in no particular order; see SimulatedInterface."""
    chance = random.Random(f"{seed}:{basket_id}")  # noqa: S311 - a simulation, no secret
    person = {
        "user_id": f"hh-{household_id}",
        "session_id": str(basket_id),
        "application": APPLICATION,
        "locale": LOCALE,
    }
    searched = {item.phrase: item for item in bought if chance.random() < interface.search_share}
    for item in searched.values():
        moment = time_ms - _between(chance, interface.search_lead_ms)
        yield _search(f"cj-{basket_id}-{item.place}-search", moment, person, item)
    moment = time_ms
    for item in sorted(bought, key=lambda _: chance.random()):
        yield _purchase(f"cj-{basket_id}-{item.place}-purchase", moment, person, item)
        moment += _between(chance, interface.purchase_gap_ms)


def take_baskets(purchases: pl.DataFrame, *, purchases_min: int, households_min: int = 0) -> pl.DataFrame:
    """The earliest whole baskets that hold at least so many purchases and households.

    All of them when there are fewer.
    """
    ordered = purchases.sort(_EVENT_ORDER).with_columns(
        pl.int_range(1, pl.len() + 1).alias("purchases"),
        pl.col("household_id").is_first_distinct().cum_sum().alias("households"),
    )
    enough = ordered.filter(
        (pl.col("purchases") >= purchases_min) & (pl.col("households") >= households_min)
    ).head(1)
    last_ms = (enough if enough.height else ordered)["time_ms"].max()
    return ordered.filter(pl.col("time_ms") <= last_ms).drop("purchases", "households")


def write_event_log(path: Path, purchases: pl.DataFrame, *, seed: int) -> LogCounts:
    """One JSON event a line, in event-time order; compressed with zstd when the name ends in ``.zst``.

    The same purchases and seed give the same bytes. The file appears only when it is complete.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(path.name + ".part")
    times: list[int] = []
    searches = 0
    with ExitStack() as stack:
        sink = _open(unfinished, path.suffix == ".zst", stack)
        for event in events_of(purchases, seed=seed):
            sink.write(orjson.dumps(event, option=orjson.OPT_APPEND_NEWLINE))
            times.append(event["timestamp"])
            searches += event["action_name"] == "search"
    unfinished.replace(path)
    return LogCounts(
        purchases=len(times) - searches,
        searches=searches,
        households=purchases["household_id"].n_unique(),
        baskets=purchases["basket_id"].n_unique(),
        first_ms=times[0] if times else 0,
        last_ms=times[-1] if times else 0,
    )


def demo_purchases(
    *, span: Span = REPORT, purchases_min: int = 20_000, households_min: int = 500
) -> pl.DataFrame:
    """What the demo replays: the first days of December that hold enough purchases and households."""
    return take_baskets(load_purchases(span), purchases_min=purchases_min, households_min=households_min)


def _baskets(purchases: pl.DataFrame) -> Iterator[tuple[tuple[int, int, int], list[Bought]]]:
    rows = (
        purchases.sort(_EVENT_ORDER)
        .select("time_ms", "household_id", "basket_id", *_OBJECT_COLUMNS)
        .iter_rows()
    )
    for basket, lines in groupby(rows, key=itemgetter(0, 1, 2)):
        yield basket, [Bought(place, *line[3:]) for place, line in enumerate(lines)]


def _pop_before(waiting: list[tuple[int, str, dict[str, Any]]], moment_ms: int) -> Iterator[dict[str, Any]]:
    while waiting and waiting[0][0] < moment_ms:
        yield heappop(waiting)[2]


def _between(chance: random.Random, bounds: tuple[int, int]) -> int:
    low, high = bounds
    return low + int(chance.random() * (high - low))


def _search(event_id: str, timestamp: int, person: dict[str, str], item: Bought) -> dict[str, Any]:
    return {
        "action_name": "search",
        "timestamp": timestamp,
        "event_id": event_id,
        **person,
        "user_query": item.phrase,
        "event_attributes": {"simulated": True},
    }


def _purchase(event_id: str, timestamp: int, person: dict[str, str], item: Bought) -> dict[str, Any]:
    thing = {
        "object_id": item.type_id,
        "title": item.phrase,
        "category": item.category_phrase,
        "price": round(item.sales_value / max(item.quantity, 1), 2),
    }
    return {
        "action_name": "purchase",
        "timestamp": timestamp,
        "event_id": event_id,
        **person,
        "event_attributes": {"object": thing},
    }


def _open(path: Path, compressed: bool, stack: ExitStack) -> IO[bytes]:
    plain = stack.enter_context(path.open("wb"))
    if not compressed:
        return plain
    return stack.enter_context(zstandard.ZstdCompressor(level=9).stream_writer(plain))
