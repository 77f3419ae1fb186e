"""``aigq hints get|watch``: what a backend would show a user, and why."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from rich.console import Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.table import Table

from aigq.console import out, print_json
from streams.hint_list import HintList
from streams.hint_store import HintAnswer, HintReader
from streams.redis_client import connect_redis_sync
from streams.settings import load_settings

User = Annotated[str, typer.Argument(help="user_id (or client_id) as in the events.")]
Trigger = Annotated[
    list[str] | None,
    typer.Option(help="Text of the latest behaviour, then of those before; default: the list's own."),
]
Limit = Annotated[int, typer.Option(min=1, max=100, help="At most so many hints.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    hints = typer.Typer(help="Read hint lists as a backend does.", no_args_is_help=True)
    hints.command(epilog="Example: aigq hints get hh-98 --explain")(get)
    hints.command(epilog="Example: aigq hints watch hh-98")(watch)
    app.add_typer(hints, name="hints")


def get(
    user: User,
    trigger: Trigger = None,
    limit: Limit = 10,
    explain: Annotated[bool, typer.Option("--explain", help="Also say why, and show earlier lists.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead.")] = False,
) -> None:
    """Show a user's hints: their own, then Think's for the trigger, then popular ones."""
    with HintReader(connect_redis_sync(load_settings())) as reader:
        answer = reader.get(user, trigger=trigger or None, limit=limit)
        lists = reader.lists(user) if explain else ()
    if json:
        print_json(as_dict(user, answer) | {"lists": [one.model_dump() for one in lists]})
    else:
        out.print(Group(rendered(user, answer), *(explained(one) for one in lists)))


def watch(user: User, trigger: Trigger = None, limit: Limit = 10) -> None:
    """Keep showing a user's hints as they change, until Ctrl-C."""
    client = connect_redis_sync(load_settings())
    with HintReader(client) as reader, Live(console=out, refresh_per_second=4) as live:
        while True:
            live.update(rendered(user, reader.get(user, trigger=trigger or None, limit=limit)))
            time.sleep(0.25)


def as_dict(user: str, answer: HintAnswer) -> dict[str, Any]:
    """The answer for scripts."""
    return {
        "user": user,
        "hints": [hint.model_dump() for hint in answer.hints],
        "list_id": answer.list_id,
        "version": answer.version,
        "as_of": answer.as_of,
        "age_ms": answer.age_ms,
        "trigger": answer.trigger,
        "mapping": answer.mapping,
        "sources": answer.sources,
        "denied": answer.denied,
        "malformed": answer.malformed,
    }


def rendered(user: str, answer: HintAnswer) -> RenderableType:
    """The answer for people."""
    since = f"as of {_time(answer.as_of)}" if answer.as_of else "no list of their own yet"
    table = Table(title=f"Hints for {escape(user)} · {since}", title_justify="left")
    table.add_column("#", justify="right", style="dim")
    table.add_column("query", style="bold")
    table.add_column("from")
    table.add_column("because of", style="dim")
    for place, hint in enumerate(answer.hints, start=1):
        table.add_row(str(place), escape(hint.query), hint.source, escape(hint.why))
    return table


def explained(one: HintList) -> str:
    """Why one list was made, in a line."""
    queries = escape(", ".join(hint.query for hint in one.hints[:5]))
    return (
        f"[bold]{_time(one.as_of)}[/bold] renewed because of [bold]{escape(one.reason)}[/bold] "
        f"(drift {one.drift:.2f}, latest: {escape(one.trigger)}, bundle {escape(one.bundle)}): {queries} …"
    )


def _time(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")
