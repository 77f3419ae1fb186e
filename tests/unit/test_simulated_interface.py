"""Real baskets become events; what is simulated is marked, seeded and stays before the checkout."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import zstandard

from streams.records import Source, decode_event
from training.datasets.complete_journey import VALIDATE, Span, load_purchases
from training.datasets.events import (
    DEFAULT_INTERFACE,
    SimulatedInterface,
    events_of,
    take_baskets,
    write_event_log,
)

TWO_DAYS = Span(VALIDATE.start_ms, VALIDATE.start_ms + 2 * 86_400_000)


@pytest.fixture(scope="module")
def purchases() -> pl.DataFrame:
    return load_purchases(TWO_DAYS)


@pytest.fixture(scope="module")
def events(purchases: pl.DataFrame) -> list[dict[str, Any]]:
    return list(events_of(purchases, seed=7))


def of(events: list[dict[str, Any]], action: str) -> list[dict[str, Any]]:
    return [event for event in events if event["action_name"] == action]


def test_every_product_of_every_basket_is_purchased_once(
    purchases: pl.DataFrame, events: list[dict[str, Any]]
) -> None:
    sold = Counter(
        (f"hh-{household}", str(basket), type_id, phrase)
        for household, basket, type_id, phrase in purchases.select(
            "household_id", "basket_id", "type_id", "phrase"
        ).iter_rows()
    )
    sent = Counter(
        (
            event["user_id"],
            event["session_id"],
            event["event_attributes"]["object"]["object_id"],
            event["event_attributes"]["object"]["title"],
        )
        for event in of(events, "purchase")
    )
    assert sent == sold


def test_events_come_in_event_time_order_with_unique_ids(events: list[dict[str, Any]]) -> None:
    keys = [(event["timestamp"], event["event_id"]) for event in events]
    assert keys == sorted(keys)
    assert len({event["event_id"] for event in events}) == len(events)


def test_only_searches_are_simulated_and_they_say_so(events: list[dict[str, Any]]) -> None:
    assert all(event["event_attributes"] == {"simulated": True} for event in of(events, "search"))
    assert not any("simulated" in event["event_attributes"] for event in of(events, "purchase"))


def test_a_basket_starts_at_its_own_time_and_its_searches_stand_before_it(
    purchases: pl.DataFrame, events: list[dict[str, Any]]
) -> None:
    checkout = {str(basket): time for basket, time in purchases.select("basket_id", "time_ms").iter_rows()}
    first: dict[str, int] = {}
    for event in of(events, "purchase"):
        first.setdefault(event["session_id"], event["timestamp"])
    leads = [checkout[event["session_id"]] - event["timestamp"] for event in of(events, "search")]
    low, high = DEFAULT_INTERFACE.search_lead_ms
    assert first == checkout
    assert low <= min(leads) <= max(leads) < high


def test_about_the_documented_share_of_products_is_searched(
    purchases: pl.DataFrame, events: list[dict[str, Any]]
) -> None:
    assert 0.13 < len(of(events, "search")) / purchases.height < 0.17


def test_without_a_search_share_nothing_is_simulated_but_the_order(purchases: pl.DataFrame) -> None:
    quiet = SimulatedInterface(search_share=0.0)
    assert of(list(events_of(purchases, seed=7, interface=quiet)), "search") == []


def test_a_part_of_the_span_gives_the_same_events_for_its_baskets(
    purchases: pl.DataFrame, events: list[dict[str, Any]]
) -> None:
    basket = purchases["basket_id"][0]
    alone = list(events_of(purchases.filter(pl.col("basket_id") == basket), seed=7))
    assert alone == [event for event in events if event["session_id"] == str(basket)]


def test_the_same_seed_writes_the_same_bytes_and_another_seed_does_not(
    tmp_path: Path, purchases: pl.DataFrame
) -> None:
    first, second, other = (tmp_path / name for name in ("a.jsonl", "b.jsonl", "c.jsonl"))
    counts = write_event_log(first, purchases, seed=7)
    write_event_log(second, purchases.sample(fraction=1.0, shuffle=True, seed=1), seed=7)
    write_event_log(other, purchases, seed=8)
    assert first.read_bytes() == second.read_bytes() != other.read_bytes()
    assert counts.purchases == purchases.height


def test_a_compressed_log_holds_the_same_lines(tmp_path: Path, purchases: pl.DataFrame) -> None:
    plain, packed = tmp_path / "log.jsonl", tmp_path / "log.jsonl.zst"
    write_event_log(plain, purchases, seed=7)
    write_event_log(packed, purchases, seed=7)
    assert zstandard.ZstdDecompressor().decompressobj().decompress(packed.read_bytes()) == plain.read_bytes()


def test_every_line_of_a_log_is_an_event_of_the_contract(tmp_path: Path, purchases: pl.DataFrame) -> None:
    log = tmp_path / "log.jsonl"
    write_event_log(log, purchases, seed=7)
    lines = log.read_bytes().splitlines()
    decoded = [
        decode_event(line, {}, Source("log", 0, offset), now_ms=VALIDATE.end_ms)
        for offset, line in enumerate(lines)
    ]
    assert all(event.text and event.person.startswith("hh-") for event in decoded)


def test_taking_baskets_takes_whole_ones_until_both_minima_are_reached(purchases: pl.DataFrame) -> None:
    taken = take_baskets(purchases, purchases_min=500, households_min=100)
    whole = purchases.filter(pl.col("basket_id").is_in(taken["basket_id"].unique().implode()))
    assert taken.height == whole.height >= 500
    assert taken["household_id"].n_unique() >= 100
    assert take_baskets(purchases, purchases_min=10**9).height == purchases.height
