"""Any shop's event log becomes purchases and impressions; what is no use is counted, never an error."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import orjson
import polars as pl
import pytest
import zstandard

from agents.erasure.receipt import Receipt, sign, subject_of
from streams.errors import DatasetError
from streams.signatures import create_signing_key
from tests.logs import CLEAN, FOREIGN, write_jsonl
from tests.support import DAY_MS, LATER_MS, NOON_MS, event_json
from training.datasets.complete_journey import VALIDATE, Span, load_purchases
from training.datasets.erased_people import read_erased
from training.datasets.events import write_event_log
from training.datasets.shop_log import ShopLog, read_shop_log

MINUTE_MS = 60_000


def purchase(text: str, minute: float = 0, user: str = "u1", **fields: Any) -> dict[str, Any]:
    return event_json("purchase", text, NOON_MS + int(minute * MINUTE_MS), user, **fields)


def impression(*queries: str, minute: float = 0, user: str = "u1", **fields: Any) -> dict[str, Any]:
    shown = {"objects": [{"title": query} for query in queries]}
    at_ms = NOON_MS + int(minute * MINUTE_MS)
    return event_json("hint_impression", "", at_ms, user, event_attributes=shown, **fields)


def click(query: str, minute: float = 0, user: str = "u1", **fields: Any) -> dict[str, Any]:
    return event_json("hint_click", query, NOON_MS + int(minute * MINUTE_MS), user, **fields)


@pytest.fixture
def read(tmp_path: Path) -> Any:
    def reading(*events: dict[str, Any] | bytes) -> ShopLog:
        return read_shop_log(write_jsonl(tmp_path / "log.jsonl", events), now_ms=LATER_MS)

    return reading


def test_a_log_made_of_real_baskets_gives_them_back(tmp_path: Path) -> None:
    purchases = load_purchases(Span(VALIDATE.start_ms, VALIDATE.start_ms + DAY_MS))
    write_event_log(tmp_path / "log.jsonl.zst", purchases, seed=0)
    found = read_shop_log(tmp_path / "log.jsonl.zst")
    assert found.purchases.schema == purchases.schema
    names = pl.Series("household", [f"hh-{household}" for household in purchases["household_id"]])
    household = pl.Series("household", found.people).gather(found.purchases["household_id"])
    kept = ["household", "time_ms", "type_id", "phrase", "category_phrase"]
    expected = purchases.with_columns(names).select(kept).sort(kept)
    assert found.purchases.with_columns(household).select(kept).sort(kept).equals(expected)
    baskets = found.purchases.group_by("basket_id").agg(pl.len()).sort("len")["len"]
    assert baskets.equals(purchases.group_by("basket_id").agg(pl.len()).sort("len")["len"])
    assert found.purchases["basket_id"].max() == len(baskets) - 1


def test_people_and_baskets_are_numbered_as_they_appear(read: Any) -> None:
    found = read(purchase("tea", 90, "u2"), purchase("milk", 1), purchase("eggs", 2), purchase("milk", 500))
    assert found.people == ["u1", "u2"]
    assert found.purchases.select("household_id", "basket_id", "phrase").rows() == [
        (0, 0, "eggs"),
        (0, 0, "milk"),
        (0, 2, "milk"),
        (1, 1, "tea"),
    ]
    assert found.purchases["time_ms"].to_list()[:2] == [NOON_MS + MINUTE_MS] * 2


def test_sessions_are_baskets_and_a_long_pause_ends_one(read: Any) -> None:
    found = read(
        purchase("milk", 0, session_id="a"),
        purchase("eggs", 1, session_id="b"),
        purchase("beer", 30, session_id="a"),  # half an hour is no pause
        purchase("soap", 61, session_id="a"),
    )
    baskets = dict(found.purchases.select("phrase", "basket_id").iter_rows())
    assert baskets == {"milk": 0, "beer": 0, "eggs": 1, "soap": 2}


def test_two_people_never_share_a_basket(read: Any) -> None:
    found = read(purchase("milk", session_id="a"), purchase("eggs", user="u2", session_id="a"))
    assert found.purchases["basket_id"].to_list() == [0, 1]


def test_a_type_stands_once_a_basket(read: Any) -> None:
    thing = {"object": {"object_id": "7", "title": " Whole MILK ", "category": "Dairy", "price": 1.25}}
    other = {"object": {"object_id": "7", "title": "Milk, whole", "price": 1.0}}
    found = read(purchase("", 0, event_attributes=thing), purchase("", 1, event_attributes=other))
    assert found.purchases.rows() == [(0, 0, NOON_MS, "7", "whole milk", "dairy", 2, 2.25)]


def test_a_purchase_without_a_title_goes_by_its_category(read: Any) -> None:
    found = read(purchase("", event_attributes={"object": {"category": "Fine\x00Teas\x00"}}))
    assert found.purchases.select("type_id", "phrase", "sales_value").rows() == [
        ("fine teas", "fine teas", 0.0)
    ]


def test_long_titles_are_cut_as_a_sessions_window_cuts_them(read: Any) -> None:
    found = read(purchase("", event_attributes={"object": {"title": "ü" * 300}}))
    assert found.purchases["phrase"][0] == "ü" * 40


def test_the_format_and_the_order_of_the_log_do_not_matter(tmp_path: Path) -> None:
    chance = random.Random(0)
    events = [
        purchase(chance.choice("abcdef"), number * 7, f"u{number % 5}", session_id=f"s{number // 10}")
        for number in range(300)
    ]
    plain = write_jsonl(tmp_path / "plain", events)
    shuffled = write_jsonl(tmp_path / "shuffled", chance.sample(events, len(events)))
    packed = tmp_path / "packed"
    packed.write_bytes(zstandard.ZstdCompressor().compress(plain.read_bytes()))
    pl.DataFrame({"value": [orjson.dumps(event) for event in events]}).write_parquet(tmp_path / "columns")
    expected = read_shop_log(plain)
    for other in (shuffled, packed, tmp_path / "columns"):
        found = read_shop_log(other)
        assert found.people == expected.people
        assert found.purchases.equals(expected.purchases)


def test_what_cannot_be_used_is_counted_by_reason(read: Any) -> None:
    found = read(
        b"{",
        b'{"action_name": "purchase", "timestamp": 1512129600000}',
        purchase("milk", event_id="e1"),
        purchase("milk", event_id="e1"),
        purchase("", 1),
        {**purchase("tea"), "timestamp": LATER_MS + DAY_MS},
        event_json("teleport", "x"),
        event_json("view", "x"),
        click("milk", 2),
        impression("", minute=3),
    )
    assert found.use.records == 10
    assert found.use.actions == {
        "purchase": 2,
        "teleport": 1,
        "view": 1,
        "hint_click": 1,
        "hint_impression": 1,
    }
    assert found.use.unused == {
        "not_json": 1,
        "no_person": 1,
        "duplicate": 1,
        "purchase_without_text": 1,
        "timestamp_in_future": 1,
        "click_without_impression": 1,
        "hint_without_text": 1,
    }
    assert found.purchases["phrase"].to_list() == ["milk"]


@pytest.mark.parametrize("log", [FOREIGN, CLEAN])
def test_logs_of_other_shops_are_read_or_refused_with_what_to_do(log: Path) -> None:
    try:
        found = read_shop_log(log)
    except DatasetError as error:
        assert "no purchase" in error.message
        assert "purchase" in error.action
    else:
        assert found.purchases.height


def test_a_log_without_purchases_is_refused(read: Any) -> None:
    with pytest.raises(DatasetError, match=r"no purchase that can be used.*3 records"):
        read(event_json("view", "tea"), event_json("click", "tea"), b"?")


def test_hints_get_their_clicks_and_the_basket_that_follows(read: Any) -> None:
    found = read(
        impression("Milk", "tea", "soap", minute=0),
        click("milk ", 1),
        purchase("milk", 5),
        impression("milk", minute=6),  # no basket follows
        impression("tea", minute=0, user="u2"),
        purchase("tea", 2 * 24 * 60, "u2"),  # too late for it
    )
    assert dict(found.impressions.schema) == {
        "household_id": pl.Int64,
        "basket_id": pl.Int64,
        "time_ms": pl.Int64,
        "task": pl.Int64,
        "position": pl.Int64,
        "query": pl.String,
        "clicked": pl.Boolean,
        "propensity": pl.Float64,
    }
    rows = (
        found.impressions.sort("household_id", "time_ms", "position")
        .drop("time_ms", "task", "propensity")
        .rows()
    )
    assert rows == [
        (0, 0, 0, "milk", True),
        (0, 0, 1, "tea", False),
        (0, 0, 2, "soap", False),
        (0, None, 0, "milk", False),
        (1, None, 0, "tea", False),
    ]
    assert found.impressions["propensity"].null_count() == 5


def test_a_click_counts_for_the_latest_impression_before_it(read: Any) -> None:
    found = read(
        *(impression("milk", minute=minute) for minute in (0, 10, 20)),
        click("milk", 15),
        click("milk", 16),
        purchase("milk", 30),
    )
    assert found.impressions["clicked"].to_list() == [False, True, False]


def test_one_hint_an_event_with_its_position(read: Any) -> None:
    where = {"object": {"title": "tea"}, "position": {"ordinal": 3}}
    nowhere = {"object": {"title": "soap"}}
    at = [event_json("hint_impression", "", NOON_MS, event_attributes=one) for one in (where, nowhere)]
    found = read(*at, purchase("tea", 1))
    assert found.impressions.select("query", "position").rows() == [("tea", 2), ("soap", None)]


def test_consent_and_deletion_are_kept_to(read: Any) -> None:
    found = read(
        purchase("milk", 0),
        purchase("tea", 0, "u2"),
        impression("tea", minute=1, user="u2"),
        event_json("view", "x", NOON_MS + 2 * MINUTE_MS, consent=False),
        purchase("eggs", 3),
        purchase("beer", 4, consent=True),
        event_json("user_delete", "", NOON_MS + 5 * MINUTE_MS, "u2"),
        purchase("soap", 6, "u2"),
    )
    assert found.purchases["phrase"].to_list() == ["beer", "soap"]
    assert found.impressions.height == 0
    assert found.use.unused == {"consent_withdrawn": 2, "deleted": 2}


def test_people_whose_deletion_has_a_receipt_are_left_out_up_to_then(tmp_path: Path) -> None:
    log = write_jsonl(
        tmp_path / "log.jsonl", [purchase("milk", 0), purchase("tea", 0, "u2"), purchase("soap", 9)]
    )
    receipts = tmp_path / "receipts.jsonl"
    signed = sign(
        Receipt(
            subject=subject_of("u1"),
            deleted_ms=NOON_MS + 5 * MINUTE_MS,
            version="",
            completed_ms=0,
            topic_prefix="",
            stores=(),
        ),
        create_signing_key(tmp_path / "key"),
    )
    receipts.write_text(signed.model_dump_json())
    found = read_shop_log(log, now_ms=LATER_MS, erased=read_erased(receipts))
    assert sorted(found.purchases["phrase"].to_list()) == ["soap", "tea"]
    assert found.use.unused == {"deleted": 1}
    receipts.write_text(signed.model_copy(update={"deleted_ms": 0}).model_dump_json())
    with pytest.raises(DatasetError, match="signature"):
        read_erased(receipts)
