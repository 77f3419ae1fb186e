"""Any shop's event log as the frames that training works with: purchases, and hints with their clicks.

The columns are those of The Complete Journey, so that the same code trains on both:

- a household is a person (user_id, else client_id), numbered from 0 by first purchase or hint;
- a basket is what a person buys in one session without a pause of more than 30 minutes, numbered from 0.
  A session may live for months in some shops, and what is bought after a pause must not count as bought
  at the first purchase's time;
- a basket's time is that of its first purchase; what was bought before it is history;
- a phrase is the product's title, else its category, normalised (streams.query_text) and clipped as in a
  session's window; type_id is the object_id, else the phrase; quantity counts events, sales_value sums
  prices.

A hint belongs to the person's first basket that starts with it or within a day after it. It is clicked if a
hint_click of the person on the same query follows; of several impressions the latest is credited. A log
does not say how its hints were chosen: their propensity is null. Searches and views are counted, not used.

Records are taken in replay order (streams.replay_order). What cannot be used is counted by reason and never
an error: what is no event of the contract, duplicates by event_id, purchases and hints without a text,
clicks without an impression. Consent counts as in live sessions: after a withdrawal a person's events are
left out; so is all that stands before a `user_delete` of the person.
"""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final, NamedTuple

import polars as pl

from agents.feedback.join import join_feedback
from agents.session.window import clip_text
from streams.errors import DatasetError
from streams.hint_outcome import Outcome
from streams.query_text import normalise_query
from streams.record_log import local_log
from streams.records import Action, BehaviorEvent
from streams.replay_order import ReplayRecord, ordered_records, scan_log
from training.datasets.complete_journey import PURCHASE_ORDER
from training.progress import progress

PAUSE_MS: Final = 30 * 60_000
BASKET_WITHIN_MS: Final = 86_400_000
USER_DELETE: Final = "user_delete"
REPORT_EVERY: Final = 5_000  # records


@dataclass(slots=True)
class LogUse:
    """What became of a log's records. actions: of its events; unused: what was left out, by reason."""

    records: int = 0
    actions: Counter[str] = field(default_factory=Counter)
    unused: Counter[str] = field(default_factory=Counter)

    def as_dict(self) -> dict[str, Any]:
        """For JSON, most frequent first."""
        return {
            "records": self.records,
            "actions": dict(self.actions.most_common()),
            "unused": dict(self.unused.most_common()),
        }


@dataclass(frozen=True, slots=True)
class ShopLog:
    """purchases: columns as of training.datasets.complete_journey.load_purchases, one row per basket and
    type. impressions: household_id, basket_id (null: no basket follows), time_ms, position (from 0, null:
    unknown), query, clicked, propensity (null). people: the person of each household_id."""

    purchases: pl.DataFrame
    impressions: pl.DataFrame
    people: list[str]
    use: LogUse


class _Bought(NamedTuple):
    order: int
    person: str
    session: str
    time_ms: int
    type_id: str
    phrase: str
    category_phrase: str
    price: float


class _Hint(NamedTuple):
    order: int
    person: str
    time_ms: int
    position: int | None
    query: str
    clicked: bool  # an impression says False, a click True


def read_shop_log(path: Path, *, now_ms: int | None = None) -> ShopLog:
    """Read a log of JSON lines or Parquet, plain or zstd; ``-`` is standard input.

    now_ms: events may not lie beyond it (default: now). Purchases, hints and a digest of each event's id are
    kept in memory. Raises DatasetError when the log cannot be read or holds no purchase that can be used.
    """
    bound_ms = time.time_ns() // 1_000_000 if now_ms is None else now_ms
    reader = _Reader()
    with local_log(path) as log:
        scan = scan_log(log, bound_ms)
        with progress("reading the log", scan.records) as report:
            for record in ordered_records(log, scan, bound_ms):
                reader.add(record)
                if reader.use.records % REPORT_EVERY == 0 or reader.use.records == scan.records:
                    report(reader.use.records, "records")
    return reader.result(path)


@dataclass(slots=True)
class _Reader:
    """What has been found so far; `add` takes the records in replay order."""

    use: LogUse = field(default_factory=LogUse)
    bought: list[_Bought] = field(default_factory=list)
    hints: list[_Hint] = field(default_factory=list)
    ids: set[bytes] = field(default_factory=set)
    withdrawn: set[str] = field(default_factory=set)
    deleted: dict[str, int] = field(default_factory=dict)  # person to the order of the last user_delete

    def add(self, record: ReplayRecord) -> None:
        """One more record."""
        self.use.records += 1
        event = record.event
        if event is None:
            self.use.unused[record.error.reason if record.error else "bad_event"] += 1
        elif (key := _short(event.event_id or "")) in self.ids:
            self.use.unused["duplicate"] += 1
        else:
            self.ids.add(key)
            self.use.actions[event.action_name] += 1
            self._add_event(event)

    def _add_event(self, event: BehaviorEvent) -> None:
        if event.consent is not None:
            (self.withdrawn.discard if event.consent else self.withdrawn.add)(event.person)
        if event.action_name == USER_DELETE:
            self.deleted[event.person] = self.use.records
        elif event.action_name not in (Action.PURCHASE, Action.HINT_IMPRESSION, Action.HINT_CLICK):
            return
        elif event.person in self.withdrawn:
            self.use.unused["consent_withdrawn"] += 1
        elif event.action_name == Action.PURCHASE:
            self._add_purchase(event)
        else:
            self._add_hints(event)

    def _add_purchase(self, event: BehaviorEvent) -> None:
        item, phrase = event.event_attributes.object, _phrase(event.text)
        if item is None or not phrase:
            self.use.unused["purchase_without_text"] += 1
            return
        self.bought.append(
            _Bought(
                self.use.records,
                event.person,
                event.session_id or "",
                event.timestamp,
                item.object_id or phrase,
                phrase,
                _phrase(item.category or ""),
                item.price or 0.0,
            )
        )

    def _add_hints(self, event: BehaviorEvent) -> None:
        for outcome in join_feedback(event, ()):
            query, ordinal = _phrase(outcome.query), outcome.ordinal or 0
            if not query:
                self.use.unused["hint_without_text"] += 1
                continue
            clicked, position = outcome.outcome is Outcome.CLICKED, ordinal - 1 if ordinal > 0 else None
            self.hints.append(
                _Hint(self.use.records, event.person, event.timestamp, position, query, clicked)
            )

    def result(self, path: Path) -> ShopLog:
        """The frames. Raises DatasetError when there is no purchase."""
        bought = [entry for entry in self.bought if self._stays(entry.person, entry.order)]
        hints = [entry for entry in self.hints if self._stays(entry.person, entry.order)]
        if not bought:
            raise DatasetError(
                f"The log holds no purchase that can be used: {path}; "
                f"{self.use.records} records, left out: {dict(self.use.unused.most_common())}.",
                action="Log `purchase` events with a title: what is bought is what hints are judged by.",
            )
        first = sorted([(e.order, e.person) for e in bought] + [(e.order, e.person) for e in hints])
        people = list(dict.fromkeys(person for _, person in first))
        number = {person: place for place, person in enumerate(people)}
        purchases = _purchases(bought, number)
        return ShopLog(purchases, _impressions(self._shown(hints), number, purchases), people, self.use)

    def _stays(self, person: str, order: int) -> bool:
        stays = order > self.deleted.get(person, 0)
        if not stays:
            self.use.unused["deleted"] += 1
        return stays

    def _shown(self, hints: list[_Hint]) -> list[_Hint]:
        """The impressions alone, with their clicks."""
        shown: list[_Hint] = []
        latest: dict[tuple[str, str], int] = {}
        for hint in hints:
            place = latest.get((hint.person, hint.query))
            if not hint.clicked:
                latest[hint.person, hint.query] = len(shown)
                shown.append(hint)
            elif place is None:
                self.use.unused["click_without_impression"] += 1
            else:
                shown[place] = shown[place]._replace(clicked=True)
        return shown


def _short(text: str) -> bytes:
    return blake2b(text.encode("utf-8", "replace"), digest_size=8).digest()


def _phrase(text: str) -> str:
    # A NUL is no whitespace to Unicode, and lost at the end of a numpy text.
    return clip_text(normalise_query(text.replace("\0", " "))).strip()


def _purchases(bought: list[_Bought], number: dict[str, int]) -> pl.DataFrame:
    """One row per basket and type; of a type's titles and categories the first is taken."""
    rows = [(number[entry.person], *entry[2:]) for entry in bought]
    lines = pl.DataFrame(rows, _BOUGHT, orient="row").with_columns(
        (pl.col("time_ms").diff().over("household_id", "session") > PAUSE_MS)
        .fill_null(False)
        .cum_sum()
        .over("household_id", "session")
        .alias("part")
    )
    key = ["household_id", "session", "part"]
    baskets = (
        lines.group_by(key, maintain_order=True)
        .agg(pl.col("time_ms").first())
        .with_row_index("basket_id")
        .with_columns(pl.col("basket_id").cast(pl.Int64))
    )
    return (
        lines.drop("time_ms")
        .join(baskets, on=key, how="left", maintain_order="left")
        .group_by("household_id", "basket_id", "time_ms", "type_id", maintain_order=True)
        .agg(
            pl.col("phrase", "category_phrase").first(),
            pl.len().cast(pl.Int64).alias("quantity"),
            pl.col("price").sum().round(2).alias("sales_value"),
        )
        .sort(PURCHASE_ORDER)
    )


def _impressions(shown: list[_Hint], number: dict[str, int], purchases: pl.DataFrame) -> pl.DataFrame:
    """In order of time; hints of one moment as they stand in the log."""
    rows = [(number[hint.person], *hint[2:]) for hint in shown]
    baskets = purchases.select("household_id", "time_ms", "basket_id").unique().sort("time_ms", "basket_id")
    return (
        pl.DataFrame(rows, _SHOWN, orient="row")
        .join_asof(
            baskets,
            on="time_ms",
            by="household_id",
            strategy="forward",
            tolerance=BASKET_WITHIN_MS,
            check_sortedness=False,  # both are; with `by` polars cannot see it and warns
        )
        .with_columns(pl.lit(None, pl.Float64).alias("propensity"))
        .select("household_id", "basket_id", "time_ms", "position", "query", "clicked", "propensity")
    )


_BOUGHT: Final = {
    "household_id": pl.Int64,
    "session": pl.String,
    "time_ms": pl.Int64,
    "type_id": pl.String,
    "phrase": pl.String,
    "category_phrase": pl.String,
    "price": pl.Float64,
}
_SHOWN: Final = {
    "household_id": pl.Int64,
    "time_ms": pl.Int64,
    "position": pl.Int64,
    "query": pl.String,
    "clicked": pl.Boolean,
}
