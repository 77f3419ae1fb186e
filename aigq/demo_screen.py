"""The demo's live screen: a few shoppers on the left, the numbers on the right. Draws what it is given."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from rich.console import Group, RenderableType
from rich.layout import Layout
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from aigq.demo_watch import Seen
from streams.hint_list import Hint

RENEWED: Final = {
    "first": "first time we see this shopper",
    "search": "a search",
    "purchase": "a purchase",
    "drift": "interest moved",
    "stale": "the list was old",
    "model": "a new model",
}
KEPT: Final = {
    "cooldown": "renewed moments ago; again when the cooldown ends",
    "steady": "nothing new",
}
DRIFT_CELLS: Final = 12
PASTEL: Final = "bright_cyan"


@dataclass(frozen=True, slots=True)
class Shopper:
    """One card: the user's latest events (newest first), the latest decision, and what a reader shows."""

    user: str
    events: Sequence[dict[str, Any]]
    seen: Seen | None
    hints: Sequence[Hint]


@dataclass(frozen=True, slots=True)
class Numbers:
    """What the right side shows; seconds, and counts since the start."""

    sent: int
    to_send: int
    applied: int
    duplicates: int
    dead_letters: int
    lists: int
    users: int
    events_per_s: float
    lists_per_s: float
    freshness_p50_s: float | None
    freshness_p99_s: float | None
    at_ms: int
    decisions: dict[str, int]


def screen(shoppers: Sequence[Shopper], numbers: Numbers) -> Layout:
    """The whole screen."""
    layout = Layout()
    layout.split_column(Layout(_header(numbers), size=3), Layout(name="body"))
    layout["body"].split_row(
        Layout(name="shoppers", ratio=3), Layout(_numbers(numbers), ratio=2, minimum_size=36)
    )
    layout["shoppers"].split_column(*(Layout(_card(shopper)) for shopper in shoppers))
    return layout


def _header(numbers: Numbers) -> RenderableType:
    row = Table.grid(expand=True, padding=(0, 1))
    row.add_column(ratio=2)
    row.add_column(ratio=2)
    row.add_column(justify="right", ratio=2)
    day = (
        datetime.fromtimestamp(numbers.at_ms / 1000, UTC).strftime("%-d %B %Y, %H:%M in the shop")
        if numbers.at_ms
        else ""
    )
    row.add_row(
        Text("AIGQ · hints before anybody types", style="bold"),
        ProgressBar(total=max(numbers.to_send, 1), completed=numbers.sent, complete_style=PASTEL),
        Text(day, style="dim"),
    )
    return Panel(row, border_style=PASTEL)


def _card(shopper: Shopper) -> RenderableType:
    rows = Table.grid(padding=(0, 1), expand=True)
    rows.add_column(style="dim", width=9)
    rows.add_column(ratio=1)
    rows.add_row("just", _latest(shopper.events))
    rows.add_row("interest", _moved(shopper.seen))
    rows.add_row("list", _decision(shopper.seen))
    own = [hint.query for hint in shopper.hints if hint.source == "direct"]
    rows.add_row("hints", Text(" · ".join(own) or "–", style="bold", overflow="ellipsis"))
    rows.add_row("think", _think(shopper.hints))
    return Panel(rows, title=Text(f"shopper {shopper.user}"), title_align="left", border_style="dim")


def text_of(event: dict[str, Any]) -> str:
    """What the event is about."""
    searched: str | None = event.get("user_query")
    return searched if searched is not None else str(event["event_attributes"]["object"]["title"])


def _latest(events: Sequence[dict[str, Any]]) -> Text:
    parts = [
        f"searched “{text_of(event)}”" if event["action_name"] == "search" else f"bought {text_of(event)}"
        for event in events[:3]
    ]
    return Text(", ".join(parts) or "nothing yet", overflow="ellipsis", no_wrap=True)


def _think(hints: Sequence[Hint]) -> Text:
    """Think's next to them, by the behaviour that led there."""
    after: dict[str, list[str]] = {}
    for hint in hints:
        if hint.source == "think":
            after.setdefault(hint.why, []).append(hint.query)
    line = Text(overflow="ellipsis", no_wrap=True)
    for place, (trigger, queries) in enumerate(after.items()):
        line.append("; " if place else "")
        line.append(f"{trigger} → ", style="dim").append(", ".join(queries[:2]), style=PASTEL)
    return line if after else Text("–")


def _moved(seen: Seen | None) -> Text:
    if seen is None:
        return Text("–")
    cells = min(DRIFT_CELLS, round(min(seen.drift, 1.0) * DRIFT_CELLS))
    bar = "▰" * cells + "▱" * (DRIFT_CELLS - cells)
    since = "from the list before" if seen.renewed else "since the last list"
    return Text.assemble((bar, PASTEL), f"  moved {seen.drift:.2f} {since}")


def _decision(seen: Seen | None) -> Text:
    if seen is None:
        return Text("–")
    if seen.renewed:
        return Text.assemble(("renewed: ", "bold green"), RENEWED.get(seen.why, seen.why))
    return Text.assemble(("kept: ", "yellow"), KEPT.get(seen.why, seen.why))


def _numbers(numbers: Numbers) -> RenderableType:
    table = Table.grid(padding=(0, 2), expand=True)
    table.add_column(style="dim")
    table.add_column(justify="right", style="bold")
    for name, value in (
        ("events sent", f"{numbers.sent:,}"),
        ("events/s", f"{numbers.events_per_s:,.0f}"),
        ("lists written", f"{numbers.lists:,}"),
        ("lists/s", f"{numbers.lists_per_s:,.0f}"),
        ("shoppers with hints", f"{numbers.users:,}"),
        ("fresh after, half", seconds(numbers.freshness_p50_s)),
        ("fresh after, 99 %", seconds(numbers.freshness_p99_s)),
        ("duplicates ignored", f"{numbers.duplicates:,}"),
        ("dead letters kept", f"{numbers.dead_letters:,}"),
    ):
        table.add_row(name, value)
    note = Text(
        "\nfresh after: from the event's append in Kafka\nto its list being readable in Redis", style="dim"
    )
    return Panel(
        Group(
            table, Text("\nwhy lists were renewed, or not", style="dim"), _decisions(numbers.decisions), note
        ),
        title="now",
        title_align="left",
        border_style="dim",
    )


def _decisions(decisions: dict[str, int]) -> Table:
    table = Table.grid(padding=(0, 2), expand=True)
    table.add_column()
    table.add_column(justify="right")
    for reason, count in sorted(decisions.items(), key=lambda item: -item[1]):
        table.add_row(Text(reason, style="green" if reason in RENEWED else "yellow"), f"{count:,}")
    return table


def seconds(value: float | None) -> str:
    """A duration for people."""
    if value is None:
        return "–"
    return f"{value * 1000:.0f} ms" if value < 1 else f"{value:.2f} s"
