"""``aigq doctor``: is everything there that a worker needs, and what to do where it is not."""

from __future__ import annotations

from typing import Annotated

import typer
from pydantic import SecretStr
from rich.markup import escape
from rich.table import Table

from aigq.console import out, print_json
from aigq.finding import Finding
from aigq.findings import examine
from streams.redaction import without_secrets
from streams.settings import PREFIX, Settings, load_settings

MARKS = {
    "ok": "[green]ok[/green]",
    "warning": "[yellow]warning[/yellow]",
    "problem": "[bold red]problem[/bold red]",
}


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog="Example: AIGQ_KAFKA_URL=kafka://k1:9092 aigq doctor")(doctor)


def doctor(
    settings: Annotated[
        bool, typer.Option("--settings", help="List all settings, with their values.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead.")] = False,
) -> None:
    """Look at Kafka, topics, rights, Redis, clocks and bundle; say what to do for each finding.

    Changes nothing, apart from a key that is written to Redis and deleted again. Exit code 1 if there is a
    problem.
    """
    current = load_settings()
    if settings:
        _list_settings(current, json)
        return
    findings = examine(current)
    if json:
        print_json([finding._asdict() for finding in findings])
    else:
        _show(findings)
    if any(finding.level == "problem" for finding in findings):
        raise typer.Exit(1)


def _show(findings: list[Finding]) -> None:
    table = Table(show_lines=False)
    for column in ("part", "", "found", "what to do"):
        table.add_column(column)
    for finding in findings:
        table.add_row(finding.part, MARKS[finding.level], escape(finding.found), escape(finding.action))
    out.print(table)


def _list_settings(current: Settings, json: bool) -> None:
    rows = {f"{PREFIX}{name.upper()}": _shown(getattr(current, name)) for name in Settings.model_fields}
    if json:
        print_json(rows)
        return
    table = Table("setting", "value", "meaning")
    for name, field in Settings.model_fields.items():
        full = f"{PREFIX}{name.upper()}"
        table.add_row(full, escape(rows[full]), escape(field.description or ""))
    out.print(table)


def _shown(value: object) -> str:
    if isinstance(value, SecretStr):
        return "(set)" if value.get_secret_value() else ""
    return "" if value is None else without_secrets(str(value))
