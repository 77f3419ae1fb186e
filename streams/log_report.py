"""What an event log holds, and whether every event of it can be used.

One truth: events are judged by `decode_event` itself, as the session agent and the replays do.
"""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from streams.errors import EventError
from streams.record_log import LogRecord, local_log, read_log
from streams.records import BEHAVIOURS, FEEDBACK, BehaviorEvent, Source, decode_event

OFFENDERS_SHOWN: Final = 10
MESSAGE_LIMIT: Final = 200
_KNOWN: Final = frozenset(map(str, (*BEHAVIOURS, *FEEDBACK)))
_BEHAVIOURS: Final = frozenset(map(str, BEHAVIOURS))


@dataclass(frozen=True, slots=True)
class Offender:
    """A record that cannot be used: its line, the reason it is counted by, and what is wrong."""

    line: int
    reason: str
    message: str


@dataclass(slots=True)
class LogReport:
    """Counts over one log. Only `bad` decides PASS or FAIL; the rest is there to be looked at.

    duplicates: event ids met before. out_of_order: events older than one before them. without_text:
    behaviours with neither query, title nor category, of no use to hints. without_id: events that get an
    id made of line and content. first_ms, last_ms: event time; 0 when there is no good event.
    """

    events: int = 0
    good: int = 0
    bad: int = 0
    users: int = 0
    duplicates: int = 0
    out_of_order: int = 0
    without_text: int = 0
    without_id: int = 0
    first_ms: int = 0
    last_ms: int = 0
    actions: Counter[str] = field(default_factory=Counter)
    unknown_actions: Counter[str] = field(default_factory=Counter)
    bad_reasons: Counter[str] = field(default_factory=Counter)
    offenders: list[Offender] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        """Every record is an event that can be used, and there is at least one."""
        return self.good > 0 and not self.bad

    def as_dict(self) -> dict[str, Any]:
        """The report for `--json`; times as RFC 3339, or null."""
        return {
            "verdict": "PASS" if self.passed else "FAIL",
            "events": self.events,
            "good": self.good,
            "bad": self.bad,
            "users": self.users,
            "duplicates": self.duplicates,
            "out_of_order": self.out_of_order,
            "without_text": self.without_text,
            "without_id": self.without_id,
            "first": rfc3339(self.first_ms),
            "last": rfc3339(self.last_ms),
            "actions": dict(self.actions.most_common()),
            "unknown_actions": dict(self.unknown_actions.most_common()),
            "bad_reasons": dict(self.bad_reasons.most_common()),
            "offenders": [asdict(offender) for offender in self.offenders],
        }


def rfc3339(at_ms: int) -> str | None:
    """Epoch ms as RFC 3339 in UTC; None for 0, which stands for no time."""
    if not at_ms:
        return None
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def validate_log(path: Path, now_ms: int | None = None) -> LogReport:
    """Judge every record of the log; ``-`` is standard input. Keeps 8 bytes per event id and per user.

    now_ms: events may not lie beyond it (default: now). Raises DatasetError when it cannot be read.
    """
    bound_ms = time.time_ns() // 1_000_000 if now_ms is None else now_ms
    tally = _Tally()
    with local_log(path) as log:
        for record in read_log(log):
            tally.add(record, bound_ms)
    tally.report.users = len(tally.users)
    return tally.report


@dataclass(slots=True)
class _Tally:
    report: LogReport = field(default_factory=LogReport)
    users: set[bytes] = field(default_factory=set)
    ids: set[bytes] = field(default_factory=set)

    def add(self, record: LogRecord, now_ms: int) -> None:
        self.report.events += 1
        source = Source("log", 0, record.line)
        try:
            event = decode_event(record.value, {}, source, now_ms)
        except EventError as error:
            self._add_bad(record.line, error)
        else:
            self._add_good(event, has_id=event.event_id != source.name)

    def _add_bad(self, line: int, error: EventError) -> None:
        self.report.bad += 1
        self.report.bad_reasons[error.reason] += 1
        if len(self.report.offenders) < OFFENDERS_SHOWN:
            self.report.offenders.append(Offender(line, error.reason, error.message[:MESSAGE_LIMIT]))

    def _add_good(self, event: BehaviorEvent, *, has_id: bool) -> None:
        report, action = self.report, event.action_name
        report.good += 1
        (report.actions if action in _KNOWN else report.unknown_actions)[action] += 1
        report.without_text += action in _BEHAVIOURS and not event.text
        report.without_id += not has_id
        report.out_of_order += event.timestamp < report.last_ms
        report.first_ms = min(event.timestamp, report.first_ms or event.timestamp)
        report.last_ms = max(event.timestamp, report.last_ms)
        self.users.add(_short(event.person))
        if has_id:
            self._count_id(_short(event.event_id or ""))

    def _count_id(self, event_id: bytes) -> None:
        self.report.duplicates += event_id in self.ids
        self.ids.add(event_id)


def _short(text: str) -> bytes:
    return hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=8).digest()
