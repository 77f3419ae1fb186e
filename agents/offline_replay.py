"""Offline replay: the live functions over an event log, in this process, on a virtual clock.

No broker and no Redis. Events come in the order, with the partitions and the offsets that an online replay
into fresh topics would give them. A refresh that a cooldown holds back is settled by the user's next event
or, at the end of the log, as the live timer does.

Of each user only the newest request is generated: its list replaces all before it. Lists that the filters
left short are filled up from a mapping version if one is given, as the live agent does from the one in
Redis. The wall clock only bounds the future of events (`now_ms`); in the lists `generated_at` is their own
event time.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final, Literal

from agents.hints.bundle import Bundle
from agents.hints.compose import Composed, compose
from agents.hints.fill import filled, missing
from agents.offline_sessions import OfflineSessions
from agents.session.step import Rules
from agents.think.folder_entries import folder_entries
from streams.deny_rules import NO_RULES, DenyRules
from streams.errors import ReplayError
from streams.hint_list import HintList
from streams.hint_request import decode_request
from streams.record_log import local_log
from streams.replay_order import ordered_records, scan_log
from streams.settings import Settings
from streams.topics import Topics

_TELL_EVERY: Final = 500


@dataclass(frozen=True, slots=True)
class OfflineProgress:
    """How far: events applied, then lists generated."""

    phase: Literal["events", "lists"]
    done: int
    total: int


Progress = Callable[[OfflineProgress], None]


@dataclass(frozen=True, slots=True)
class OfflineResult:
    """Final lists, one per user, in order of user; and how they came about.

    outcomes: events by what became of them. decisions: by reason, suppressed and steady ones included.
    dropped: candidates that the filters took out, by reason. requests: lists asked for, of which only each
    user's newest was generated. skipped: records outside the asked range.
    """

    lists: tuple[HintList, ...]
    events: int
    skipped: int
    users: int
    requests: int
    outcomes: dict[str, int]
    decisions: dict[str, int]
    dead_letters: dict[str, int]
    dropped: dict[str, int]
    reordered: bool
    seconds: float

    def as_dict(self) -> dict[str, Any]:
        """The summary for `--json`, without the lists themselves."""
        return {
            "events": self.events,
            "skipped": self.skipped,
            "users": self.users,
            "requests": self.requests,
            "lists": len(self.lists),
            "outcomes": self.outcomes,
            "decisions": self.decisions,
            "dead_letters": self.dead_letters,
            "dropped": self.dropped,
            "reordered": self.reordered,
            "seconds": round(self.seconds, 3),
        }


def offline_replay(
    path: Path,
    settings: Settings,
    rules: Rules,
    bundle: Bundle,
    *,
    start_ms: int | None = None,
    end_ms: int | None = None,
    now_ms: int | None = None,
    trace: Path | None = None,
    mapping: Path | None = None,
    denied: DenyRules = NO_RULES,
    progress: Progress | None = None,
) -> OfflineResult:
    """Apply a log's events with start_ms <= event time < end_ms, and generate each user's final list.

    now_ms: an event may lie at most 10 minutes after it (default: now). trace: JSONL, a line per event
    with its outcome and decision. settings: for topic prefix, partitions and batch limit; the thresholds
    are in `rules`. mapping: folder of a Think mapping, or of one version of it.
    denied: the rules that the workers would read from Redis.
    Raises DatasetError, ReplayError, MappingError.
    """
    started_s = time.monotonic()
    bound_ms = time.time_ns() // 1_000_000 if now_ms is None else now_ms
    tell = progress or _nobody
    with local_log(path) as log, _trace_file(trace) as sink:
        scan = scan_log(log, bound_ms, start_ms, end_ms)
        sessions = OfflineSessions(rules, Topics.of(settings).events, settings.partitions, sink)
        for done, record in enumerate(ordered_records(log, scan, bound_ms, start_ms, end_ms)):
            if done % _TELL_EVERY == 0:
                tell(OfflineProgress("events", done, scan.chosen))
            sessions.apply(record)
        sessions.settle_owed()
    lists, dropped = _generate(sessions, bundle, settings.batch_limit, mapping, denied, tell)
    return OfflineResult(
        lists=lists,
        events=scan.chosen,
        skipped=scan.records - scan.chosen,
        users=len(sessions.states),
        requests=sessions.asked,
        outcomes=_ordered(sessions.outcomes),
        decisions=_ordered(sessions.decisions),
        dead_letters=_ordered(sessions.dead_letters),
        dropped=_ordered(dropped),
        reordered=not scan.sorted,
        seconds=time.monotonic() - started_s,
    )


def write_result(result: OfflineResult, out: Path) -> None:
    """One list a line, in order of user; the same log, rules and bundle give the same bytes.

    The file appears only when it is complete. Raises ReplayError.
    """
    unfinished = out.with_name(out.name + ".part")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        unfinished.write_bytes(b"".join(entry.to_json() + b"\n" for entry in result.lists))
        unfinished.replace(out)
    except OSError as error:
        raise _unwritable(out, error) from error


def _generate(
    sessions: OfflineSessions,
    bundle: Bundle,
    batch_limit: int,
    mapping: Path | None,
    denied: DenyRules,
    tell: Progress,
) -> tuple[tuple[HintList, ...], Counter[str]]:
    users, made, dropped = sorted(sessions.requests), list[Composed](), Counter[str]()
    for first in range(0, len(users), batch_limit):
        tell(OfflineProgress("lists", first, len(users)))
        batch = [decode_request(sessions.requests[user][1]) for user in users[first : first + batch_limit]]
        made += compose(batch, bundle, generated_at_ms=0, denied=denied)
    if mapping is not None:
        made = _filled_up(made, bundle, mapping, denied)
    for entry in made:
        dropped.update(entry.dropped)
    tell(OfflineProgress("lists", len(users), len(users)))
    lists = (entry.hints for entry in made)
    return tuple(one.model_copy(update={"generated_at": one.as_of}) for one in lists), dropped


def _filled_up(made: list[Composed], bundle: Bundle, mapping: Path, denied: DenyRules) -> list[Composed]:
    triggers = {trigger for one in made if missing(one, bundle) for trigger in one.hints.triggers}
    found = folder_entries(mapping, triggers)
    return [filled(one, found.of(one.hints.triggers), bundle, denied) for one in made]


@contextmanager
def _trace_file(path: Path | None) -> Iterator[IO[bytes] | None]:
    if path is None:
        yield None
        return
    unfinished = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        sink = unfinished.open("wb")
    except OSError as error:
        raise _unwritable(path, error) from error
    with sink:
        yield sink
    unfinished.replace(path)


def _unwritable(path: Path, error: OSError) -> ReplayError:
    return ReplayError(
        f"{path} cannot be written: {error.strerror}.", action="Check the folder's rights and space."
    )


def _ordered(counts: Counter[str]) -> dict[str, int]:
    return {str(name): count for name, count in sorted(counts.items())}


def _nobody(_: OfflineProgress) -> None:
    return None
