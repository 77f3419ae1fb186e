"""Any shop's event log as what training works with: purchases, behaviours, and hints with their clicks.

The columns are those of The Complete Journey, so that the same code trains on both:

- a household is a person (user_id, else client_id), numbered from 0 by first purchase or hint;
- what is a basket, and which hints and searches belong to it, says training.datasets.shop_frames;
- a phrase is the product's title, else its category, normalised (streams.query_text) and clipped as in a
  session's window; type_id is the object_id, else the phrase; quantity counts events, sales_value sums
  prices.

Records are taken in replay order (streams.replay_order). What cannot be used is counted by reason and never
an error: what is no event of the contract, duplicates by event_id, purchases, searches and hints without a
text or with personal data, searches that found nothing, clicks without an impression. Views and the like are
counted, not used. Consent counts as in live sessions: after a withdrawal a person's events are left out; so
is all that stands before a `user_delete` of the person.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final

import polars as pl

from agents.feedback.join import join_feedback
from agents.session.window import clip_text
from streams.errors import DatasetError
from streams.hint_outcome import Outcome
from streams.personal_data import is_personal
from streams.query_text import normalise_query
from streams.record_log import local_log
from streams.records import Action, BehaviorEvent
from streams.replay_order import ReplayRecord, ordered_records, scan_log
from training.datasets.erased_people import DELETED, WITHDRAWN, Forgotten, subject
from training.datasets.shop_frames import (
    LoggedHint,
    LoggedPurchase,
    LoggedSearch,
    behaviours_of,
    impressions_of,
    lines_of,
    purchases_of,
)
from training.progress import progress

COUNTED: Final = {"text": pl.String, "at_ms": pl.Int64, "results": pl.Int64}
USED: Final = (Action.PURCHASE, Action.SEARCH, Action.HINT_IMPRESSION, Action.HINT_CLICK)
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
    type. impressions: household_id, basket_id (null: no basket follows), time_ms, task (NEXT), position
    (from 0, null: unknown), query, clicked, propensity (null). behaviours: purchases and searches at their
    own times, see training.datasets.shop_frames.behaviours_of. people: the person of each household_id.
    counted: searches whose events said how much was found: text, at_ms, results."""

    purchases: pl.DataFrame
    impressions: pl.DataFrame
    behaviours: pl.DataFrame
    people: list[str]
    use: LogUse
    counted: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=COUNTED))


def read_shop_log(
    path: Path, *, now_ms: int | None = None, erased: Mapping[str, int] | None = None
) -> ShopLog:
    """Read a log of JSON lines or Parquet, plain or zstd; ``-`` is standard input.

    erased: of receipts (training.datasets.erased_people). now_ms: events may not lie beyond it (default:
    now). Purchases, searches, hints and a digest of each event's id are kept in memory. Raises DatasetError
    when the log cannot be read or holds no purchase that can be used.
    """
    bound_ms = time.time_ns() // 1_000_000 if now_ms is None else now_ms
    reader = _Reader(erased=erased or {})
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
    bought: list[LoggedPurchase] = field(default_factory=list)
    hints: list[LoggedHint] = field(default_factory=list)
    searches: list[LoggedSearch] = field(default_factory=list)
    ids: set[bytes] = field(default_factory=set)
    withdrawn: set[str] = field(default_factory=set)
    counted: list[tuple[str, int, int]] = field(default_factory=list)
    erased: Mapping[str, int] = field(default_factory=dict)
    forgotten: Forgotten = field(default_factory=Forgotten)

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
        if event.consent is False:
            self.forgotten.up_to(event.person, self.use.records, WITHDRAWN)
        if event.action_name == Action.USER_DELETE:
            self.forgotten.up_to(event.person, self.use.records, DELETED)
        elif event.action_name not in USED:
            return
        elif self.erased and event.timestamp <= self.erased.get(subject(event.person), -1):
            self.use.unused[DELETED] += 1
        elif event.person in self.withdrawn:
            self.use.unused[WITHDRAWN] += 1
        elif event.action_name == Action.PURCHASE:
            self._add_purchase(event)
        elif event.action_name == Action.SEARCH:
            self._add_search(event)
        else:
            self._add_hints(event)

    def _add_purchase(self, event: BehaviorEvent) -> None:
        item, phrase = event.event_attributes.object, _phrase(event.text)
        if item is None or not phrase:
            self.use.unused["purchase_without_text"] += 1
            return
        if is_personal(phrase):
            self.use.unused["personal"] += 1
            return
        self.bought.append(
            LoggedPurchase(
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

    def _add_search(self, event: BehaviorEvent) -> None:
        query, count = _phrase(event.text), event.event_attributes.result_count
        unfit = "search_without_text" if not query else "personal" if is_personal(query) else ""
        if not unfit and count is not None:
            self.counted.append((query, event.timestamp, count))
        if unfit or count == 0:
            self.use.unused[unfit or "search_without_results"] += 1
        else:
            self.searches.append(LoggedSearch(self.use.records, event.person, event.timestamp, query))

    def _add_hints(self, event: BehaviorEvent) -> None:
        for outcome in join_feedback(event, ()):
            query, ordinal = _phrase(outcome.query), outcome.ordinal or 0
            if not query or is_personal(query):
                self.use.unused["personal" if query else "hint_without_text"] += 1
                continue
            clicked, position = outcome.outcome is Outcome.CLICKED, ordinal - 1 if ordinal > 0 else None
            self.hints.append(
                LoggedHint(self.use.records, event.person, event.timestamp, position, query, clicked)
            )

    def result(self, path: Path) -> ShopLog:
        """The frames. Raises DatasetError when there is no purchase."""
        bought = [entry for entry in self.bought if self._stays(entry.person, entry.order)]
        hints = [entry for entry in self.hints if self._stays(entry.person, entry.order)]
        searches = [entry for entry in self.searches if self._stays(entry.person, entry.order)]
        if not bought:
            raise DatasetError(
                f"The log holds no purchase that can be used: {path}; "
                f"{self.use.records} records, left out: {dict(self.use.unused.most_common())}.",
                action="Log `purchase` events with a title: what is bought is what hints are judged by.",
            )
        first = sorted([(e.order, e.person) for e in bought] + [(e.order, e.person) for e in hints])
        people = list(dict.fromkeys(person for _, person in first))
        number = {person: place for place, person in enumerate(people)}
        lines = lines_of(bought, number)
        purchases = purchases_of(lines)
        shown = impressions_of(self._shown(hints), number, purchases)
        counted = pl.DataFrame(self.counted, COUNTED, orient="row")
        return ShopLog(purchases, shown, behaviours_of(lines, searches, number), people, self.use, counted)

    def _stays(self, person: str, order: int) -> bool:
        if reason := self.forgotten.why(person, order):
            self.use.unused[reason] += 1
        return not reason

    def _shown(self, hints: list[LoggedHint]) -> list[LoggedHint]:
        """The impressions alone, with their clicks."""
        shown: list[LoggedHint] = []
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
