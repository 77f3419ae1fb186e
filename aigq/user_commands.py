"""``aigq user export|delete|receipts``: a person's rights to see, and to be forgotten."""

from __future__ import annotations

import time
import uuid
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer
from rich.markup import escape
from rich.table import Table

from agents.erasure.deletion import find_receipts, request_deletion, wait_for_receipt
from agents.erasure.export import person_data
from agents.erasure.receipt import Receipt, is_genuine, subject_of
from aigq.console import err, out, print_json
from streams.harmless_text import harmless
from streams.settings import load_settings

User = Annotated[str, typer.Argument(help="user_id (or client_id) as in the events.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead.")]
KINDS = ("events", "state", "lists", "outcomes", "dead_letters", "hint_requests", "handovers", "erasures")


def register(app: typer.Typer) -> None:
    """Add the commands."""
    user = typer.Typer(help="A person's data: show it, delete it, prove it.", no_args_is_help=True)
    user.command(epilog="Example: aigq user export hh-98 --out hh-98.json")(export)
    user.command(epilog="Example: aigq user delete hh-98    (then again with --yes)")(delete)
    user.command(epilog="Example: aigq user receipts --user hh-98")(receipts)
    app.add_typer(user, name="user")


def export(
    user: User,
    out_file: Annotated[
        Path | None, typer.Option("--out", help="Write it there; only you can read it.")
    ] = None,
    json: Json = False,
) -> None:
    """Give all that is kept of a person: state, lists, events, outcomes, dead letters.

    Reads the topics from their beginnings, so it takes as long as they are large. Changes nothing.
    """
    data = person_data(load_settings(), user)
    if out_file is not None:
        out_file.touch(mode=0o600)
        out_file.write_bytes(orjson.dumps(data, option=orjson.OPT_INDENT_2))
    if json:
        print_json(data)
    else:
        out.print(_counts(user, data))


def delete(
    user: User,
    yes: Annotated[
        bool, typer.Option("--yes", help="Do it. Without, only say what would be erased.")
    ] = False,
    wait_s: Annotated[
        float, typer.Option(min=1, help="Give up waiting for the receipt after this long.")
    ] = 60.0,
    json: Json = False,
) -> None:
    """Erase a person from state, lists, dead letters and outcomes; print the signed receipt.

    Sends a user_delete event, which the running workers carry out (roles session, hints and erasure), and
    waits for their receipt. Events of the person that come later are not used for a week.
    """
    settings = load_settings()
    if not yes:
        data = person_data(settings, user)
        if json:
            print_json({"user": user, "dry_run": True, "found": {kind: _count(data[kind]) for kind in KINDS}})
        else:
            out.print(_counts(user, data))
            out.print("Nothing was erased. Run it again with [bold]--yes[/bold] to erase it.")
        return
    now_ms = time.time_ns() // 1_000_000
    request_deletion(settings, user, event_id=f"delete-{uuid.uuid4().hex}", at_ms=now_ms)
    if not json:
        err.print("Asked the workers to erase; waiting for the receipt …")
    _show(wait_for_receipt(settings, user, wait_s, since_ms=now_ms), json=json)


def receipts(
    user: Annotated[str | None, typer.Option(help="Only this person's.")] = None,
    file: Annotated[Path | None, typer.Option(help="Check a receipt that was saved, instead.")] = None,
    key: Annotated[str | None, typer.Option(help="Public key it must be signed with.")] = None,
    json: Json = False,
) -> None:
    """List the receipts of all deletions, and say whether each is genuine. Exit code 1 if one is not."""
    if file is not None:
        found = [Receipt.model_validate_json(line) for line in file.read_bytes().splitlines() if line.strip()]
    else:
        subject = subject_of(user) if user is not None else None
        found = find_receipts(load_settings(), subject)
    rows = [one.model_dump() | {"genuine": is_genuine(one, key)} for one in found]
    if json:
        print_json({"receipts": rows})
    else:
        table = Table("person (digest)", "completed (ms)", "complete", "genuine", "key")
        for one, row in zip(found, rows, strict=True):
            marks = [
                "yes" if mark else "[bold red]no[/bold red]" for mark in (one.is_complete, row["genuine"])
            ]
            table.add_row(escape(one.subject[:16]), str(one.completed_ms), *marks, escape(one.key_id))
        out.print(table)
    if not all(row["genuine"] for row in rows):
        raise typer.Exit(1)


def _show(receipt: Receipt, *, json: bool) -> None:
    if json:
        print_json(receipt.model_dump() | {"genuine": is_genuine(receipt), "complete": receipt.is_complete})
        return
    table = Table("store", "found", "removed", "left", "gone by", "")
    for store in receipt.stores:
        gone = (
            ""
            if store.gone_by_ms is None
            else time.strftime("%Y-%m-%d", time.gmtime(store.gone_by_ms / 1000))
        )
        counts = ["–" if n is None else str(n) for n in (store.found, store.removed, store.left)]
        table.add_row(escape(store.store), *counts, gone, escape(store.note or store.unit))
    out.print(table)
    out.print(f"Signed by {escape(receipt.key_id)}. Keep it: `aigq user receipts` prints it again.")


def _counts(user: str, data: dict[str, Any]) -> Table:
    table = Table("what", "how much", title=f"Kept of {escape(harmless(user))}", title_justify="left")
    for kind in KINDS:
        table.add_row(kind.replace("_", " "), str(_count(data[kind])))
    return table


def _count(value: Any) -> int:
    if isinstance(value, dict):
        return len(value.get("behaviours", ())) + len(value.get("habit", ()))
    return len(value or ())
