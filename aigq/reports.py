"""Reports as people read them: what `aigq events validate` and `aigq replay` print at the end.

Only rich renderables; printing, colours and width are the caller's. Texts of events are shown as they
are, so markup in them is never read.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from agents.offline_replay import OfflineResult
from agents.replay_compare import HINTS, SCORES, Difference
from streams.log_producer import ReplaySummary
from streams.log_report import LogReport, rfc3339

DIFFERENCES_SHOWN: Final = 10


def render_log_report(report: LogReport, name: str = "") -> RenderableType:
    """Counts, the first offenders, and PASS or FAIL last, where the eye ends."""
    rows = {
        "events": f"{report.events:,}",
        "good, bad": f"{report.good:,}, {report.bad:,}",
        "users": f"{report.users:,}",
        "from, to": f"{rfc3339(report.first_ms) or '-'}, {rfc3339(report.last_ms) or '-'}",
        "actions": _counts(report.actions),
        "unknown actions (kept out of state)": _counts(report.unknown_actions),
        "duplicates by event_id": _number(report.duplicates),
        "out of order (replay sorts them)": _number(report.out_of_order),
        "behaviours without text (no use to hints)": _number(report.without_text),
        "without event_id (replay gives one)": _number(report.without_id),
        "bad, by reason": _counts(report.bad_reasons),
    }
    parts: list[RenderableType] = [_pairs({name: value for name, value in rows.items() if value})]
    if report.offenders:
        parts.append(_offenders(report))
    parts.append(_verdict(report.passed, _why_failed(report), name))
    return Group(*parts)


def render_replay_summary(summary: ReplaySummary) -> RenderableType:
    """What an online replay sent."""
    rows = {
        "sent": f"{summary.sent:,} in {summary.seconds:.1f} s ({summary.events_per_s:,.0f} events/s)",
        "of these no events (they reach the dead letters)": _number(summary.bad),
        "already sent by an earlier run": _number(summary.already_sent),
        "outside --from/--to": _number(summary.skipped),
        "order": "the log was not in event-time order; it was sorted" if summary.reordered else "",
    }
    return _pairs({name: value for name, value in rows.items() if value})


def render_offline_result(result: OfflineResult) -> RenderableType:
    """What an offline replay decided; the lists themselves are in its output file."""
    rows = {
        "events": f"{result.events:,} in {result.seconds:.1f} s",
        "outside --from/--to": _number(result.skipped),
        "users, with a list": f"{result.users:,}, {len(result.lists):,}",
        "lists asked for": f"{result.requests:,}",
        "events by outcome": _counts(result.outcomes),
        "decisions": _counts(result.decisions),
        "dead letters": _counts(result.dead_letters),
        "candidates filtered out": _counts(result.dropped),
        "order": "the log was not in event-time order; it was sorted" if result.reordered else "",
    }
    return _pairs({name: value for name, value in rows.items() if value})


def render_differences(differences: Sequence[Difference], users: int) -> RenderableType:
    """Like a failed test: of each differing user what was expected, what came, and why. `users`: compared."""
    if not differences:
        return _verdict(passed=True, why=f"the lists of all {users:,} users are as expected")
    shown: list[RenderableType] = [_difference(entry) for entry in differences[:DIFFERENCES_SHOWN]]
    hidden = len(differences) - len(shown)
    if hidden:
        shown.append(Text(f"… and {hidden:,} more users", style="dim"))
    kinds = _counts(Counter(entry.kind for entry in differences))
    shown.append(_verdict(passed=False, why=f"{len(differences):,} of {users:,} users differ: {kinds}"))
    return Group(*shown)


def _difference(entry: Difference) -> RenderableType:
    head = Text(f"{entry.user}", style="bold")
    lines = [head, Text(f"  why       {entry.why}")]
    if entry.kind != SCORES and entry.expected != entry.got:
        marked = _first_other(entry) if entry.kind == HINTS else -1
        lines.append(_queries("  expected  ", entry.expected, marked, "red"))
        lines.append(_queries("  got       ", entry.got, marked, "green"))
    return Group(*lines, Text())


def _first_other(entry: Difference) -> int:
    pairs = zip(entry.expected, entry.got, strict=False)
    same = next((place for place, (old, new) in enumerate(pairs) if old != new), None)
    return min(len(entry.expected), len(entry.got)) if same is None else same


def _queries(label: str, queries: Sequence[str], marked: int, style: str) -> Text:
    line = Text(label)
    for place, query in enumerate(queries):
        line.append(", " if place else "")
        line.append(query, style=f"bold {style}" if place == marked else "")
    if not queries:
        line.append("no list", style=style)
    return line


def _offenders(report: LogReport) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, title_justify="left", title="First offenders")
    table.add_column("line", justify="right")
    table.add_column("reason")
    table.add_column("what is wrong", overflow="fold")
    for offender in report.offenders:
        table.add_row(f"{offender.line}", Text(offender.reason), Text(offender.message))
    return table


def _why_failed(report: LogReport) -> str:
    if report.passed:
        return f"all {report.events:,} records are events that can be used"
    if not report.good:
        return "no record is an event that can be used"
    return f"{report.bad:,} of {report.events:,} records cannot be used"


def _verdict(passed: bool, why: str, name: str = "") -> Text:
    verdict = Text("PASS" if passed else "FAIL", style="bold green" if passed else "bold red")
    return verdict.append(f"  {f'{name}: ' if name else ''}{why}", style="not bold default")


def _pairs(rows: Mapping[str, str]) -> Table:
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="dim")
    table.add_column(overflow="fold")
    for name, value in rows.items():
        table.add_row(name, Text(value))
    return table


def _counts(counts: Mapping[str, int]) -> str:
    most_first = sorted(counts.items(), key=lambda entry: (-entry[1], entry[0]))
    return ", ".join(f"{name} {count:,}" for name, count in most_first)


def _number(count: int) -> str:
    return f"{count:,}" if count else ""
